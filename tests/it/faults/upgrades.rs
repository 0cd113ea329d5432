//! Agents and keepers of different builds: whoever comes takes up what the other holds, and goes on with it.
use super::{Answer, Rig};
use crate::support::{eventually, install};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

const OWN: &str = env!("CARGO_PKG_VERSION");

/// The same program with another version in it, of the same length: 9 for each digit.
fn other_build(rig: &Rig) -> (PathBuf, String) {
    let version = OWN.replace(|c: char| c.is_ascii_digit(), "9");
    let [bytes, path] = ["bytes", "zlh"].map(|name| rig.sandbox.root().join(name));
    let swap = format!("s/{}/{version}/g", OWN.replace('.', "[.]"));
    let other = File::create(&bytes).unwrap();
    let mut sed = Command::new("sed");
    sed.env("LC_ALL", "C").args([&swap, env!("CARGO_BIN_EXE_zlh")]).stdout(other);
    assert!(sed.status().unwrap().success());
    install(&bytes, &path);
    fs::remove_file(bytes).unwrap();
    (path, format!("v{version}"))
}

fn program_of(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

async fn version(rig: &Rig) -> String {
    rig.get("/version").await.expect("an agent")["version"].as_str().unwrap().to_owned()
}

/// A game whose keeper is of one build, then an agent of another.
async fn taken_over(to_newer: bool) {
    let mut rig = Rig::new();
    let own = (rig.program.clone(), format!("v{OWN}"));
    let other = other_build(&rig);
    let (old, new) = if to_newer { (own, other) } else { (other, own) };
    rig.program = old.0.clone();
    assert!(rig.up("").await);
    assert_eq!(version(&rig).await, old.1);
    assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
    let pid = rig.quiet("up", |s| s["state"] == "running").await.expect("it lives")["pid"].clone();

    rig.kill_agent();
    rig.program = new.0.clone();
    assert!(rig.up("").await);
    assert_eq!(version(&rig).await, new.1);
    rig.quiet("taken up", |s| s["pid"] == pid && s["crashCount"] == 0).await.expect("it lives");
    assert_eq!(program_of(rig.keepers()[0]), old.0, "the keeper is the one it was");
    assert!(matches!(rig.say("say hello across builds").await, Answer::Taken(_)));
    eventually("its answer", super::rig::PATIENCE, async || {
        let log = rig.agent.as_ref()?.get("/console/log?from=0").await.body;
        log.contains("[Server] hello across builds").then_some(())
    })
    .await;

    // A crash is told by the old keeper and restarted, whoever holds it then.
    assert!(matches!(rig.say("crash exit 7").await, Answer::Taken(_)));
    let crashed =
        |s: &serde_json::Value| s["state"] == "running" && s["crashCount"] == 1 && s["lastCrashExitCode"] == 7;
    rig.quiet("crashed and restarted", crashed).await.expect("it lives");
    assert!(matches!(rig.ask("/restart", None).await, Answer::Taken(_)));
    rig.quiet("restarted", |s| s["state"] == "running" && s["crashCount"] == 1).await.expect("it lives");
    assert_eq!(program_of(rig.keepers()[0]), new.0, "an idle keeper made way for one of the agent's build");
    assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
    rig.quiet("stopped", |s| s["state"] == "idle").await.expect("it lives");
    assert!(rig.leave());
}

#[tokio::test]
async fn an_agent_takes_over_from_an_older_build() {
    taken_over(true).await;
}

#[tokio::test]
async fn an_agent_takes_over_from_a_newer_build() {
    taken_over(false).await;
}

/// The old keeper ends its game as told, without the new agent having put one of its own in between.
#[tokio::test]
async fn a_keeper_of_another_build_stops_its_game_in_order() {
    let mut rig = Rig::new();
    let (other, _) = other_build(&rig);
    assert!(rig.up("").await);
    assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
    rig.quiet("up", |s| s["state"] == "running").await.expect("it lives");
    assert!(rig.leave(), "an upgrade in order");
    rig.program = other;
    assert!(rig.up("").await);
    assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
    rig.quiet("stopped", |s| s["state"] == "idle" && s["crashCount"] == 0).await.expect("it lives");
    let log = rig.agent.as_ref().unwrap().get("/console/log?from=0").await.body;
    assert!(log.contains("All dimensions are saved"), "{log}");
    assert!(rig.leave());
}
