//! What tests of all games share: ports, an agent that restarts at once, crash reports, the console, the account.
pub use crate::it::support::free_port;
use crate::it::support::{Agent, Sandbox, eventually};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// For everything that takes a moment on a quiet machine: others may use it too.
pub const PATIENCE: Duration = Duration::from_secs(420);

/// An agent that restarts a crashed game after `backoff`, as often as a test lets it crash.
pub fn agent_with_backoff(sandbox: &Sandbox, backoff: &str) -> Agent {
    let backoff = format!("restart.backoff={}", [backoff; 20].join(","));
    let set = [&backoff, "restart.max_crashes_per_hour=1000", "restart.max_crashes_before_ready=1000"];
    let flags: Vec<&str> = set.iter().flat_map(|pair| ["--set", pair]).collect();
    sandbox.agent(&flags)
}

/// A `/config` body with one port of its own.
pub fn config(game: &str, port: u16) -> Value {
    json!({"vmid": 5072, "game": game, "ports": [port]})
}

/// A file in the server root of `game` (as `game/variant/world`), before any agent made it. Folders are open to
/// everybody: the account that will own them may not exist yet.
pub fn server_file(sandbox: &Sandbox, game: &str, path: &str, text: &str) -> PathBuf {
    let mut at = sandbox.root();
    let whole = Path::new("opt/zlh").join(game).join("default/world").join(path);
    for folder in whole.parent().unwrap() {
        at.push(folder);
        if !at.exists() {
            fs::create_dir(&at).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(0o777)).unwrap();
        }
    }
    at.push(whole.file_name().unwrap());
    fs::write(&at, text).unwrap();
    at
}

pub async fn configured(agent: &Agent, body: &Value) -> Value {
    agent.configure(body).await;
    let status = agent.until("running or failed", PATIENCE, |s| s["state"] == "running" || s["state"] == "error").await;
    assert_eq!((&status["state"], &status["ready"]), (&json!("running"), &json!(true)), "{status:#}");
    assert_eq!(status["vmid"], body["vmid"], "{status:#}");
    status
}

/// The newest crash report once there are `count`.
pub async fn crash_report(agent: &Agent, count: usize) -> Value {
    eventually(&format!("crash report {count}"), PATIENCE, async || {
        let crashes = agent.get("/crashes").await.json()["crashes"].as_array().unwrap().clone();
        (crashes.len() >= count).then(|| crashes[0].clone())
    })
    .await
}

/// What a report must say. `exit`: code, or minus the signal.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub exit: i64,
    pub classification: &'static str,
    pub code: &'static str,
    /// The rule that decided, empty for the exit status.
    pub rule: &'static str,
    /// Part of the hint.
    pub hint: &'static str,
}

impl Verdict {
    pub fn check(&self, report: &Value) {
        let signal = report["signal"].as_i64().unwrap();
        let exit = report["exitCode"].as_i64().unwrap_or(-signal);
        let seen = [&report["classification"], &report["code"], &report["rule"]].map(|v| v.as_str().unwrap());
        assert_eq!((exit, seen), (self.exit, [self.classification, self.code, self.rule]), "{report:#}");
        let hint = report["hint"].as_str().unwrap();
        assert!(hint.contains(self.hint), "{:?} is not in {hint:?}", self.hint);
    }
}

pub async fn type_line(agent: &Agent, line: &str) {
    let reply = agent.post_json("/console/command", &json!({"command": line})).await;
    assert_eq!(reply.status.as_u16(), 202, "{line}: {reply:?}");
}

/// Waits until the console has shown `text`.
pub async fn shown(agent: &Agent, text: &str) -> String {
    let mut log = String::new();
    eventually(&format!("{text:?} in the console"), PATIENCE, async || {
        log = agent.get("/console/log").await.body;
        log.contains(text).then_some(())
    })
    .await;
    log
}

/// Stops the game by the API and insists that it went in order, in time, and is no crash.
pub async fn stop(agent: &Agent) -> Value {
    let crashes = agent.status().await["crashCount"].clone();
    let reply = agent.post("/stop?wait=60s").await;
    assert_eq!(reply.status.as_u16(), 204, "{reply:?}");
    let status = agent.status().await;
    assert_eq!((&status["state"], &status["processRunning"]), (&json!("idle"), &json!(false)), "{status:#}");
    assert_eq!(status["crashCount"], crashes, "a stop is no crash: {status:#}");
    let operation = agent.get("/operations").await.json();
    assert_eq!(operation["operations"][0]["state"], "done", "{operation:#}");
    status
}

/// A signal to the game from outside.
pub fn signal(status: &Value, signal: Signal) {
    let pid = i32::try_from(status["pid"].as_i64().expect("it runs")).unwrap();
    assert!(pid > 1, "{pid}");
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Real and effective user of the game, by name.
pub fn account(status: &Value) -> String {
    let about = fs::read_to_string(format!("/proc/{}/status", status["pid"])).unwrap();
    let uids: Vec<&str> = about.lines().find(|l| l.starts_with("Uid:")).unwrap().split_whitespace().skip(1).collect();
    assert!(uids.iter().all(|uid| *uid == uids[0]), "one user, saved ones too: {uids:?}");
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let of = |line: &str| line.split(':').nth(2) == Some(uids[0]);
    accounts.lines().find(|l| of(l)).and_then(|l| l.split(':').next()).expect("the user has a name").to_owned()
}

/// Sends a packet to a UDP port of this machine until it is answered.
pub async fn ask_udp(port: u16, packet: &[u8]) -> Vec<u8> {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    eventually("an answer by UDP", PATIENCE, async || {
        socket.send(packet).await.ok()?;
        let mut answer = [0; 1500];
        let count = tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut answer)).await.ok()?.ok()?;
        Some(answer[..count].to_vec())
    })
    .await
}
