//! The agent is killed at the n-th passage of each of its points, for every n that a whole life of a game has.
use super::{Answer, Rig};
use serde_json::Value;
use std::collections::BTreeSet;

/// What is done to the game, in order; each step begins at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Configure,
    Crash,
    Restart,
    /// SIGKILL to the keeper of a running game: the game survives.
    LoseKeeper,
    Stop,
    Start,
    Kill,
}

const LIFE: [Step; 7] =
    [Step::Configure, Step::Crash, Step::LoseKeeper, Step::Restart, Step::Stop, Step::Start, Step::Kill];

/// Lives the whole life with `fail` armed. False if it never struck.
async fn live(fail: &str) -> bool {
    let mut rig = Rig::new();
    assert!(rig.up(fail).await, "{fail}: nothing has happened yet");
    let mut expected = Expected { states: ["idle".to_owned()].into(), crashes: 0..=0 };
    for step in LIFE {
        let answer = expected.take(step, &mut rig).await;
        let (states, crashes) = (&expected.states, &expected.crashes);
        let as_expected = |s: &Value| {
            states.contains(s["state"].as_str().unwrap()) && crashes.contains(&s["crashCount"].as_u64().unwrap())
        };
        let what = format!("{fail}: {step:?} answered {answer:?}, expecting {states:?} and {crashes:?} crashes");
        if let Some(status) = rig.quiet(&what, as_expected).await
            && !rig.is_dead()
        {
            expected = Expected::of(&status);
            continue;
        }
        assert!(rig.up("").await, "{what}: the next agent died");
        let status = rig.quiet(&what, as_expected).await.expect("the next agent lives");
        return finish(rig, status["state"] == "running", fail).await;
    }
    let left_in_order = rig.leave();
    if !left_in_order {
        assert!(rig.up("").await, "{fail}: the next agent died");
        rig.quiet(fail, |s| s["state"] == "idle").await.expect("the next agent lives");
        assert!(rig.leave());
    }
    !left_in_order
}

/// After a death the game can be started, stopped and left like any other.
async fn finish(mut rig: Rig, runs: bool, fail: &str) -> bool {
    if !runs && matches!(rig.ask("/start", None).await, Answer::Taken(_)) {
        rig.quiet(&format!("{fail}: started afterwards"), |s| s["state"] == "running").await.expect("an agent");
    }
    assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
    rig.quiet(&format!("{fail}: stopped afterwards"), |s| s["state"] == "idle").await.expect("an agent");
    assert!(rig.leave());
    true
}

/// What the next rest may look like.
struct Expected {
    states: BTreeSet<String>,
    crashes: std::ops::RangeInclusive<u64>,
}

impl Expected {
    /// Just this.
    fn of(status: &Value) -> Expected {
        let crashes = status["crashCount"].as_u64().unwrap();
        Expected { states: [status["state"].as_str().unwrap().to_owned()].into(), crashes: crashes..=crashes }
    }

    async fn take(&mut self, step: Step, rig: &mut Rig) -> Answer {
        let answer = act(step, rig).await;
        let (from, to) = (*self.crashes.start(), *self.crashes.end());
        let goal = match step {
            Step::Configure | Step::Restart | Step::Start | Step::Crash | Step::LoseKeeper => "running",
            Step::Stop | Step::Kill => "idle",
        };
        match &answer {
            Answer::Taken(_) => self.states = [goal.to_owned()].into(),
            Answer::Lost => _ = self.states.insert(goal.to_owned()),
            Answer::Refused(status, code) => panic!("{step:?}: {status} {code}"),
        }
        self.crashes = match (step, &answer) {
            (Step::Crash, Answer::Taken(_)) => from + 1..=to + 1,
            (Step::Crash, _) => from..=to + 1,
            // If the agent dies as well there is nobody who could save the game.
            (Step::LoseKeeper, _) => from..=to + 1,
            _ => from..=to,
        };
        answer
    }
}

async fn act(step: Step, rig: &mut Rig) -> Answer {
    match step {
        Step::Configure => rig.ask("/config", Some(rig.config(&[]))).await,
        Step::Crash => rig.say("crash exit 7").await,
        Step::Restart => rig.ask("/restart", None).await,
        Step::Stop => rig.ask("/stop", None).await,
        Step::Start => rig.ask("/start", None).await,
        Step::Kill => rig.ask("/kill", None).await,
        Step::LoseKeeper => {
            rig.lose_keeper();
            Answer::Taken(None)
        }
    }
}

/// Every passage of `point`, until there is none left. How many there were.
async fn sweep(point: &str) -> u32 {
    let mut struck = 0;
    while live(&format!("{point}@{}", struck + 1)).await {
        struck += 1;
    }
    struck
}

/// `points` with the least number of passages each must have: fewer would mean that the point has moved away.
async fn sweep_all(points: &[(&str, u32)]) {
    for (point, at_least) in points {
        let struck = sweep(point).await;
        assert!(struck >= *at_least, "{point} was passed only {struck} times");
    }
}

#[tokio::test]
async fn before_a_save() {
    sweep_all(&[("agent.before_save", 10)]).await;
}

#[tokio::test]
async fn amid_a_save() {
    sweep_all(&[("agent.mid_save", 10)]).await;
}

#[tokio::test]
async fn after_a_save() {
    sweep_all(&[("agent.after_save", 10)]).await;
}

#[tokio::test]
async fn around_a_launch() {
    sweep_all(&[
        ("agent.after_prepare", 2),
        ("agent.before_launch", 3),
        ("agent.after_keeper_spawn", 1),
        ("agent.after_launch_order", 3),
        ("agent.before_launched_fact", 3),
        ("agent.at_good_start", 3),
    ])
    .await;
}

#[tokio::test]
async fn around_an_end() {
    sweep_all(&[
        ("agent.before_exit_fact", 4),
        ("agent.after_exit_fact", 4),
        ("agent.before_tree_empty_fact", 4),
        ("agent.before_classify", 1),
        ("agent.after_classify", 1),
    ])
    .await;
}

#[tokio::test]
async fn on_the_stop_ladder_and_in_a_rescue() {
    sweep_all(&[
        ("agent.after_say", 2),
        ("agent.before_signal", 1),
        ("agent.after_signal", 1),
        ("agent.before_rescue", 1),
        ("agent.after_rescue", 1),
        ("agent.before_retire", 1),
    ])
    .await;
}
