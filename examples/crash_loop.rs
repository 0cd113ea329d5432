//! A server that dies at every start: restarted after 30 s, 60 s and 120 s, then given up, then mended by a person.
//!
//!     cargo run --example crash_loop
//!
//! The agent, its keeper and the game's processes are the real ones, and so is the fault: the game wants a port that this
//! program holds. Only the clock of the restart ladder runs a hundred times faster; the timeline shows the times as they
//! would be. Look at `attempt` and `restart in`: each wait is twice the one before, then the state is `error` and nothing
//! is scheduled any more. The start at the end is a person's: it forgives all.
#[path = "common/stage.rs"]
mod stage;

use serde::Deserialize;
use serde_json::{Value, json};
use stage::{Play, Stage, check};
use std::{
    net::TcpListener,
    process::ExitCode,
    time::{Duration, Instant},
};
use zlh::model::time::WallTime;

/// How much faster than in life.
const FASTER: f64 = 100.0;
const LADDER: [&str; 3] = ["restart.backoff=300ms,600ms,1200ms", "restart.reset_after=300ms", "restart.jitter=0"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    stage::ended(play().await)
}

async fn play() -> Play {
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let port = holder.local_addr()?.port().to_string();
    let stage = Stage::open(&LADDER)?;
    let game = [&stage.fake_game(), "--protocol", "tcp", "--port", &port];
    stage.configure(&game, json!({"ready": {"kind": "log", "pattern": "Done", "within": "10s"}})).await?;

    println!("{:>6}  {:<10} {:>7} {:>10}  {:<12} reason", "time", "state", "attempt", "restart in", "class");
    let mut timeline = Timeline { began: Instant::now(), seen: Vec::new(), printed: 0 };
    stage.follow("giving up", Duration::from_secs(60), |status| timeline.look(status) == "error").await?;
    let crashed: Vec<&Value> = timeline.seen.iter().filter(|status| status["state"] == "crashed").collect();
    check(crashed.len() == 3, format!("three restarts were due, there were {}", crashed.len()))?;
    for (nth, (status, wait)) in (1..).zip(crashed.iter().zip([30.0, 60.0, 120.0])) {
        check(status["restartAttempt"] == nth, format!("attempt {nth} is counted wrong: {status:#}"))?;
        let planned = wait_of(status)?;
        // A millisecond of rounding is 0.1 s here; understanding a crash may take a moment.
        check(
            (wait - 0.2..wait + 30.0).contains(&planned),
            format!("restart {nth} after {planned} s instead of {wait} s"),
        )?;
    }
    let report = stage.last_crash().await?;
    check(report["code"] == "env.port_in_use", format!("the cause was not found: {report:#}"))?;
    let given_up = timeline.seen.last().ok_or("nothing was seen")?;
    check(given_up["crashCount"] == 4, format!("four crashes were to be counted: {given_up:#}"))?;
    check(given_up["nextRestartAt"].is_null(), "a restart is scheduled although it was given up")?;
    println!(
        "
{}",
        shown(&given_up["error"])
    );

    println!("\nA person frees the port and starts the server:");
    drop(holder);
    stage.post("/start", None).await?;
    let running = stage.follow("running", Duration::from_secs(20), |status| timeline.look(status) == "running").await?;
    check(running["restartAttempt"] == 0 && running["error"].is_null(), format!("nothing is forgiven: {running:#}"))?;
    println!("\nAs promised: 30 s, 60 s, 120 s, error; and a manual start forgives all.");
    Ok(())
}

/// Every change of state, printed as it is seen.
struct Timeline {
    began: Instant,
    seen: Vec<Value>,
    printed: usize,
}

impl Timeline {
    /// Answers the state, or nothing while a crash is not understood yet. Such a crash counts all the same: on a busy machine
    /// the restart may come first.
    fn look<'s>(&mut self, status: &'s Value) -> &'s str {
        let key = |status: &Value| [status["state"].clone(), status["crashCount"].clone()];
        match self.seen.last_mut().filter(|last| key(last) == key(status)) {
            Some(last) if is_understood(last) => {}
            Some(last) => *last = status.clone(),
            None => self.seen.push(status.clone()),
        }
        let last = self.seen.len() - 1;
        while let Some(next) = self.seen.get(self.printed).filter(|next| self.printed < last || is_understood(next)) {
            self.print(next);
            self.printed += 1;
        }
        if is_understood(status) { shown(&status["state"]) } else { "" }
    }

    fn print(&self, status: &Value) {
        let (time, attempt) = (self.began.elapsed().as_secs_f64() * FASTER, &status["restartAttempt"]);
        let wait = wait_of(status).map(|seconds| format!("{seconds:.0} s")).unwrap_or_default();
        print!("{time:>5.0}s  {:<10} {attempt:>7} {wait:>10}", shown(&status["state"]));
        match has_died(status) {
            true => {
                println!("  {:<12} {}", shown(&status["lastCrashClassification"]), shown(&status["lastCrashReason"]))
            }
            false => println!(),
        }
    }
}

fn has_died(status: &Value) -> bool {
    matches!(shown(&status["state"]), "crashed" | "error")
}

fn is_understood(status: &Value) -> bool {
    !has_died(status) || !status["lastCrashClassification"].is_null()
}

/// From the death to the planned restart, in seconds as they would be in life.
fn wait_of(status: &Value) -> Play<f64> {
    let [next, death] = ["nextRestartAt", "lastCrashTime"].map(|key| WallTime::deserialize(&status[key]));
    Ok((next?.0 - death?.0) as f64 / 1000.0 * FASTER)
}

fn shown(text: &Value) -> &str {
    text.as_str().unwrap_or("–")
}
