//! `zlh update`: look for a newer agent, take it, and wait until it has proved itself or was taken back.
use super::{Session, print, print_json, progress::Progress};
use crate::cli::{args::UpdateArgs, failure::Failure, show::look::Tone};
use crate::model::time::WallTime;
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const STATUS: &str = "agent/update/status";
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long the agent may be away while programs change.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is read of the answer; the rest is for `--json`.
#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Standing {
    current: String,
    latest: Option<String>,
    update_available: bool,
    state: String,
    last_error: Option<String>,
    last_check_at: Option<WallTime>,
    operation_id: Option<String>,
}

pub async fn carry_out(session: &Session, args: UpdateArgs) -> Result<(), Failure> {
    let before: Standing = session.parse(&session.agent.read(STATUS).await?.body)?;
    let body = json!({ "version": args.version, "check": args.check });
    let answer = session.agent.order("agent/update", Some(&body)).await?;
    if args.wait.no_wait {
        return match session.json {
            true => print_json(&answer.body),
            false if args.check => print("looking; `zlh update --check` without --no-wait says what there is\n"),
            false => {
                let standing: Standing = session.parse(&answer.body)?;
                let id = standing.operation_id.unwrap_or_default();
                print(&format!("update accepted, operation {id}; `zlh operations` shows what becomes of it\n"))
            }
        };
    }
    let (body, standing) = tokio::select! {
        settled = until_settled(session) => settled?,
        interrupted = tokio::signal::ctrl_c() => return Err(match interrupted {
            Ok(()) => Failure::Signalled {
                signal: nix::libc::SIGINT as u8,
                said: "no longer waiting; the update goes on".into(),
            },
            Err(e) => Failure::Terminal(e),
        }),
    };
    if session.json {
        print_json(&body)?;
    }
    outcome(session, &args, &before, &standing)
}

fn outcome(session: &Session, args: &UpdateArgs, before: &Standing, now: &Standing) -> Result<(), Failure> {
    // A look that went well may still tell of an update that did not.
    let looked = args.check && now.last_check_at != before.last_check_at;
    if let Some(why) = now.last_error.as_ref().filter(|_| !looked) {
        return Err(Failure::Answer(format!("{} runs on: {why}", now.current)));
    }
    let said = match (&now.latest, now.update_available) {
        _ if now.current != before.current => {
            let tick = session.look.paint(Tone::Good, "✓");
            format!("{tick} {} -> {}\n", before.current, now.current)
        }
        (Some(latest), true) => format!("{} -> {latest} is available\n", now.current),
        _ => format!("{} is up to date\n", now.current),
    };
    if !session.json {
        print(&said)?;
    }
    if args.check && now.update_available { Err(Failure::No) } else { Ok(()) }
}

async fn until_settled(session: &Session) -> Result<(Bytes, Standing), Failure> {
    let mut progress = Progress::begin("update…", session.json);
    let mut heard = Instant::now();
    loop {
        match session.agent.read(STATUS).await {
            Ok(answer) => {
                heard = Instant::now();
                let standing: Standing = session.parse(&answer.body)?;
                if standing.state == "idle" {
                    return Ok((answer.body, standing));
                }
                progress.step(&format!("update: {}", standing.state.replace('_', " ")));
            }
            Err(Failure::Unreachable { .. }) if heard.elapsed() < PATIENCE => {
                progress.step("agent gone, reconnecting…");
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
