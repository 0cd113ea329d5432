//! A server that dies just after it has lived long enough to be forgiven, again and again: the hourly budget ends it.
//!
//!     cargo run --example flapping
//!
//! The restart ladder alone would never give up on this one: whoever lives for 30 s starts the ladder anew, and a server
//! that dies every 31 s would loop for ever. Look at `attempt`: it is 1 each time, the ladder is never climbed. Look at
//! the last line: the eleventh death within an hour is `error`, with the reason. Agent and processes are real, times run
//! a hundred times faster (the hour does not need to).
#[path = "common/stage.rs"]
mod stage;

use serde_json::{Value, json};
use stage::{Play, Stage, check};
use std::{process::ExitCode, time::Duration};

/// 30 s, 60 s, 120 s and 30 s, a hundred times faster; the budget is the default, named because it is what this is about.
const RULE: [&str; 4] = [
    "restart.backoff=300ms,600ms,1200ms",
    "restart.reset_after=300ms",
    "restart.max_crashes_per_hour=10",
    "restart.jitter=0",
];
/// The eleventh death is one more than the budget.
const DEATHS: usize = 11;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    stage::ended(play().await)
}

async fn play() -> Play {
    let stage = Stage::open(&RULE)?;
    // Without a probe a server counts as ready while it lives.
    let game = [&stage.fake_game(), "--exit-after", "310ms", "--code", "1"];
    stage.configure(&game, json!({"ready": {"kind": "none"}})).await?;

    let mut last = 0;
    let given_up = stage.follow("giving up", Duration::from_secs(120), |status| {
        let count = status["crashCount"].as_u64().unwrap_or_default();
        if count > last && !status["lastCrashClassification"].is_null() {
            last = count;
            let [state, attempt, time] =
                ["state", "restartAttempt", "lastCrashTime"].map(|key| status[key].to_string());
            println!(
                "death {count:>2}  attempt {attempt:>2}  {:<9} {}",
                state.trim_matches('"'),
                time.trim_matches('"')
            );
        }
        status["state"] == "error" && !status["lastCrashClassification"].is_null()
    });
    let given_up = given_up.await?;
    let error = given_up["error"].as_str().unwrap_or_default();
    println!("\n{error}");

    let crashes = stage.get("/crashes").await?;
    let crashes: Vec<&Value> = crashes["crashes"].as_array().into_iter().flatten().rev().collect();
    check(crashes.len() == DEATHS, format!("{DEATHS} deaths were to be reported, not {}", crashes.len()))?;
    let (budget_met, forgiven) = crashes.split_last().ok_or("no crash was reported")?;
    for (nth, report) in (1..).zip(forgiven) {
        let decision = report["decision"].as_str().unwrap_or_default();
        check(decision.starts_with("restart 1 in"), format!("death {nth} was not forgiven: {decision:?}"))?;
    }
    let decision = budget_met["decision"].as_str().unwrap_or_default();
    check(decision.contains("hour"), format!("the budget was not what ended it: {decision:?}"))?;
    check(error.contains("hour"), format!("the status does not name the budget: {error:?}"))?;
    check(given_up["nextRestartAt"].is_null(), "a restart is scheduled although it was given up")?;
    println!("\nAs promised: ten restarts within the hour, each the first of its ladder, then error.");
    Ok(())
}
