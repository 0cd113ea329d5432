//! Games that do not want to go: whatever they try, after a stop nothing of them is left.
use super::{SOON, quick, run, with};
use crate::support::{Sandbox, strays};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

/// In the environment of the game and of all that it starts, and of nothing else.
fn marked(sandbox: &Sandbox, flags: &[&str], stop: Value) -> (Value, String) {
    let mark = format!("{}#game", sandbox.marker());
    let env = json!({"env": {"ZLH_TEST_ID": sandbox.marker(), "GAME_MARK": mark}, "stop": stop});
    (with(&sandbox.fake_game_config(flags), env), mark)
}

fn ladder() -> Value {
    json!([{"stdin": "stop", "wait": "300ms"}, {"signal": "SIGTERM", "wait": "300ms"}])
}

async fn stopped_without_a_trace(flags: &[&str], processes: usize) {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let (body, mark) = marked(&sandbox, flags, ladder());
    run(&agent, &body).await;
    assert_eq!(strays(&mark).len(), processes, "{flags:?}: {:?}", strays(&mark));
    let stop = agent.post("/stop?wait=120s").await;
    assert_eq!(stop.status, 204, "{flags:?}: {stop:?}");
    assert_eq!(strays(&mark), [], "{flags:?}");
    let status = agent.status().await;
    assert_eq!((&status["state"], &status["crashCount"]), (&json!("idle"), &json!(0)), "{flags:?}");
    agent.finish().await;
}

#[tokio::test]
async fn one_that_ignores_term_and_its_console() {
    stopped_without_a_trace(&["--ignore-term", "--hang"], 1).await;
}

#[tokio::test]
async fn one_with_children() {
    stopped_without_a_trace(&["--fork", "3", "--ignore-term", "--stop-command", "none"], 4).await;
}

#[tokio::test]
async fn one_with_a_daemon() {
    stopped_without_a_trace(&["--daemonize-child"], 2).await;
}

#[tokio::test]
async fn one_with_a_grandchild_on_its_terminal() {
    stopped_without_a_trace(&["--leave-grandchild-on-tty", "--fork", "1", "--daemonize-child"], 4).await;
}

#[tokio::test]
async fn one_that_gave_up_its_terminal() {
    stopped_without_a_trace(&["--close-terminal", "--daemonize-child"], 2).await;
}

#[tokio::test]
async fn one_that_is_frozen() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let (body, mark) = marked(&sandbox, &[], ladder());
    let pid = run(&agent, &body).await["pid"].as_i64().unwrap() as i32;
    assert!(strays(&mark).iter().any(|s| s.pid == pid), "the pid in the status is the game's");
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap(); // our own game, looked at just now
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    assert_eq!(strays(&mark), []);
    assert_eq!(agent.until_state("idle", SOON).await["crashCount"], 0);
    agent.finish().await;
}

#[tokio::test]
async fn a_crash_takes_its_tree_along_before_the_next_run() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=100ms,30s"]);
    let (body, mark) = marked(&sandbox, &["--fork", "2", "--daemonize-child"], ladder());
    let first = run(&agent, &body).await["pid"].clone();
    super::command(&agent, "crash segv").await;
    agent.until("the next run", SOON, |s| s["state"] == "running" && s["pid"] != first).await;
    assert_eq!(strays(&mark).len(), 4, "{:?}", strays(&mark));
    agent.finish().await;
    assert_eq!(strays(&mark), []);
}
