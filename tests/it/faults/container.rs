//! The agent under our own init, as PID 1 of a PID namespace: what a container with nothing else in it does.
use super::{
    Answer, Rig,
    rig::{PATIENCE, signal},
};
use crate::support::{Agent, eventually, eventually_now, install};
use nix::sys::signal::Signal;
use std::{fs, process::Command};

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

/// An agent under its own init, and the init's pid as seen from here.
fn contained(rig: &mut Rig) -> i32 {
    let [text, program] = ["script.txt", "script"].map(|name| rig.sandbox.root().join(name));
    let line = format!("exec unshare --pid --fork --mount-proc --kill-child {} \"$@\"", env!("CARGO_BIN_EXE_zlh"));
    fs::write(&text, format!("#!/bin/sh\n{line}\n")).unwrap();
    install(&text, &program);
    let mut agent = Agent::spawn(&program, &rig.sandbox, &["--allow-unauthenticated"], &[]);
    assert!(agent.listens());
    let init = eventually_now(PATIENCE, || children(agent.pid()).first().copied()).expect("the init");
    rig.agent = Some(agent);
    init
}

/// The init ends with its agent, which has stopped the game.
fn end_in_order(rig: &mut Rig, init: i32) {
    signal(init, Signal::SIGTERM);
    let mut agent = rig.agent.take().expect("it was put there");
    let status = eventually_now(PATIENCE, || agent.ended()).expect("the init ends with its agent");
    assert!(status.success(), "{status}");
    assert_eq!(rig.games(), [] as [i32; 0]);
}

#[tokio::test]
async fn as_pid_1_a_killed_agent_comes_back_and_a_terminated_one_stops_the_game() {
    let mut rig = Rig::new();
    let init = contained(&mut rig);
    assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
    rig.until("up", |s| s["state"] == "running").await;
    let game = rig.games();

    let killed = agents_of(init);
    killed.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    assert!(rig.agent.as_mut().is_some_and(Agent::listens), "the init starts another one");
    rig.until("taken up", |s| s["state"] == "running" && s["crashCount"] == 0).await;
    assert_eq!(rig.games(), game, "the game has not noticed");
    assert!(agents_of(init).iter().all(|pid| !killed.contains(pid)));

    end_in_order(&mut rig, init);
    let memory = fs::read_to_string(rig.sandbox.root().join("opt/zlh-agent/state/memory.json")).unwrap();
    let memory: serde_json::Value = serde_json::from_str(&memory).unwrap();
    assert_eq!(memory["crashCount"], 0, "it was stopped in order, not killed with its container");
    assert_eq!(memory["accounted"], 1);
}

/// Forks that many times, each leaving an orphan behind.
fn storm(orphans: u32) -> String {
    format!("i=0; while [ $i -lt {orphans} ]; do (: &); i=$((i+1)); done")
}

/// What a process has of its own, in KiB, and its open files.
fn bill(pid: i32) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a living process");
    let kib = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    (kib, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

fn zombies_of(parent: i32) -> usize {
    let dead = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    children(parent as u32).iter().filter(|pid| dead(pid)).count()
}

/// Thousands of orphans of the game become the keeper's, thousands of other processes the init's.
#[tokio::test]
async fn a_storm_of_orphans_is_reaped_and_nobody_grows() {
    let mut rig = Rig::new();
    let init = contained(&mut rig);
    let mut body = rig.config(&[]);
    let script = format!("echo 'Done (0 s)'; while read -r line; do {}; echo calm; done", storm(1500));
    body["command"] = serde_json::json!(["/bin/sh", "-c", script]);
    assert!(matches!(rig.ask("/config", Some(body)).await, Answer::Taken(_)));
    rig.until("up", |s| s["state"] == "running").await;
    let (game, keeper) = (rig.games(), rig.keepers()[0]);
    let everybody = [init, keeper, agents_of(init)[0]];
    let mut before = None;
    for round in 1..=3 {
        assert!(matches!(rig.say("storm").await, Answer::Taken(_)));
        let inside = ["-t", &init.to_string(), "-p", "sh", "-c", &storm(1500)].map(String::from);
        assert!(Command::new("nsenter").args(inside).status().unwrap().success());
        eventually("the end of the storm", PATIENCE, async || {
            let log = rig.agent.as_ref()?.get("/console/log?from=0").await.body;
            (log.matches("calm").count() == round).then_some(())
        })
        .await;
        let clean = || everybody.iter().all(|pid| zombies_of(*pid) == 0).then_some(());
        eventually_now(PATIENCE, clean).expect("all of them are reaped");
        // The first storm touches what had not been touched before.
        let now = everybody.map(bill);
        let then = *before.get_or_insert(now);
        for ((kib, files), (kib_then, files_then)) in now.into_iter().zip(then) {
            assert!(kib <= kib_then + 512 && files <= files_then + 4, "{now:?} after {then:?}");
        }
    }
    rig.until("it runs on", |s| s["state"] == "running" && s["crashCount"] == 0).await;
    assert_eq!(rig.games(), game);
    end_in_order(&mut rig, init);
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
