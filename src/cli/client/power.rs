//! `zlh configure|start|stop|restart|kill`: ask, show the steps, say how it ended. Ctrl-C ends the waiting, not the operation.
use super::{
    Session,
    agent::Answer,
    print, print_json,
    progress::Progress,
    status::last_crash,
    wire::{Accepted, Operation, Status},
};
use crate::cli::{
    args::WaitArgs,
    failure::Failure,
    show::{crash, look::Tone, words},
};
use reqwest::StatusCode;
use std::{fs::File, io::Read, path::Path, time::Duration};
use tokio::time::Instant;

/// More than any agent may be set to take (`limits.config_bytes`).
const LARGEST_CONFIG: u64 = 1 << 20;
/// Between two looks at an operation.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long the agent may be away (being upgraded, say) before waiting for it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// SIGKILL to everything takes milliseconds; past this something is badly wrong.
const KILL_TAKES: Duration = Duration::from_secs(30);

/// Sends a file, or standard input for `-`, to `/config`.
pub async fn configure(session: &Session, file: &Path, wait: WaitArgs) -> Result<(), Failure> {
    let bad = |why: String| Failure::Usage(format!("configuration {}: {why}", file.display()));
    let input: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(File::open(file).map_err(|e| bad(e.to_string()))?),
    };
    let mut text = Vec::new();
    input.take(LARGEST_CONFIG + 1).read_to_end(&mut text).map_err(|e| bad(e.to_string()))?;
    if text.len() as u64 > LARGEST_CONFIG {
        return Err(bad(format!("larger than {} MiB", LARGEST_CONFIG >> 20)));
    }
    let body = serde_json::from_slice(&text).map_err(|e| bad(format!("no JSON: {e}")))?;
    let answer = session.agent.order("config", Some(&body)).await?;
    if !session.json && operation_of(session, &answer)?.is_none() {
        return print("saved; the next start uses it\n");
    }
    follow(session, "configure", answer, wait).await
}

pub async fn start(session: &Session, wait: WaitArgs) -> Result<(), Failure> {
    command(session, "start", wait).await
}

pub async fn stop(session: &Session, wait: WaitArgs) -> Result<(), Failure> {
    command(session, "stop", wait).await
}

pub async fn restart(session: &Session, wait: WaitArgs) -> Result<(), Failure> {
    command(session, "restart", wait).await
}

async fn command(session: &Session, verb: &str, wait: WaitArgs) -> Result<(), Failure> {
    let answer = session.agent.order(verb, None).await?;
    follow(session, verb, answer, wait).await
}

/// Waits for the operation that the agent has accepted, if it has begun one.
pub async fn follow(session: &Session, verb: &str, answer: Answer, wait: WaitArgs) -> Result<(), Failure> {
    let Some(id) = operation_of(session, &answer)? else {
        return nothing_to_do(session, verb, &answer).await;
    };
    if wait.no_wait {
        return match session.json {
            true => print_json(&answer.body),
            false => print(&format!("{verb} accepted; `zlh operations {}` shows how it goes\n", crash::short(&id))),
        };
    }
    let waited = tokio::select! {
        ended = until_it_ends(session, verb, &id) => ended?,
        interrupted = tokio::signal::ctrl_c() => return Err(no_longer_waiting(interrupted, verb, &id)),
    };
    outcome(session, verb, waited).await
}

/// 204 has its operation in a header, everything else in the body.
fn operation_of(session: &Session, answer: &Answer) -> Result<Option<String>, Failure> {
    if let Some(id) = answer.header("operation-id") {
        return Ok(Some(id.to_owned()));
    }
    if answer.body.is_empty() || answer.status == StatusCode::OK {
        return Ok(None);
    }
    let accepted: Accepted = session.parse(&answer.body)?;
    Ok(accepted.operation_id.filter(|id| !id.is_empty()))
}

async fn nothing_to_do(session: &Session, verb: &str, answer: &Answer) -> Result<(), Failure> {
    if session.json {
        return print_json(&answer.body);
    }
    // The editor's own state is in its answer; a stop of a game has none.
    let state = match answer.body.is_empty() {
        false => session.parse::<Accepted>(&answer.body)?.state,
        true => session.parse::<Status>(&session.agent.read("status").await?.body)?.state,
    };
    print(&format!("nothing to {verb}: already {state}\n"))
}

