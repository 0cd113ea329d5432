//! start, stop, restart, kill: waiting for the outcome, and not waiting.
use super::{PATIENCE, Reply, Script, answers::interrupt, err, out, run, zlh};
use crate::support::eventually;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

const ID: &str = "01981111-2222-7333-8444-555566667777";

fn operation(kind: &str, state: &str, step: &str) -> Value {
    let ended = (state != "running").then_some("2026-03-10T18:00:12.500Z");
    json!({"id": ID, "kind": kind, "state": state, "holder": "api", "startedAt": "2026-03-10T18:00:00.000Z",
           "deadlineAt": "2026-03-10T18:05:00.000Z", "endedAt": ended, "step": step, "progress": null,
           "error": (state == "failed").then_some("not ready within 300 s")})
}

/// An agent that accepts `verb` and is busy with it.
async fn busy_with(verb: &str) -> Script {
    let agent = Script::start().await;
    let accepted = json!({"ok": true, "state": "starting", "operationId": ID}).to_string();
    agent.set(|f| {
        let answer = match verb {
            "stop" => Reply { operation: Some(ID.to_owned()), ..Reply::new(204, "") },
            _ => Reply::new(202, accepted),
        };
        f.orders.insert(format!("/{verb}"), answer);
        f.operations.insert(ID.into(), operation(verb, "running", "waiting for port 25565"));
    });
    agent
}

