//! What runs out: room in a body, file descriptors, disk. It is said clearly, and nothing that was there is lost.
use super::{SOON, outcome, quick, run, with};
use crate::support::{Agent, Sandbox, eventually, install};
use serde_json::{Value, json};
use std::{fs, net::TcpStream, path::PathBuf, process::Command};

#[tokio::test]
async fn a_body_too_large_is_refused_with_the_limit() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let body = with(&sandbox.fake_game_config(&[]), json!({"padding": "x".repeat(2 << 20)}));
    let reply = agent.post_json("/config", &body).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "too_large"));
    assert_eq!((&reply.json()["limit"], &reply.headers["connection"]), (&json!(1 << 20), &"close".parse().unwrap()));
    let line = json!({"command": "x".repeat(1025)});
    assert_eq!(agent.post_json("/console/command", &line).await.status, 400);
    assert_eq!(agent.get("/health").await.body, "ok");
    agent.finish().await;
}

#[tokio::test]
async fn without_file_descriptors_it_lives_on() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let pid = run(&agent, &sandbox.fake_game_config(&[])).await["pid"].clone();
    let files = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    let limit = format!("--nofile={}", files + 4);
    let limited = Command::new("prlimit").args(["--pid", &agent.pid().to_string(), &limit]).status().unwrap();
    assert!(limited.success());
    let crowd: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(agent.address()).unwrap()).collect();
    for _ in 0..50 {
        assert_eq!(agent.get("/health").await.body, "ok"); // on the connection it has
    }
    drop(crowd);
    let fresh = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
    eventually("an answer on a new connection", SOON, async || {
        let answer = fresh.get(agent.url("/health")).send().await.ok()?;
        (answer.text().await.ok()? == "ok").then_some(())
    })
    .await;
    let status = agent.status().await;
    assert_eq!((&status["pid"], &status["state"]), (&pid, &json!("running")));
    agent.finish().await;
}

/// An agent whose `/opt/zlh-agent` is a small file system of its own, visible to nobody else.
fn on_a_small_disk(sandbox: &Sandbox) -> Agent {
    let [text, program] = ["agent.txt", "agent"].map(|name| PathBuf::from(sandbox.marker()).join("bin").join(name));
    let state = sandbox.root().join("opt/zlh-agent");
    fs::create_dir_all(&state).unwrap();
    let inner = format!(
        "mount -t tmpfs -o size=24m,mode=755 none {} && exec {} \"$@\"",
        state.display(),
        env!("CARGO_BIN_EXE_zlh")
    );
    fs::write(&text, format!("#!/bin/sh\nexec unshare -m sh -c '{inner}' zlh \"$@\"\n")).unwrap();
    install(&text, &program);
    let flags = ["--allow-unauthenticated", "--set", "ready.settle=50ms", "--set", "console.scrollback_bytes=1048576"];
    Agent::start(&program, sandbox, &flags)
}

/// The agent's own view of its folder.
fn seen_by(agent: &Agent, sandbox: &Sandbox) -> PathBuf {
    let inner = sandbox.root().join("opt/zlh-agent");
    PathBuf::from(format!("/proc/{}/root{}", agent.pid(), inner.display()))
}

async fn refuses_in_words(agent: &Agent, body: &Value, words: &[&str]) {
    let mut other = body.clone();
    other["env"]["FLAVOUR"] = json!("vanilla");
    let reply = agent.post_json("/config", &other).await;
    let said = match reply.status.as_u16() {
        202 => outcome(agent, &reply.json()["operationId"]).await["error"].to_string(),
        _ => reply.body,
    };
    assert!(words.iter().any(|word| said.contains(word)), "{said}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_game_runs_on() {
    let sandbox = Sandbox::new();
    let agent = on_a_small_disk(&sandbox);
    let body = sandbox.fake_game_config(&[]);
    let pid = run(&agent, &body).await["pid"].clone();
    let hog = seen_by(&agent, &sandbox).join("hog");
    let full = Command::new("dd").args(["if=/dev/zero", "bs=4096", &format!("of={}", hog.display())]).output().unwrap();
    assert!(!full.status.success(), "dd stops because the disk is full");
    refuses_in_words(&agent, &body, &["No space left"]).await;
    let status = agent.status().await;
    assert_eq!((&status["pid"], &status["state"]), (&pid, &json!("running")));
    assert!(super::warning(&status, "state_not_saved").is_some(), "{}", status["warnings"]);
    super::command(&agent, "say still here").await;
    let mut console = agent.console().await;
    console.until("[Server] still here", SOON).await;

    fs::remove_file(hog).unwrap();
    let config = agent.configure(&body).await.json();
    assert_eq!(outcome(&agent, &config["operationId"]).await["state"], "done");
    let saved = |s: &Value| super::warning(s, "state_not_saved").is_none();
    assert_eq!(agent.until("saved again", SOON, saved).await["pid"], pid);
    agent.finish().await;
}

#[tokio::test]
async fn a_read_only_disk_is_named_and_the_game_runs_on() {
    let sandbox = Sandbox::new();
    let agent = on_a_small_disk(&sandbox);
    let body = sandbox.fake_game_config(&[]);
    let pid = run(&agent, &body).await["pid"].clone();
    let state = sandbox.root().join("opt/zlh-agent/state");
    // On top of it: what is mapped for writing already keeps the file system itself writable.
    inside(&agent, &["mount", "-t", "tmpfs", "-o", "ro", "none", state.to_str().unwrap()]);
    refuses_in_words(&agent, &body, &["Read-only file system"]).await;
    let status = agent.status().await;
    assert_eq!((&status["pid"], &status["state"]), (&pid, &json!("running")));
    inside(&agent, &["umount", state.to_str().unwrap()]);
    let config = agent.configure(&body).await.json();
    assert_eq!(outcome(&agent, &config["operationId"]).await["state"], "done");
    agent.finish().await;
}

/// Runs it where the agent's mounts are.
fn inside(agent: &Agent, words: &[&str]) {
    let done = Command::new("nsenter").args(["-m", "-t", &agent.pid().to_string()]).args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}
