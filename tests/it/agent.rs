//! The real agent with its keeper and the fake game, seen through the API as a client sees it.
mod command_line;
mod config;
mod flood;
mod limits;
mod lives;
mod power;
mod restarts;
mod stops;
mod viewers;

use crate::support::{Agent, Sandbox, free_port};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Longer than anything here takes on a busy machine; nothing waits this long when all is well.
const SOON: Duration = Duration::from_secs(120);

/// For what is meant to take some seconds.
const LATER: Duration = Duration::from_secs(240);

/// An agent that probes often, so that a test needs not wait for it. `flags` come last and win.
fn quick(sandbox: &Sandbox, flags: &[&str]) -> Agent {
    let mut all = vec![];
    for set in ["ready.settle=50ms", "ready.interval=50ms", "restart.jitter=0", "game.min_disk_free_bytes=1"] {
        all.extend(["--set", set]);
    }
    all.extend(flags);
    sandbox.agent(&all)
}

/// Configures, and waits until players could join.
async fn run(agent: &Agent, body: &Value) -> Value {
    agent.configure(body).await;
    agent.until("ready", SOON, |s| s["state"] == "running" && s["ready"] == true).await
}

/// `body` with these fields replaced or added.
fn with(body: &Value, fields: Value) -> Value {
    let mut body = body.clone();
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The flags of a fake game that speaks `protocol` on `port`.
fn on_port(port: u16, protocol: &str) -> Vec<String> {
    ["--port", &port.to_string(), "--protocol", protocol].map(String::from).to_vec()
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Every file beneath `folder` with what is in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        found.insert(next.clone(), Vec::new());
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(content) = fs::read(&path) {
                found.insert(path, content); // one that is gone meanwhile was a temporary one
            }
        }
    }
    found
}

/// The operation of this id, once it has its outcome.
async fn outcome(agent: &Agent, id: &Value) -> Value {
    let path = format!("/operations/{}", id.as_str().unwrap_or_else(|| panic!("no operation id: {id}")));
    let ended = crate::support::eventually("the end of the operation", SOON, async || {
        let operation = agent.get(&path).await.json();
        ["done", "failed", "superseded"].contains(&operation["state"].as_str()?).then_some(operation)
    });
    ended.await
}

async fn command(agent: &Agent, line: &str) {
    let reply = agent.post_json("/console/command", &json!({"command": line})).await;
    assert_eq!(reply.status, 202, "{reply:?}");
}

fn warning<'a>(status: &'a Value, code: &str) -> Option<&'a str> {
    let warnings = status["warnings"].as_array().unwrap();
    warnings.iter().find(|w| w["code"] == code).map(|w| w["message"].as_str().unwrap())
}

/// Milliseconds since 1970 of a time on the wire.
fn millis(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("no time: {time}"));
    assert!(text.len() == 24 && text.ends_with('Z'), "RFC 3339 UTC with milliseconds: {text}");
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn now() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}
