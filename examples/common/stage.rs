//! The stage of the simulations: a folder of their own, the real agent in it, and calls to its API.
//!
//! Dropped, it ends the agent and with it the game, however the play went.
#![allow(dead_code, reason = "each simulation uses a part of it")]
#[path = "programs.rs"]
mod programs;

use programs::{build, programs, raise};
use serde_json::{Value, json};
use std::{
    error::Error,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ExitCode},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub type Play<T = ()> = Result<T, Box<dyn Error>>;

/// Ends the play with this message if `holds` is false.
pub fn check(holds: bool, message: impl Into<String>) -> Play {
    if holds { Ok(()) } else { Err(message.into().into()) }
}

/// Exit code 1 and the reason if the play did not go as promised.
pub fn ended(play: Play) -> ExitCode {
    match play {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("NOT as promised: {why}");
            ExitCode::FAILURE
        }
    }
}

pub struct Stage {
    folder: TempDir,
    settings: Vec<String>,
    agent: Child,
    /// `127.0.0.1:PORT`, the same for every agent on this stage.
    pub address: String,
    http: reqwest::Client,
}

impl Stage {
    /// Starts an agent with these settings (`restart.backoff=1s`).
    pub fn open(settings: &[&str]) -> Play<Stage> {
        build()?;
        let everyone = fs::Permissions::from_mode(0o755); // games run as another user and must get in
        let folder = tempfile::Builder::new().prefix("zlh-play-").permissions(everyone).tempdir()?;
        fs::copy(programs()?.join("examples/fake_game"), folder.path().join("fake_game"))?;
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        let (agent, address) = raise(folder.path(), "127.0.0.1:0", &settings)?;
        Ok(Stage { folder, settings, agent, address, http })
    }

    /// kill -9; the next agent gets the same port, folder and settings.
    pub fn kill_agent_and_start_another(&mut self) -> Play {
        self.agent.kill()?;
        self.agent.wait()?;
        self.agent = raise(self.folder.path(), &self.address, &self.settings)?.0;
        Ok(())
    }

    pub fn agent_pid(&self) -> u32 {
        self.agent.id()
    }

    /// `examples/fake_game`, where any user may run it.
    pub fn fake_game(&self) -> String {
        self.folder.path().join("fake_game").display().to_string()
    }

    /// The working directory of the game.
    pub fn game_folder(&self) -> PathBuf {
        self.folder.path().join("opt/zlh/custom/play")
    }

    /// Makes this program the game and starts it. `more` adds to the `/config` body.
    pub async fn configure(&self, command: &[&str], more: Value) -> Play {
        let mut body = json!({"vmid": 5100, "game": "custom", "command": command, "workdir": "play"});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        self.post("/config", Some(body)).await
    }

    /// An agent that has just started may answer 503 until it knows what still runs: then it is asked again.
    pub async fn post(&self, path: &str, body: Option<Value>) -> Play {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let request = self.http.post(format!("http://{}{path}", self.address));
            let request = if let Some(body) = &body { request.json(body) } else { request };
            let reply = request.send().await?;
            let (status, text) = (reply.status(), reply.text().await?);
            if status.as_u16() != 503 || Instant::now() > deadline {
                return check(status.is_success(), format!("POST {path}: {status} {text}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn get(&self, path: &str) -> Play<Value> {
        let reply = self.http.get(format!("http://{}{path}", self.address)).send().await?;
        Ok(reply.error_for_status()?.json().await?)
    }

    /// The newest crash report; an error if there is none.
    pub async fn last_crash(&self) -> Play<Value> {
        let all = self.get("/crashes").await?;
        Ok(all["crashes"].get(0).cloned().ok_or("there is no crash report")?)
    }

    /// Follows `/status` from change to change until `done` says yes.
    pub async fn follow(&self, what: &str, within: Duration, mut done: impl FnMut(&Value) -> bool) -> Play<Value> {
        let deadline = Instant::now() + within;
        let mut status = self.get("/status").await?;
        while !done(&status) {
            check(Instant::now() < deadline, format!("{what}: not within {within:?}; the status is {status:#}"))?;
            status = self.get(&format!("/status?wait=1s&since={}", status["revision"])).await?;
        }
        Ok(status)
    }
}

/// SIGTERM: with `on_agent_stop=stop` the agent stops the game first. If the last agent was killed, another one looks after
/// the game.
impl Drop for Stage {
    fn drop(&mut self) {
        if !matches!(self.agent.try_wait(), Ok(None))
            && let Ok((agent, _)) = raise(self.folder.path(), &self.address, &self.settings)
        {
            self.agent = agent;
        }
        // Our own child, not yet waited for: the pid is still its.
        let pid = nix::unistd::Pid::from_raw(self.agent.id() as i32);
        let ended = nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).map_err(io::Error::from);
        if let Err(e) = ended.and_then(|()| self.agent.wait()) {
            eprintln!("the agent (pid {pid}) may still run: {e}");
        }
    }
}