fn set_operation(agent: &Script, operation: Value) {
    agent.set(|f| {
        f.operations.insert(ID.into(), operation);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_waits_for_the_outcome_and_shows_steps() {
    for verb in ["start", "stop", "restart"] {
        let agent = busy_with(verb).await;
        let waiting = tokio::spawn(zlh(&agent, &[verb]).output());
        eventually("the request", PATIENCE, async || agent.seen(|f| (!f.heard.is_empty()).then_some(()))).await;
        set_operation(&agent, operation(verb, "done", ""));
        let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.status.code(), Some(0), "{}", err(&answer));
        assert_eq!(out(&answer), format!("✓ {verb} done in 12 s\n"));
        assert_eq!(agent.seen(|f| f.heard.clone()), [format!("/{verb}")], "no body, one request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_sent_from_a_file_or_standard_input() {
    let agent = busy_with("config").await;
    set_operation(&agent, operation("install", "done", ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("game.json");
    std::fs::write(&file, "{\"vmid\": 1}\n").unwrap();
    let answer = run(&agent, &["configure", file.to_str().unwrap()]).await;
    assert_eq!(
        (answer.status.code(), out(&answer)),
        (Some(0), "✓ configure done in 12 s\n".into()),
        "{}",
        err(&answer)
    );
    let mut piped = zlh(&agent, &["configure", "-", "--no-wait"]);
    let answer = piped.stdin(std::fs::File::open(&file).unwrap()).output().await.unwrap();
    assert_eq!(answer.status.code(), Some(0), "{}", err(&answer));
    assert_eq!(agent.seen(|f| f.heard.clone()), ["/config {\"vmid\":1}", "/config {\"vmid\":1}"]);

    agent.set(|f| _ = f.orders.insert("/config".into(), Reply::new(202, json!({"ok": true, "state": "running"}))));
    let later = run(&agent, &["configure", file.to_str().unwrap()]).await;
    assert_eq!(out(&later), "saved; the next start uses it\n");

    std::fs::write(&file, "{\"vmid\": 1,}").unwrap();
    for (path, why) in [(file.to_str().unwrap(), "no JSON: trailing comma at line 1"), ("/nowhere/x", "No such file")] {
        let refused = run(&agent, &["configure", path]).await;
        assert_eq!((refused.status.code(), err(&refused).contains(why)), (Some(2), true), "{}", err(&refused));
    }
    assert_eq!(agent.seen(|f| f.heard.len()), 3, "what cannot be read is not sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_start_tells_why_and_what_to_do() {
    let agent = busy_with("start").await;
    agent.set(|f| {
        f.status =
            json!({"revision": 2, "state": "error", "lastCrashTime": "2026-03-10T18:00:10.000Z", "crashCount": 1});
        f.crashes = vec![json!({"id": "c1", "time": "2026-03-10T18:00:10.000Z", "reason": "Unsupported class file",
                                "hint": "This needs Java 21."})];
    });
    set_operation(&agent, operation("start", "failed", "waiting for port 25565"));
    let answer = run(&agent, &["start"]).await;
    assert_eq!(answer.status.code(), Some(1));
    let said = err(&answer);
    for part in ["start failed: not ready within 300 s", "Unsupported class file", "This needs Java 21."] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    set_operation(&agent, operation("start", "superseded", ""));
    assert_eq!(run(&agent, &["start"]).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_waiting_and_not_the_operation() {
    let agent = busy_with("start").await;
    let mut waiting = zlh(&agent, &["start"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(next().await, "start…");
    assert_eq!(next().await, "start: waiting for port 25565");
    interrupt(&waiting);
    assert_eq!(next().await, "error: no longer waiting; the start goes on: zlh operations 555566667777");
    let status = tokio::time::timeout(PATIENCE, waiting.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(130));
    assert_eq!(agent.seen(|f| f.heard.clone()), ["/start"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_survives_an_agent_restart() {
    let mut agent = busy_with("start").await;
    let waiting = tokio::spawn(zlh(&agent, &["start"]).output());
    eventually("the request", PATIENCE, async || agent.seen(|f| (!f.heard.is_empty()).then_some(()))).await;
    agent.go_away().await;
    set_operation(&agent, operation("start", "done", ""));
    agent.come_back();
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status.code(), Some(0), "{}", err(&answer));
}

#[tokio::test]
async fn nothing_to_do_and_no_wait() {
    let agent = busy_with("start").await;
    let answer = run(&agent, &["start", "--no-wait"]).await;
    assert_eq!(out(&answer), "start accepted; `zlh operations 555566667777` shows how it goes\n");
    agent.set(|f| {
        let already = json!({"ok": true, "state": "running", "operationId": null}).to_string();
        f.orders.insert("/start".into(), Reply::new(200, already));
        f.orders.insert("/stop".into(), Reply::new(204, ""));
        f.status = json!({"revision": 2, "state": "running"});
    });
    assert_eq!(out(&run(&agent, &["start"]).await), "nothing to start: already running\n");
    assert_eq!(out(&run(&agent, &["stop"]).await), "nothing to stop: already running\n");
    // The editor's own state, whatever the container's is.
    agent.set(|f| {
        _ = f.orders.insert("/dev/codeserver/stop".into(), Reply::new(202, json!({"ok": true, "state": "idle"})))
    });
    assert_eq!(out(&run(&agent, &["codeserver", "stop"]).await), "nothing to stop: already idle\n");
}

#[tokio::test]
async fn json_gives_the_finished_operation() {
    let agent = busy_with("stop").await;
    set_operation(&agent, operation("stop", "failed", ""));
    let answer = run(&agent, &["stop", "--json"]).await;
    assert_eq!((answer.status.code(), err(&answer).as_str()), (Some(1), ""));
    assert_eq!(out(&answer), operation("stop", "failed", "").to_string() + "\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_waits_until_nothing_runs() {
    let agent = Script::start().await;
    agent.set(|f| {
        f.orders.insert("/kill".into(), Reply::new(204, ""));
        f.status = json!({"revision": 2, "state": "running", "processRunning": true});
    });
    let mut killing = tokio::spawn(zlh(&agent, &["kill"]).output());
    eventually("the request", PATIENCE, async || agent.seen(|f| (!f.heard.is_empty()).then_some(()))).await;
    let early = tokio::time::timeout(std::time::Duration::from_millis(500), &mut killing).await;
    assert!(early.is_err(), "it did not wait");
    agent.set(|f| f.status = json!({"revision": 3, "state": "idle", "processRunning": false}));
    let answer = tokio::time::timeout(PATIENCE, killing).await.unwrap().unwrap().unwrap();
    assert_eq!((answer.status.code(), out(&answer).as_str()), (Some(0), "✓ killed\n"));
}
