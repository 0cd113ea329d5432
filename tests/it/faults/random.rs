//! Random sequences of commands and accidents against a simple model: what was asked last is what is, every crash is
//! counted, and whoever only loses an agent loses nothing.
//!
//! `ZLH_FAULT_SEED=<n>` plays one sequence again; a failure prints its seed and what was done.
//! `ZLH_FAULT_SEQUENCES=<n>` plays more than the usual number.
use super::{Answer, Rig, rig::signal};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{ops::RangeInclusive, thread};

const SEQUENCES: u64 = 120;
/// Sequences side by side, each in a root of its own.
const ROOTS: u64 = 6;
const STEPS: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Configure,
    Start,
    Stop,
    Restart,
    Kill,
    /// By a line at its console.
    Crash,
    /// By SIGKILL from outside.
    Shoot,
    KillAgent,
    KillKeeper,
    /// SIGTERM to the agent; the game stays.
    Leave,
    /// Wait until everything is at rest. Without it the next act comes in the midst of this one.
    Rest,
}

const ACTS: [Act; 16] = [
    Act::Configure,
    Act::Start,
    Act::Start,
    Act::Stop,
    Act::Restart,
    Act::Kill,
    Act::Crash,
    Act::Crash,
    Act::Shoot,
    Act::KillAgent,
    Act::KillAgent,
    Act::KillKeeper,
    Act::Leave,
    Act::Rest,
    Act::Rest,
    Act::Rest,
];

/// xorshift64*: the same everywhere, so a seed is a whole story.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }
}

/// What must be, as far as can be known from outside.
#[derive(Clone, Debug)]
struct Model {
    up: bool,
    crashes: RangeInclusive<u64>,
    /// The game at the last rest, if nothing since then may have ended it.
    game: Option<i64>,
    /// Nothing was done since the last rest that takes time.
    rests: bool,
    /// Crashes since the last rest that count unless the game is told to end before anybody has noticed.
    fresh: u64,
    /// The keeper was killed since the last rest. A run that it took along is ended by the agent, and like every run
    /// that is being ended it does not count once somebody asks for another one.
    unkept: bool,
}

impl Model {
    fn wants(&self, status: &Value) -> bool {
        let state = if self.up { "running" } else { "idle" };
        let same = self.game.is_none_or(|pid| status["pid"] == pid);
        status["state"] == state && self.crashes.contains(&status["crashCount"].as_u64().unwrap()) && same
    }

    /// It may have crashed `at_most` times more than `at_least` says.
    fn crash(&mut self, at_least: u64) {
        self.crashes = self.crashes.start() + at_least..=self.crashes.end() + 1;
        self.fresh += at_least;
        (self.game, self.rests) = (None, false);
    }

    /// Start and configure: a game that runs, or is to run, is left alone.
    fn asked_up(&mut self) {
        if self.unkept {
            self.asked_to_end(true);
        } else if !(self.rests && self.up) {
            (self.up, self.game, self.rests) = (true, None, false);
        }
    }

    /// Whatever runs is ended first.
    fn asked_to_end(&mut self, then_up: bool) {
        self.crashes = self.crashes.start() - self.fresh..=*self.crashes.end();
        (self.up, self.game, self.rests, self.fresh) = (then_up, None, false, 0);
    }
}

/// One story; what was done is told as it happens, so that a failure can say it.
async fn play(seed: u64, told: &mut Vec<String>) {
    let (mut dice, mut rig) = (Dice::new(seed), Rig::new());
    let mut model = Model { up: false, crashes: 0..=0, game: None, rests: true, fresh: 0, unkept: false };
    assert!(rig.up("").await);
    for step in 0..STEPS {
        let act = if step == 0 { Act::Configure } else { ACTS[dice.roll(ACTS.len() as u64) as usize] };
        told.push(format!("{act:?}"));
        let answer = perform(act, &mut rig, &mut model).await;
        told.push(format!("{answer:?}, {model:?}"));
        if act == Act::Rest || dice.roll(2) == 0 {
            rest(&mut rig, &mut model, told).await;
        }
    }
    rest(&mut rig, &mut model, told).await;
    perform(Act::Kill, &mut rig, &mut model).await;
    rest(&mut rig, &mut model, told).await;
    assert!(rig.leave());
}

