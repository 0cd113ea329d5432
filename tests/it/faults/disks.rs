//! The disk under the agent's state and the console's log is full, under the whole agent: the game runs on, crashes are
//! restarted, everything is named, and with space again nothing has to be asked for.
use super::{Answer, Rig};
use crate::support::{SmallDisk, eventually};
use serde_json::Value;

fn warns<'a>(status: &'a Value, code: &str) -> Option<&'a str> {
    status["warnings"].as_array()?.iter().find(|w| w["code"] == code)?["message"].as_str()
}

async fn crashes(rig: &Rig) -> usize {
    rig.get("/crashes").await.map_or(0, |c| c["crashes"].as_array().map_or(0, Vec::len))
}

#[tokio::test]
async fn a_full_disk_stops_nothing_that_runs_and_is_made_up_for() {
    let mut rig = Rig::new();
    let disk = SmallDisk::new(rig.sandbox.root().join("opt/zlh-agent"), "3m");
    assert!(rig.up("").await);
    let body = rig.config(&[]);
    assert!(matches!(rig.ask("/config", Some(body.clone())).await, Answer::Taken(_)));
    rig.quiet("up", |s| s["state"] == "running").await.expect("it lives");
    let game = rig.games();

    disk.fill();
    assert!(matches!(rig.say("flood 1").await, Answer::Taken(_)));
    rig.until("the lost console is named", |s| {
        warns(s, "console_not_saved").is_some_and(|m| m.contains("state/console/game") && m.contains("full"))
    })
    .await;
    assert_eq!(rig.games(), game, "the game has not noticed");
    assert!(matches!(rig.say("crash exit 7").await, Answer::Taken(_)));
    let restarted = |s: &Value| s["state"] == "running" && s["crashCount"] == 1;
    rig.until("a crash is restarted all the same", restarted).await;
    let named = |s: &Value| warns(s, "state_not_saved").is_some_and(|m| m.contains("No space left"));
    rig.until("what could not be saved is named", named).await;
    eventually("its report", super::rig::PATIENCE, async || (crashes(&rig).await == 1).then_some(())).await;
    assert!(matches!(rig.ask("/restart", None).await, Answer::Taken(_)));
    rig.until("a restart is no loss either", restarted).await;
    assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
    rig.until("stopped", |s| s["state"] == "idle").await;
    disk.clear();
    rig.until("saved by itself", |s| warns(s, "state_not_saved").is_none()).await;
    rig.kill_agent();
    assert!(rig.up("").await);
    rig.until("the next agent knows", |s| s["state"] == "idle" && s["crashCount"] == 1).await;
    assert_eq!(crashes(&rig).await, 1, "the report was saved late, and saved");
    assert!(matches!(rig.ask("/start", None).await, Answer::Taken(_)));
    rig.until("up again", |s| s["state"] == "running").await;
    assert!(matches!(rig.say("flood 1").await, Answer::Taken(_)));
    rig.until("the console is saved again", |s| warns(s, "console_not_saved").is_none()).await;
    assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
    rig.until("killed", |s| s["state"] == "idle").await;
    assert!(rig.leave());
}
