//! Where no delay is ahead, the keeper begins the next run by the agent's permit (docs/adr/0029): also while the agent hangs or
//! dies, and never after a stop.
use super::{
    Answer, Rig,
    rig::{PATIENCE, pids, signal},
};
use crate::{keeper::ahead::Group, support::eventually_now};
use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP};
use serde_json::Value;
use std::{fs::File, os::unix::fs::FileExt, time::Duration};
use zlh::{host::keeper_client::keeper_dir, keeper::layout};

/// A run's successor is made half a second after its beginning, if at all.
const MADE_WITHIN: Duration = Duration::from_millis(1500);
const ATTEMPTS: usize = 50;

/// A game that runs, crashes are answered at once. `None` where nothing is made ahead, and so nothing permitted.
async fn running(fail: &str) -> Option<Rig> {
    if Group::new("permits").is_none() {
        eprintln!("no writable cgroup v2 here");
        return None;
    }
    let mut rig = Rig::new();
    rig.flags = ["--set", "restart.backoff=0s,0s,0s,0s,0s"].map(String::from).into();
    assert!(rig.up(fail).await);
    rig.ask("/config", Some(rig.config(&[]))).await;
    rig.until("running", |s| s["state"] == "running").await;
    Some(rig)
}

/// The game, once the process that follows it waits for its crash and may go on. Before, it is killed until that is so: only who
/// was restarted promptly is expected to be again.
async fn with_a_successor(rig: &Rig) -> i32 {
    for _ in 0..ATTEMPTS {
        let alone = |s: &Value| s["state"] == "running" && rig.games().iter().all(|pid| s["pid"] == *pid);
        rig.until("one game", |s| alone(s) && rig.games().len() == 1).await;
        let game = rig.games()[0];
        if eventually_now(MADE_WITHIN, || (permitted(rig) && someone_waits(rig, game)).then_some(())).is_some() {
            return game;
        }
        signal(game, SIGKILL);
        rig.gone(&[game]);
    }
    panic!("no successor after {ATTEMPTS} crashes");
}

fn permitted(rig: &Rig) -> bool {
    let mut word = [0; 8];
    let state = keeper_dir(&rig.sandbox.root(), "game").join(layout::STATE_FILE);
    File::open(state).unwrap().read_exact_at(&mut word, layout::AT_PERMIT as u64).unwrap();
    u64::from_ne_bytes(word) != 0
}

/// Has the keeper another child?
fn someone_waits(rig: &Rig, game: i32) -> bool {
    let parent = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("PPid:\t")?.parse().ok())
    };
    let keepers = rig.keepers();
    pids().iter().any(|pid| *pid != game && parent(pid).is_some_and(|parent: i32| keepers.contains(&parent)))
}

/// The game crashes while its agent sees and says nothing; the game that follows.
async fn crash_unseen(rig: &Rig) -> i32 {
    let game = with_a_successor(rig).await;
    signal(rig.agent.as_ref().unwrap().pid() as i32, SIGSTOP);
    signal(game, SIGKILL);
    rig.gone(&[game]);
    eventually_now(PATIENCE, || rig.games().first().copied()).expect("its successor runs without the agent")
}

async fn ends_in_order(mut rig: Rig) {
    assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
    rig.until("idle", |s| s["state"] == "idle").await;
    assert!(rig.games().is_empty());
    assert!(rig.leave());
}

#[tokio::test]
async fn a_game_whose_agent_hangs_is_back_at_once_and_the_agent_counts_it() {
    let Some(rig) = running("").await else { return };
    with_a_successor(&rig).await;
    let crashes = rig.get("/status").await.unwrap()["crashCount"].as_u64().unwrap();
    let next = crash_unseen(&rig).await;
    signal(rig.agent.as_ref().unwrap().pid() as i32, SIGCONT);
    rig.until("the same game", |s| s["state"] == "running" && s["pid"] == next).await;
    let counted = |s: &Value| s["crashCount"] == crashes + 1 && s["lastCrashSignal"] == 9;
    rig.until("the crash", counted).await;
    rig.until("its report", |s| s["lastCrashReason"].is_string()).await;
    assert_eq!(rig.games(), [next]);
    // It is held like any other: its end is seen, and answered.
    let again = crash_unseen(&rig).await;
    signal(rig.agent.as_ref().unwrap().pid() as i32, SIGCONT);
    rig.until("the next game", |s| s["state"] == "running" && s["pid"] == again).await;
    ends_in_order(rig).await;
}

#[tokio::test]
async fn an_agent_that_died_before_it_learned_of_it_finds_the_run_that_followed() {
    for keeper_dies in [false, true] {
        let Some(mut rig) = running("").await else { return };
        let next = crash_unseen(&rig).await;
        rig.kill_agent();
        if keeper_dies {
            rig.lose_keeper();
        }
        assert!(rig.up("").await);
        rig.until("running", |s| s["state"] == "running" && (keeper_dies || s["pid"] == next)).await;
        assert_eq!(rig.games().len(), 1, "{keeper_dies}");
        ends_in_order(rig).await;
    }
}

/// Whichever comes first: after an accepted stop nothing runs.
#[tokio::test]
async fn a_stop_that_crosses_a_crash_is_the_end() {
    let Some(mut rig) = running("").await else { return };
    for round in 0..10 {
        let game = with_a_successor(&rig).await;
        // A moment before the stop, or while that is on its way.
        let crash = tokio::task::spawn_blocking(move || signal(game, SIGKILL));
        if round % 2 == 0 {
            crash.await.unwrap();
            assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)), "round {round}");
        } else {
            assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)), "round {round}");
            crash.await.unwrap();
        }
        rig.until("idle", |s| s["state"] == "idle").await;
        assert!(rig.games().is_empty(), "round {round}");
        assert!(matches!(rig.ask("/start", None).await, Answer::Taken(_)));
        rig.until("running", |s| s["state"] == "running").await;
    }
    ends_in_order(rig).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_keeper_that_dies_with_the_permit_in_its_hand_leaves_the_restart_to_the_agent() {
    let Some(rig) = running("keeper.permit_taken").await else { return };
    let (game, keepers) = (with_a_successor(&rig).await, rig.keepers());
    signal(game, SIGKILL);
    let another = || (rig.keepers().iter().any(|pid| !keepers.contains(pid))).then_some(());
    eventually_now(PATIENCE, another).expect("a new keeper");
    rig.until("running", |s| s["state"] == "running" && s["pid"] != game).await;
    assert_eq!(rig.games().len(), 1);
    ends_in_order(rig).await;
}
