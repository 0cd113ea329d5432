//! The client commands against a real agent.
use super::{SOON, quick, run};
use crate::support::{Agent, Sandbox, eventually, eventually_now, free_port};
use serde_json::Value;
use std::{
    fs::{self, File},
    process::{Command, Output, Stdio},
};

fn zlh(agent: &Agent, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.args(["--url", &agent.url("")]).args(words).stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// On a thread of its own, so that the test's runtime is free meanwhile.
async fn ran(agent: &Agent, words: &[&str]) -> Output {
    let mut command = zlh(agent, words);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn said(agent: &Agent, words: &[&str], code: i32) -> String {
    let output = ran(agent, words).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "zlh {words:?}: {text}{errors}");
    text
}

async fn json(agent: &Agent, words: &[&str]) -> Value {
    let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
    let text = said(agent, &words, 0).await;
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words:?}: {e}: {text}"))
}

#[tokio::test]
async fn a_day_with_a_server() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    assert_eq!(ran(&agent, &["ready"]).await.status.code(), Some(1));
    run(&agent, &sandbox.fake_game_config(&["--save-time", "200ms"])).await;
    said(&agent, &["ready"], 0).await;
    assert!(said(&agent, &["status"], 0).await.contains("running"));
    assert_eq!(json(&agent, &["status"]).await["state"], "running");

    said(&agent, &["stop"], 0).await;
    let stopped = agent.status().await;
    assert_eq!((&stopped["state"], &stopped["processRunning"]), (&"idle".into(), &false.into()), "stop waits");
    said(&agent, &["start"], 0).await;
    assert_eq!(agent.status().await["state"], "running", "start waits");
    said(&agent, &["restart"], 0).await;
    assert_eq!(agent.status().await["state"], "running", "restart waits");

    said(&agent, &["command", "say hello from zlh"], 0).await;
    eventually("the words in the log", SOON, async || {
        said(&agent, &["logs"], 0).await.contains("[Server] hello from zlh").then_some(())
    })
    .await;
    said(&agent, &["command", "crash exit 6"], 0).await;
    agent.until("the verdict", SOON, |s| !s["lastCrashClassification"].is_null()).await;
    assert!(said(&agent, &["crashes"], 0).await.contains("nonzero_exit"));
    assert!(said(&agent, &["crashes", "last"], 0).await.contains('6'));
    assert_eq!(json(&agent, &["crashes", "last"]).await["exitCode"], 6);
    assert!(said(&agent, &["operations"], 0).await.contains("restart"));
    said(&agent, &["kill"], 0).await;
    assert_eq!(ran(&agent, &["ready"]).await.status.code(), Some(1));
    let doctor = ran(&agent, &["doctor"]).await;
    assert!(!doctor.stdout.is_empty() && matches!(doctor.status.code(), Some(0 | 1)), "{doctor:?}");
    agent.finish().await;
}

#[tokio::test]
async fn logs_follow_across_an_agent_restart() {
    let sandbox = Sandbox::new();
    let address = format!("127.0.0.1:{}", free_port());
    let agent = quick(&sandbox, &["--listen", &address]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    let path = sandbox.root().join("followed");
    let mut follow = zlh(&agent, &["logs", "-f"]);
    let mut follow = follow.env("ZLH_TEST_ID", sandbox.marker()).stdout(File::create(&path).unwrap()).spawn().unwrap();
    let followed = async |words: &str| {
        eventually(words, SOON, async || fs::read_to_string(&path).unwrap().contains(words).then_some(())).await;
    };
    super::command(&agent, "say before").await;
    followed("[Server] before").await;
    agent.kill_9();
    let agent = quick(&sandbox, &["--listen", &address]);
    agent.until_state("running", SOON).await;
    super::command(&agent, "say after").await;
    followed("[Server] after").await;
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("[Server] before").count(), 1, "{text}");
    follow.kill().unwrap();
    assert!(eventually_now(SOON, || follow.try_wait().unwrap()).is_some());
    agent.finish().await;
}
