//! Commands that ask one question: what they print, and what their exit codes say.
use super::{PATIENCE, Reply, Script, err, out, run, zlh};
use crate::support::eventually;
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::test]
async fn json_is_the_agents_own_byte_for_byte() {
    let agent = Script::start().await;
    agent.set(|f| f.status = json!({"revision": 7, "state": "idle", "unknownToUs": [1, 2.50, "\u{1b}[31m"]}));
    let answer = run(&agent, &["status", "--json"]).await;
    assert_eq!(out(&answer), agent.seen(|f| f.status.to_string()) + "\n");
    assert_eq!(answer.status.code(), Some(0));
    let players = run(&agent, &["--json", "players"]).await;
    assert_eq!(out(&players), "{\"online\":3,\"max\":20,\"players\":[\"Alice\",\"Bob\"]}\n");
}

#[tokio::test]
async fn ready_answers_by_exit_code() {
    let agent = Script::start().await;
    let check = |ok: bool| json!({"name": "ping", "ok": ok, "detail": "3 of 20", "at": "2026-03-10T18:00:00.000Z"});
    agent.set(|f| f.ready = json!({"ready": false, "reason": "the port is closed", "checks": [check(false)]}));
    let no = run(&agent, &["ready"]).await;
    assert_eq!((no.status.code(), err(&no).as_str()), (Some(1), ""));
    assert!(out(&no).starts_with("✗ not ready: the port is closed\n"), "{}", out(&no));
    agent.set(|f| f.ready = json!({"ready": true, "checks": [check(true)]}));
    let yes = run(&agent, &["ready"]).await;
    assert_eq!(yes.status.code(), Some(0));
    assert!(out(&yes).starts_with("✓ ready\n") && out(&yes).contains("✓  ping"), "{}", out(&yes));
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_3() {
    let mut agent = Script::start().await;
    agent.go_away().await;
    for words in [&["status"][..], &["start"], &["logs", "-f"], &["console"], &["ready"], &["command", "x"]] {
        let answer = run(&agent, words).await;
        assert_eq!(answer.status.code(), Some(3), "{words:?}");
        assert!(err(&answer).contains(&agent.url()) && err(&answer).contains("Connection refused"), "{}", err(&answer));
    }
    let version = run(&agent, &["version"]).await;
    assert_eq!(version.status.code(), Some(0));
    assert!(out(&version).contains("agent none reachable"), "{}", out(&version));
}

#[tokio::test]
async fn refusals_are_4_and_say_what_to_do() {
    let agent = Script::start().await;
    let mut command = zlh(&agent, &["status"]);
    let wrong = command.env("ZLH_AGENT_TOKEN", "wrong").output().await.unwrap();
    assert_eq!(wrong.status.code(), Some(4));
    assert!(err(&wrong).contains("401 unauthorized") && err(&wrong).contains("--token-file"), "{}", err(&wrong));

    let said = json!({"title": "Conflict", "status": 409, "detail": "no configuration yet", "code": "no_config"});
    agent.set(|f| {
        f.orders.insert("/start".into(), Reply::new(409, &said));
        f.refuse_console = Some((409, said));
    });
    for words in [&["start"][..], &["console"]] {
        let refused = run(&agent, words).await;
        assert_eq!(refused.status.code(), Some(4), "{words:?}: {}", err(&refused));
        assert!(err(&refused).contains("no configuration yet (409 no_config)"), "{}", err(&refused));
    }
}

#[tokio::test]
async fn a_server_that_is_no_agent_is_3() {
    let agent = Script::start().await;
    agent.set(|f| f.status = json!("just a text"));
    let answer = run(&agent, &["status"]).await;
    assert_eq!(answer.status.code(), Some(3));
    assert!(err(&answer).contains("does not answer like an agent"), "{}", err(&answer));
}

#[tokio::test]
async fn the_token_may_come_from_a_file() {
    let agent = Script::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{}\n", super::TOKEN)).unwrap();
    let mut command = zlh(&agent, &["status", "--token-file"]);
    let answer = command.arg(file.path()).env_remove("ZLH_AGENT_TOKEN").output().await.unwrap();
    assert_eq!(answer.status.code(), Some(0), "{}", err(&answer));
}

#[tokio::test]
async fn bad_usage_is_2() {
    let agent = Script::start().await;
    for words in [
        &["fly"][..],
        &["status", "--url", "nonsense"],
        &["status", "--token-file", "/nowhere"],
        &["console", "--detach-key", "xx"],
    ] {
        assert_eq!(run(&agent, words).await.status.code(), Some(2), "{words:?}");
    }
}

#[tokio::test]
async fn crashes_are_listed_and_explained() {
    let agent = Script::start().await;
    assert_eq!(run(&agent, &["crashes", "last"]).await.status.code(), Some(1));
    let crash = |id: &str, time: &str| {
        json!({"id": id, "time": time, "exitCode": 1, "signal": 0, "uptimeSeconds": 3, "classification": "oom",
               "code": "jvm.heap", "reason": "Java heap space", "hint": "Raise memory_mb.", "logTail": ["a", "b"]})
    };
    let old = crash("0198-aaaa", "2026-03-10T18:00:00.000Z");
    agent.set(|f| f.crashes = vec![crash("0198-bbbb", "2026-03-11T18:00:00.000Z"), old]);
    let table = out(&run(&agent, &["crashes"]).await);
    assert!(table.contains("aaaa") && table.contains("bbbb") && table.contains("Java heap space"), "{table}");
    let last = out(&run(&agent, &["crashes", "last"]).await);
    assert!(last.contains("0198-bbbb") && last.contains("Raise memory_mb."), "{last}");
    assert_eq!(run(&agent, &["crashes", "zzzz"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn a_command_is_sent_as_one_line() {
    let agent = Script::start().await;
    agent.set(|f| {
        f.orders.insert("/console/command".into(), Reply::new(202, r#"{"ok":true}"#));
    });
    assert_eq!(run(&agent, &["command", "say", "hi there"]).await.status.code(), Some(0));
    assert_eq!(agent.seen(|f| f.heard.clone()), [r#"/console/command {"command":"say hi there"}"#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_follows_changes_and_restarts() {
    let mut agent = Script::start().await;
    let mut watching =
        zlh(&agent, &["status", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut remarks = BufReader::new(watching.stderr.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(next().await.ends_with("UTC idle"));
    agent.set(|f| f.status = json!({"revision": 2, "state": "starting", "readyError": "no answer yet"}));
    assert!(next().await.ends_with("UTC starting: no answer yet"));
    agent.go_away().await;
    let remark = tokio::time::timeout(PATIENCE, remarks.next_line()).await.unwrap().unwrap().unwrap();
    assert!(remark.contains("agent gone"), "{remark}");
    // A new life counts its revisions anew.
    agent.set(|f| f.status = json!({"revision": 1, "instanceId": "second", "state": "running", "ready": true}));
    agent.come_back();
    assert!(next().await.ends_with("UTC running ready"));
    interrupt(&watching);
    let status = tokio::time::timeout(PATIENCE, watching.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Ctrl-C for a process without a terminal.
pub fn interrupt(child: &tokio::process::Child) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    assert!(pid > 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT).unwrap();
}

#[tokio::test]
async fn completions_are_sound_shell() {
    let agent = Script::start().await;
    let script = out(&run(&agent, &["completions", "bash"]).await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, &script).unwrap();
    let read = std::process::Command::new("bash").arg("-n").arg(file.path()).status().unwrap();
    assert!(read.success() && script.contains("crashes"));
    for shell in ["zsh", "fish"] {
        assert!(out(&run(&agent, &["completions", shell]).await).contains("zlh"), "{shell}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let agent = Script::start().await;
    agent.print(&"many lines\n".repeat(50_000));
    let mut child =
        zlh(&agent, &["logs", "-n", "50000"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = eventually("the end", PATIENCE, async || child.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(0));
}
