//! The agent under our own init, as PID 1 of a PID namespace: what a container with nothing else in it does.
use super::{Answer, Rig, rig::signal};
use crate::support::{Agent, eventually_now, install};
use nix::sys::signal::Signal;
use std::{fs, time::Duration};

const PATIENCE: Duration = Duration::from_secs(30);

/// Children of a process, as seen from here.
fn children(parent: u32) -> Vec<i32> {
    let stat = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mother = |pid: i32| stat(pid).rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    super::rig::pids().into_iter().filter(|pid| mother(*pid) == Some(parent)).collect()
}

fn agents_of(init: i32) -> Vec<i32> {
    let speaks = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let agent = |pid: &i32| speaks(pid).split(|b| *b == 0).nth(1) == Some(b"agent");
    children(init as u32).into_iter().filter(agent).collect()
}

#[tokio::test]
async fn as_pid_1_a_killed_agent_comes_back_and_a_terminated_one_stops_the_game() {
    let mut rig = Rig::new();
    let [text, program] = ["script.txt", "script"].map(|name| rig.sandbox.root().join(name));
    let line = format!("exec unshare --pid --fork --mount-proc --kill-child {} \"$@\"", env!("CARGO_BIN_EXE_zlh"));
    fs::write(&text, format!("#!/bin/sh\n{line}\n")).unwrap();
    install(&text, &program);
    let mut agent = Agent::spawn(&program, &rig.sandbox, &["--allow-unauthenticated"], &[]);
    assert!(agent.listens());
    let init = eventually_now(PATIENCE, || children(agent.pid()).first().copied()).expect("the init");
    rig.agent = Some(agent);
    assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
    rig.until("up", |s| s["state"] == "running").await;
    let game = rig.games();

    let killed = agents_of(init);
    killed.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    assert!(rig.agent.as_mut().is_some_and(Agent::listens), "the init starts another one");
    rig.until("taken up", |s| s["state"] == "running" && s["crashCount"] == 0).await;
    assert_eq!(rig.games(), game, "the game has not noticed");
    assert!(agents_of(init).iter().all(|pid| !killed.contains(pid)));

    signal(init, Signal::SIGTERM);
    let mut agent = rig.agent.take().expect("it was put there");
    let status = eventually_now(PATIENCE, || agent.ended()).expect("the init ends with its agent");
    assert!(status.success(), "{status}");
    assert_eq!(rig.games(), [] as [i32; 0]);
    let memory = fs::read_to_string(rig.sandbox.root().join("opt/zlh-agent/state/memory.json")).unwrap();
    let memory: serde_json::Value = serde_json::from_str(&memory).unwrap();
    assert_eq!(memory["crashCount"], 0, "it was stopped in order, not killed with its container");
    assert_eq!(memory["accounted"], 1);
}

/// Somebody damages the keeper's state file while no agent looks: nobody is signalled on its word, and a start works.
#[tokio::test]
async fn a_state_file_that_was_damaged_while_the_agent_was_away_is_nothing() {
    let mut rig = Rig::new();
    assert!(rig.up("").await);
    assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
    rig.quiet("up", |s| s["state"] == "running").await.expect("an agent");
    rig.kill_agent();
    let games = rig.games();
    rig.lose_keeper();
    rig.gone(&games);
    let state = rig.sandbox.root().join("run/zlh/k/game/state");
    fs::write(&state, vec![0xee; fs::metadata(&state).unwrap().len() as usize]).unwrap();
    rig.seen = super::invariants::Seen::default(); // the console was in that file
    assert!(rig.up("").await);
    rig.until("it runs again", |s| s["state"] == "running").await;
    assert_eq!(rig.games().len(), 1);
    assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
    rig.until("killed", |s| s["state"] == "idle").await;
    assert!(rig.leave());
}
