//! The agent dies, and the next one dies while it takes up what the first one left: at each passage of each point.
use super::{Answer, Rig, rig::signal};
use nix::sys::signal::Signal;
use serde_json::Value;

/// In what the first agent is killed, and what happens until the next one comes.
#[derive(Clone, Copy, Debug)]
enum Left {
    Running,
    /// The game crashes while nobody looks.
    CrashedAlone,
    /// The keeper dies too, and takes the game along.
    KeeperLostAlone,
    /// On the stop ladder of a game that does not obey.
    MidStop,
    /// Between a crash and its restart.
    InBackoff,
    /// The order to start is saved and nothing else.
    OrderedToStart,
}

impl Left {
    /// What the next agent must make of it: the state, and how many crashes.
    fn becomes(self) -> (&'static str, u64) {
        match self {
            Left::Running | Left::OrderedToStart => ("running", 0),
            Left::CrashedAlone | Left::KeeperLostAlone | Left::InBackoff => ("running", 1),
            Left::MidStop => ("idle", 0),
        }
    }

    /// A rig whose first agent is dead.
    async fn rig(self) -> Rig {
        let mut rig = Rig::new();
        if let Left::InBackoff = self {
            rig.flags = ["--set", "restart.backoff=400ms,400ms,400ms"].map(String::from).into();
        }
        let fail = if let Left::OrderedToStart = self { "agent.before_launch@2" } else { "" };
        assert!(rig.up(fail).await);
        let ignorant: &[&str] =
            if let Left::MidStop = self { &["--stop-command", "quit", "--ignore-term"] } else { &[] };
        let mut body = rig.config(ignorant);
        if let Left::MidStop = self {
            let stop = r#"[{"stdin": "stop", "wait": "200ms"}, {"signal": "SIGTERM", "wait": "400ms"}]"#;
            body["stop"] = serde_json::from_str(stop).unwrap();
        }
        assert!(matches!(rig.ask("/config", Some(body)).await, Answer::Taken(_)));
        rig.quiet("up", |s| s["state"] == "running").await.expect("the agent lives");
        self.happen(&mut rig).await;
        rig
    }

    async fn happen(self, rig: &mut Rig) {
        match self {
            Left::Running | Left::CrashedAlone | Left::KeeperLostAlone => rig.kill_agent(),
            Left::MidStop => {
                assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
                rig.kill_agent();
            }
            Left::InBackoff => {
                rig.say("crash exit 3").await;
                // Whoever looks too late finds it restarted, which the next agent must make the same of.
                let again = |s: &Value| s["state"] == "running" && s["crashCount"] == 1;
                let waits = |s: &Value| s["state"] == "crashed" && s["nextRestartAt"] != Value::Null;
                rig.until("in backoff", |s| waits(s) || again(s)).await;
                rig.kill_agent();
            }
            Left::OrderedToStart => {
                rig.ask("/restart", None).await;
                rig.died().await;
            }
        }
        let games = rig.games();
        match self {
            Left::CrashedAlone => games.iter().for_each(|pid| signal(*pid, Signal::SIGABRT)),
            Left::KeeperLostAlone => rig.lose_keeper(),
            _ => return,
        }
        rig.gone(&games);
    }
}

/// True if the second agent died at `fail`; then, or if not, everything must come to rest as it should.
async fn take_up(left: Left, fail: &str) -> bool {
    let mut rig = left.rig().await;
    let (state, crashes) = left.becomes();
    let what = format!("{left:?}, then {fail}");
    let wanted = |s: &Value| s["state"] == state && s["crashCount"] == crashes;
    let lives = rig.up(fail).await && rig.quiet(&what, wanted).await.is_some();
    rig.kill_agent();
    assert!(rig.up("").await, "{what}: the third agent died");
    rig.quiet(&what, wanted).await.expect("the third agent lives");
    assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
    rig.quiet(&what, |s| s["state"] == "idle").await.expect("the agent lives");
    assert!(rig.leave());
    !lives
}

async fn sweep(left: Left) {
    for point in
        ["agent.before_attach", "agent.after_attach", "agent.mid_save", "agent.after_save", "agent.before_signal"]
    {
        let mut n = 1;
        while take_up(left, &format!("{point}@{n}")).await {
            n += 1;
        }
    }
}

#[tokio::test]
async fn of_a_running_game() {
    sweep(Left::Running).await;
}

#[tokio::test]
async fn of_a_crash_nobody_saw() {
    sweep(Left::CrashedAlone).await;
}

#[tokio::test]
async fn of_a_lost_keeper() {
    sweep(Left::KeeperLostAlone).await;
}

#[tokio::test]
async fn of_a_stop_under_way() {
    sweep(Left::MidStop).await;
}

#[tokio::test]
async fn of_a_pending_restart() {
    sweep(Left::InBackoff).await;
}

#[tokio::test]
async fn of_an_order_to_start() {
    sweep(Left::OrderedToStart).await;
}

/// Keepers that die at a point of theirs, an agent that dies at one of its own meanwhile, then good ones.
#[tokio::test]
async fn agents_and_keepers_that_both_die() {
    let keepers = [
        "keeper.after_state_alloc",
        "keeper.after_bind",
        "keeper.after_pty",
        "keeper.after_fork_before_exec",
        "child.before_exec",
        "keeper.after_exec_ok",
        "keeper.child_exited_before_record",
        "keeper.after_record_before_report",
    ];
    for keeper in keepers {
        for agent in ["agent.after_launch_order", "agent.before_exit_fact", "agent.after_save@4", "agent.before_rescue"]
        {
            both_die(keeper, agent).await;
        }
    }
}

async fn both_die(keeper: &str, agent: &str) {
    let what = format!("{keeper},{agent}");
    let mut rig = Rig::new();
    assert!(rig.up(&what).await);
    rig.ask("/config", Some(rig.config(&[]))).await;
    let crashes = rig.commotion().await;
    rig.kill_agent();
    // It would go on failing in the hands of the next agent.
    rig.lose_keeper();
    assert!(rig.up("").await, "{what}");
    // Whatever was begun goes on: it is meant to run, and nothing of the past keeps it from that.
    rig.quiet(&what, |s| s["state"] == "running" && s["crashCount"].as_u64() >= crashes).await.expect("an agent");
    assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
    rig.quiet(&what, |s| s["state"] == "idle").await.expect("an agent");
    assert!(rig.leave());
}
