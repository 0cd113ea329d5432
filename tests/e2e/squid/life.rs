//! A day in the life: configured, joined, played, stopped, with the world on disk.
use super::Squid;
use crate::{
    it::support::eventually,
    play::{PATIENCE, account, agent_with_backoff, configured, crash_report, shown, stop, type_line},
    player::Player,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::MetadataExt, path::Path, time::SystemTime};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_joins_chats_is_counted_and_the_stop_saves_the_world() {
    let squid = Squid::install();
    let agent = squid.sandbox.agent(&[]);
    let status = configured(&agent, &squid.config()).await;
    assert_eq!(status["readySource"], "minecraft_ping", "{status:#}");
    assert_eq!(account(&status), "game", "never root");

    let player = Player::join(&squid.sandbox, squid.port, &["--user", "Alice", "--say", "good day", "--until-kicked"]);
    player.sees("good day");
    shown(&agent, "<Alice> good day").await;
    let players = agent.get("/game/players").await.json();
    assert_eq!((&players["online"], &players["max"]), (&json!(1), &json!(10)), "{players}");
    type_line(&agent, "say hello from the console").await;
    player.sees("hello from the console");

    stop(&agent).await;
    let visit = player.gone();
    assert!(visit["kicked"].as_str().unwrap().contains("Server closed"), "{visit}");
    let world = squid.folder().join("world");
    assert!(world.join("level.dat").exists());
    assert_saved(&world.join("region"), "mca");
    agent.finish().await;
}

/// There are files with this ending, none of them empty, and all the game's own.
fn assert_saved(folder: &Path, ending: &str) {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap());
    let wanted = entries.filter(|e| e.path().extension().is_some_and(|x| x == ending));
    let files: Vec<(u32, u64)> = wanted.map(|e| e.metadata().unwrap()).map(|m| (m.uid(), m.len())).collect();
    assert!(!files.is_empty() && files.iter().all(|(uid, bytes)| *uid > 0 && *bytes > 0), "{folder:?}: {files:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_throws_players_out_and_the_restart_lets_them_in_again() {
    let squid = Squid::install();
    squid.plug(&["crash.js"]);
    let agent = agent_with_backoff(&squid.sandbox, "300ms");
    let first = configured(&agent, &squid.config()).await;
    let player = Player::join(&squid.sandbox, squid.port, &["--until-kicked"]);
    player.sees("heard: ");

    type_line(&agent, "crash throw").await;
    player.gone();
    let report = crash_report(&agent, 1).await;
    // With a player on it, it catches the error, says goodbye and exits with 0: a crash all the same.
    assert_eq!((&report["exitCode"], &report["wasReady"]), (&json!(0), &json!(true)), "{report:#}");
    assert_eq!(report["classification"], "mod_or_plugin_error", "{report:#}");
    assert_eq!(report["suspectedMod"], "plugins/crash.js", "{report:#}");

    let again = |s: &Value| s["state"] == "running" && s["pid"] != first["pid"];
    let second = agent.until("running again", PATIENCE, again).await;
    assert_eq!((&second["crashCount"], &second["lastCrashExitCode"]), (&json!(1), &json!(0)), "{second:#}");
    let visit = Player::join(&squid.sandbox, squid.port, &[]).gone();
    assert_eq!((&visit["joined"], &visit["spawned"]), (&json!(true), &json!(true)), "{visit}");
    // It saves who leaves, but waits for that only while it runs.
    let playerdata = squid.folder().join("world/playerdata");
    let saved = |e: fs::DirEntry| e.metadata().is_ok_and(|m| m.len() > 0);
    eventually("the player's data", PATIENCE, async || {
        fs::read_dir(&playerdata).ok()?.flatten().any(saved).then_some(())
    })
    .await;
    stop(&agent).await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hears_no_stop_is_forced_and_one_that_hangs_is_noticed() {
    let squid = Squid::install();
    squid.plug(&["crash.js"]);
    let set = ["--set", "hang.interval=200ms", "--set", "hang.after=5s", "--set", "ready.timeout=3s"];
    let agent = squid.sandbox.agent(&set);
    let mut body = squid.config();
    body["stop"] = json!([{"stdin": "stop", "wait": "1s"}, {"signal": "SIGTERM", "wait": "1s"}]);
    configured(&agent, &body).await;
    type_line(&agent, "crash hang").await;
    let status = agent.until("a warning", PATIENCE, |s| s["warnings"].to_string().contains("hang")).await;
    assert_eq!((&status["processRunning"], &status["ready"]), (&json!(true), &json!(false)), "{status:#}");
    assert_eq!(status["crashCount"], 0, "told, not killed: {status:#}");

    let begun = SystemTime::now();
    stop(&agent).await;
    assert!(begun.elapsed().unwrap().as_secs() >= 2, "both rungs had their time before the kill");
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_is_ended_and_restarted_where_that_is_wanted() {
    let squid = Squid::install();
    squid.plug(&["crash.js"]);
    let set = ["hang.interval=200ms", "hang.after=5s", "ready.timeout=3s", "hang.restart=true"];
    let flags: Vec<&str> = set.iter().flat_map(|s| ["--set", s]).chain(["--set", "restart.backoff=100ms"]).collect();
    let agent = squid.sandbox.agent(&flags);
    let mut body = squid.config();
    body["stop"] = json!([{"signal": "SIGTERM", "wait": "500ms"}]);
    let first = configured(&agent, &body).await;
    type_line(&agent, "crash hang").await;
    let report = crash_report(&agent, 1).await;
    assert_eq!((&report["code"], &report["signal"]), (&json!("hang"), &json!(9)), "{report:#}");
    agent.until("running again", PATIENCE, |s| s["state"] == "running" && s["pid"] != first["pid"]).await;
    agent.finish().await;
}
