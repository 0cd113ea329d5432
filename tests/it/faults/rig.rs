//! One root folder in which agents live and die around one game, and what is known of it from outside.
use super::invariants::Seen;
use crate::support::{Agent, Sandbox, eventually, eventually_now};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};

/// Nothing here takes longer, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that takes seconds in production takes milliseconds here; no crash is one too many.
const FAST: &[&str] = &[
    "--allow-unauthenticated",
    "--set",
    "restart.backoff=60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms,60ms",
    "--set",
    "restart.max_crashes_before_ready=1000",
    "--set",
    "restart.max_crashes_per_hour=1000",
    "--set",
    "restart.reset_after=1ms",
    "--set",
    "ready.settle=10ms",
    "--set",
    "ready.interval=10ms",
    "--set",
    "limits.crashes_kept=1000",
    "--set",
    "limits.operations_kept=1000",
];

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken; its operation, if there had to be one.
    Taken(Option<String>),
    Refused(StatusCode, String),
    /// The agent died before it answered: done or not done.
    Lost,
}

/// Without an agent at first.
pub struct Rig {
    pub sandbox: Sandbox,
    pub agent: Option<Agent>,
    pub seen: Seen,
    /// Settings besides the fast ones.
    pub flags: Vec<String>,
    /// What agents are started from, and more of their environment.
    pub program: PathBuf,
    pub env: Vec<(&'static str, String)>,
}

impl Rig {
    pub fn new() -> Rig {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_zlh"));
        let (seen, flags, env) = (Seen::default(), Vec::new(), Vec::new());
        Rig { sandbox: Sandbox::new(), agent: None, seen, flags, program, env }
    }

    /// A new agent that knows what there is; false if it died on the way. `fail`: its `ZLH_FAIL`.
    pub async fn up(&mut self, fail: &str) -> bool {
        let flags: Vec<&str> = FAST.iter().copied().chain(self.flags.iter().map(String::as_str)).collect();
        let env: Vec<_> =
            self.env.iter().map(|(name, value)| (*name, value.as_str())).chain([("ZLH_FAIL", fail)]).collect();
        let mut agent = Agent::spawn(&self.program, &self.sandbox, &flags, &env);
        let listens = agent.listens();
        self.agent = Some(agent);
        listens && self.recovered().await
    }

    /// The agent has found out what its predecessor left; false if it died before.
    async fn recovered(&mut self) -> bool {
        let known = eventually("the agent knows what survived", PATIENCE, async || {
            if self.is_dead() {
                return Some(false);
            }
            let ready = self.get("/ready").await?;
            let checks = ready["checks"].as_array()?.clone();
            checks.iter().any(|c| c["name"] == "agent" && c["ok"] == true).then_some(true)
        });
        known.await
    }

    /// No agent lives here (any more).
    pub fn is_dead(&mut self) -> bool {
        self.agent.as_mut().is_none_or(|agent| agent.ended().is_some())
    }

    pub fn kill_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill_9();
        }
    }

    /// SIGTERM: it leaves, the game stays. True if it did so in order.
    pub fn leave(&mut self) -> bool {
        self.agent.take().is_some_and(|agent| agent.terminate().success())
    }

    /// A request, repeated while the agent says that it cannot know yet or that another operation is in its way.
    pub async fn ask(&mut self, path: &str, body: Option<Value>) -> Answer {
        let answer = eventually(path, PATIENCE, async || {
            let Some(agent) = &self.agent else { return Some(Answer::Lost) };
            let Ok(reply) = agent.try_call(Method::POST, path, body.as_ref()).await else { return Some(Answer::Lost) };
            match reply.status {
                StatusCode::SERVICE_UNAVAILABLE => None,
                StatusCode::CONFLICT if reply.code() == "operation_in_progress" => None,
                status if status.is_success() => {
                    let by_header = reply.headers.get("Operation-Id").and_then(|id| id.to_str().ok().map(String::from));
                    let by_body = || reply.body_json()?["operationId"].as_str().map(String::from);
                    Some(Answer::Taken(by_header.or_else(by_body)))
                }
                status => Some(Answer::Refused(status, reply.code())),
            }
        });
        let answer = answer.await;
        if let Answer::Taken(Some(operation)) = &answer {
            self.seen.accepted.push(operation.clone());
        }
        answer
    }

    /// One line at the game's console.
    pub async fn say(&mut self, line: &str) -> Answer {
        self.ask("/console/command", Some(json!({"command": line}))).await
    }

    pub async fn get(&self, path: &str) -> Option<Value> {
        let reply = self.agent.as_ref()?.try_call(Method::GET, path, None).await.ok()?;
        reply.body_json()
    }

    /// Polls `/status` until it is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        eventually(what, PATIENCE, async || self.get("/status").await.filter(&wanted).map(|_| ())).await;
    }

    /// Waits until the agent is dead.
    pub async fn died(&mut self) {
        eventually("the agent dies", PATIENCE, async || self.is_dead().then_some(())).await;
    }

    /// Waits until the agent is dead, or runs its game, or has tried twice to start it again. The crashes until then.
    pub async fn commotion(&mut self) -> Option<u64> {
        let seen = eventually("something happens", PATIENCE, async || {
            if self.is_dead() {
                return Some(None);
            }
            let status = self.get("/status").await?;
            let tried = status["restartAttempt"].as_u64() >= Some(2) || status["state"] == "running";
            (tried || status["state"] == "error").then(|| status["crashCount"].as_u64())
        });
        seen.await
    }

    /// A `/config` for the fake game; every process of it carries [`Rig::mark`].
    pub fn config(&self, flags: &[&str]) -> Value {
        let mut body = self.sandbox.fake_game_config(flags);
        body["env"]["GAME_OF"] = json!(self.sandbox.marker());
        body
    }

    /// Living processes of the game.
    pub fn games(&self) -> Vec<i32> {
        let mark = format!("GAME_OF={}\0", self.sandbox.marker()).into_bytes();
        let runs = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|w| w == mark)
        };
        let mut games: Vec<i32> = pids().into_iter().filter(runs).collect();
        // The first look is spread over time: an old one may have gone before a new one came.
        games.retain(runs);
        games
    }

    /// Living keepers.
    pub fn keepers(&self) -> Vec<i32> {
        let folder = format!("keeper\0--dir\0{}/", self.sandbox.root().display());
        let keeps = |pid: &i32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&folder)
        };
        let mut keepers: Vec<i32> = pids().into_iter().filter(keeps).collect();
        keepers.retain(keeps);
        keepers
    }

    /// Waits until none of these games is left.
    pub fn gone(&self, games: &[i32]) {
        let gone = || self.games().iter().all(|pid| !games.contains(pid)).then_some(());
        eventually_now(PATIENCE, gone).expect("a crashed game ends");
    }

    /// SIGKILL to the keeper, if there is one, and waits for its end.
    pub fn lose_keeper(&self) {
        let keepers = self.keepers();
        keepers.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
        let gone = || self.keepers().iter().all(|pid| !keepers.contains(pid)).then_some(());
        eventually_now(PATIENCE, gone).expect("a killed keeper ends");
    }
}

/// To a process that was just found; it is gone if this fails.
pub fn signal(pid: i32, signal: Signal) {
    assert!(pid > 1);
    let _gone = kill(Pid::from_raw(pid), signal);
}

pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc can be listed").flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}