fn no_longer_waiting(interrupted: std::io::Result<()>, verb: &str, id: &str) -> Failure {
    match interrupted {
        Ok(()) => Failure::Signalled {
            signal: nix::libc::SIGINT as u8,
            said: format!("no longer waiting; the {verb} goes on: zlh operations {}", crash::short(id)),
        },
        Err(e) => Failure::Terminal(e),
    }
}

/// The operation's last state, as JSON and read.
async fn until_it_ends(session: &Session, verb: &str, id: &str) -> Result<(bytes::Bytes, Operation), Failure> {
    let mut progress = Progress::begin(&format!("{verb}…"), session.json);
    let path = format!("operations/{id}");
    let mut heard = Instant::now();
    loop {
        match session.agent.read(&path).await {
            Ok(answer) => {
                heard = Instant::now();
                let operation: Operation = session.parse(&answer.body)?;
                if operation.has_ended() {
                    return Ok((answer.body, operation));
                }
                progress.step(&step(verb, &operation));
                progress.share(operation.progress);
            }
            Err(Failure::Unreachable { .. }) if heard.elapsed() < PATIENCE => {
                progress.step("agent gone, reconnecting…");
            }
            // An agent that has just come back is still finding out what survived.
            Err(Failure::Refused(p)) if p.status == 503 && heard.elapsed() < PATIENCE => progress.step(&p.detail),
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn step(verb: &str, operation: &Operation) -> String {
    let step = if operation.step.is_empty() { &operation.state } else { &operation.step };
    format!("{verb}: {step}")
}

async fn outcome(session: &Session, verb: &str, ended: (bytes::Bytes, Operation)) -> Result<(), Failure> {
    let (body, operation) = ended;
    if session.json {
        print_json(&body)?;
        return if operation.state == "done" { Ok(()) } else { Err(Failure::No) };
    }
    if operation.state == "done" {
        let took = match (operation.started_at, operation.ended_at) {
            (Some(from), Some(to)) => words::duration(words::between(from, to)),
            _ => "no time".into(),
        };
        return print(&format!("{} {verb} done in {took}\n", session.look.paint(Tone::Good, "✓")));
    }
    let why = operation.error.as_deref().unwrap_or(&operation.step);
    let mut said = format!("{verb} {}: {why}", operation.state);
    let is_workloads = matches!(operation.kind.as_str(), "config" | "start" | "stop" | "restart");
    if operation.state == "failed" && is_workloads {
        said += &crash_of(session, &operation).await;
    }
    Err(Failure::Answer(said))
}

/// What the crash within this operation says, if there was one.
async fn crash_of(session: &Session, operation: &Operation) -> String {
    let Ok(answer) = session.agent.read("status").await else { return String::new() };
    let Ok(status) = session.parse::<Status>(&answer.body) else { return String::new() };
    let during = status.last_crash_time >= operation.started_at;
    let Some(report) = last_crash(session, &status).await.filter(|_| during) else { return String::new() };
    let mut said = String::new();
    for (name, text) in [("why", &report.reason), ("hint", &report.hint)] {
        if !text.is_empty() {
            said += &format!("\n  {name:5}{text}");
        }
    }
    said + "\n  `zlh crashes last` tells the rest"
}

pub async fn kill(session: &Session, wait: WaitArgs) -> Result<(), Failure> {
    let answer = session.agent.order("kill", None).await?;
    if wait.no_wait {
        return if session.json { print_json(&answer.body) } else { print("kill accepted\n") };
    }
    tokio::select! {
        gone = until_nothing_runs(session) => gone?,
        interrupted = tokio::signal::ctrl_c() => return Err(no_longer_waiting(interrupted, "kill", "")),
    }
    if session.json {
        print_json(&answer.body)
    } else {
        print(&format!("{} killed\n", session.look.paint(Tone::Good, "✓")))
    }
}

async fn until_nothing_runs(session: &Session) -> Result<(), Failure> {
    let mut progress = Progress::begin("kill…", session.json);
    let deadline = Instant::now() + KILL_TAKES;
    loop {
        let status: Status = session.parse(&session.agent.read("status").await?.body)?;
        if !status.process_running {
            return Ok(());
        }
        if Instant::now() > deadline {
            let pid = status.pid.map(|p| format!(" (pid {p})")).unwrap_or_default();
            return Err(Failure::Answer(format!(
                "still alive {} after SIGKILL{pid}; a process stuck in the kernel looks like that: dmesg",
                words::duration(KILL_TAKES.as_secs())
            )));
        }
        progress.step(&format!("kill: {}", status.state));
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