async fn rest(rig: &mut Rig, model: &mut Model, told: &mut Vec<String>) {
    let what = format!("{told:#?}");
    let status = rig.quiet(&what, |status| model.wants(status)).await.expect("the agent lives");
    let crashes = status["crashCount"].as_u64().unwrap();
    (model.crashes, model.game) = (crashes..=crashes, status["pid"].as_i64());
    (model.rests, model.fresh, model.unkept) = (true, 0, false);
    told.push("at rest".into());
}

async fn perform(act: Act, rig: &mut Rig, model: &mut Model) -> Answer {
    let idle = Answer::Taken(None);
    match act {
        Act::Rest => idle,
        Act::Configure => {
            model.asked_up();
            let body = rig.config(&[]);
            order(rig, "/config", Some(body)).await
        }
        Act::Start => {
            model.asked_up();
            order(rig, "/start", None).await
        }
        Act::Restart => {
            model.asked_to_end(true);
            order(rig, "/restart", None).await
        }
        Act::Stop | Act::Kill => {
            model.asked_to_end(false);
            order(rig, if act == Act::Stop { "/stop" } else { "/kill" }, None).await
        }
        Act::Crash => crash(rig, model).await,
        Act::Shoot => {
            let games = rig.games();
            games.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
            rig.gone(&games);
            accident(model, 1);
            idle
        }
        Act::KillKeeper => {
            rig.lose_keeper();
            // The game survives unless its spare terminal was not yet with the agent.
            accident(model, 0);
            model.unkept = true;
            idle
        }
        Act::KillAgent => {
            rig.kill_agent();
            assert!(rig.up("").await);
            idle
        }
        Act::Leave => {
            assert!(rig.leave(), "the agent did not leave in order");
            assert!(rig.up("").await);
            idle
        }
    }
}

/// There is always a configuration and a living agent, so nothing stands in the way of an order.
async fn order(rig: &mut Rig, path: &str, body: Option<Value>) -> Answer {
    let answer = rig.ask(path, body).await;
    assert!(matches!(answer, Answer::Taken(_)), "{path}: {answer:?}");
    answer
}

async fn crash(rig: &mut Rig, model: &mut Model) -> Answer {
    let Some(agent) = &rig.agent else { return Answer::Lost };
    let body = serde_json::json!({"command": "crash exit 9"});
    let games = rig.games();
    let said = agent.post_json("/console/command", &body).await;
    if said.status.is_success() {
        rig.gone(&games);
    }
    accident(model, u64::from(said.status.is_success()));
    Answer::Refused(said.status, String::new())
}

/// Certain only for a game that ran at rest; at a game in motion it may miss, or hit one that is being ended anyway.
fn accident(model: &mut Model, certain: u64) {
    let ran = model.rests && model.up;
    if ran || !model.rests {
        model.crash(if ran { certain } else { 0 });
    }
}

/// Plays the sequences `first`, `first + ROOTS`, …; the seed and the story of the first that fails.
fn play_every(first: u64, until: u64) -> Result<(), String> {
    for seed in (first..until).step_by(ROOTS as usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut told = Vec::new();
        let story = std::panic::AssertUnwindSafe(|| runtime.block_on(play(seed, &mut told)));
        if std::panic::catch_unwind(story).is_err() {
            return Err(format!("ZLH_FAULT_SEED={seed}: {told:#?}"));
        }
    }
    Ok(())
}

#[test]
fn what_was_asked_last_is_what_is() {
    let told = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let sequences = told("ZLH_FAULT_SEQUENCES").unwrap_or(SEQUENCES);
    if let Some(seed) = told("ZLH_FAULT_SEED") {
        return play_every(seed, seed + 1).unwrap_or_else(|story| panic!("{story}"));
    }
    let players: Vec<_> = (0..ROOTS).map(|first| thread::spawn(move || play_every(first, sequences))).collect();
    let failures: Vec<String> = players.into_iter().filter_map(|p| p.join().unwrap().err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
