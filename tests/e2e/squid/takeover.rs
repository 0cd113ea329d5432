//! kill -9 of the agent in the middle of a game: neither the player nor a console viewer misses anything.
use super::Squid;
use crate::{
    it::support::Console,
    play::{PATIENCE, configured, stop},
    player::Player,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_costs_the_player_nothing_and_the_viewer_not_a_byte() {
    let squid = Squid::install();
    let agent = squid.sandbox.agent(&[]);
    let before = configured(&agent, &squid.config()).await;
    let mut viewer = agent.console_v1("").await;
    let hello = viewer.until_frame("hello", PATIENCE).await;
    let talk = ["--user", "Bob", "--say", "line", "--every", "0.1", "--hold", "600"];
    let player = Player::join(&squid.sandbox, squid.port, &talk);
    viewer.until("<Bob> line 5", PATIENCE).await;

    agent.kill_9();
    viewer.until_closed(PATIENCE).await;
    player.sees("<Bob> line 15"); // while nobody supervises
    let agent = squid.sandbox.agent(&[]);
    let after = agent.until_state("running", PATIENCE).await;
    assert_eq!(after["pid"], before["pid"], "the same server");
    assert_eq!((&after["crashCount"], &after["startedAt"]), (&before["crashCount"], &before["startedAt"]));

    let start = hello["offset"].as_u64().unwrap();
    let seen = start + viewer.output.len() as u64;
    let mut resumed = agent.console_v1(&format!("?from={seen}&epoch={}", hello["epoch"])).await;
    resumed.until("<Bob> line 25", PATIENCE).await;
    player.leave();
    let visit = player.gone();
    assert!(visit["error"].is_null() && visit["kicked"] == "", "{visit}");
    stop(&agent).await;
    resumed.until_frame("exit", PATIENCE).await;
    nothing_lost(&agent.get(&format!("/console/log?from={start}")).await.body, &viewer, &resumed);
    agent.finish().await;
}

/// What both viewers got, one after the other, is the console's own record, and each line is in it once.
fn nothing_lost(record: &str, first: &Console, second: &Console) {
    let both = [first.output.as_slice(), &second.output].concat();
    assert_eq!(String::from_utf8_lossy(&both), record);
    for frame in first.frames.iter().chain(&second.frames) {
        assert_ne!(frame["type"], "gap", "{frame}");
    }
    let said = record.lines().filter_map(|l| l.split_once("<Bob> line ")).map(|(_, n)| n.trim());
    let numbers: Vec<u32> = said.filter_map(|n| n.parse().ok()).collect();
    let whole: Vec<u32> = (1..=numbers.len() as u32).collect();
    assert!(numbers.len() >= 25, "{record}");
    assert_eq!(numbers, whole);
}
