//! Shell sessions as their viewers have them.
use super::{SOON, finish, keepers, running, shell};
use crate::{
    installs::rig::Rig,
    support::{Agent, eventually},
};
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite::Error};

/// Status and code of a viewer that is not let in.
async fn refused(agent: &Agent, query: &str) -> (u16, String) {
    match connect_async(format!("ws://{}/console/stream{query}", agent.address())).await {
        Err(Error::Http(response)) => {
            let problem: serde_json::Value = serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
            (response.status().as_u16(), problem["code"].as_str().unwrap().to_owned())
        }
        Ok(_) => panic!("let in: {query}"),
        Err(e) => panic!("{e}"),
    }
}

#[tokio::test]
async fn a_new_shell_is_a_login_shell_of_dev_in_the_workspace() {
    let rig = Rig::new();
    let agent = running(&rig, &[]).await;
    let mut console = shell(&agent, "").await;
    console.type_line("echo \"<$(whoami)|$PWD|$HOME|$USER|$LOGNAME|$SHELL|$TERM|$LANG|$(umask)>\"").await;
    let home = rig.sandbox.root().join("home/dev").display().to_string();
    let want = format!("<dev|{home}/workspace|{home}|dev|dev|/bin/bash|xterm-256color|C.UTF-8|0027>");
    console.until(&want, SOON).await;
    console.type_line("shopt -q login_shell && echo LOG\"\"IN; node --version; env | grep -ci token").await;
    for said in ["LOGIN\r\n", "v22\r\n", "\r\n0\r\n"] {
        console.until(said, SOON).await;
    }
    console
        .type_line("grep -o 'NoNewPrivs:.*' /proc/self/status; ls /opt/zlh-agent 2>&1 >/dev/null; echo \"rc=$?\"")
        .await;
    console.until("NoNewPrivs:\t1", SOON).await;
    finish(&rig, agent).await;
}

#[tokio::test]
async fn the_terminal_is_as_large_as_the_smallest_window() {
    let rig = Rig::new();
    let agent = running(&rig, &[]).await;
    let (mut alice, mut bob) = (shell(&agent, "").await, shell(&agent, "").await);
    alice.send(&json!({"type": "resize", "columns": 120, "rows": 30})).await;
    bob.send(&json!({"type": "resize", "columns": 90, "rows": 50})).await;
    alice.type_line("until [ \"$(stty size)\" = '30 90' ]; do sleep 0.1; done; echo small\"\"est").await;
    for viewer in [&mut alice, &mut bob] {
        viewer.until("smallest", SOON).await;
    }
    drop(bob);
    alice.type_line("until [ \"$(stty size)\" = '30 120' ]; do sleep 0.1; done; echo al\"\"one").await;
    alice.until("alone", SOON).await;
    finish(&rig, agent).await;
}

#[tokio::test]
async fn an_exit_is_told_and_the_next_viewer_gets_a_fresh_shell() {
    let rig = Rig::new();
    let agent = running(&rig, &[]).await;
    let mut first = shell(&agent, "?session=build-2").await;
    first.type_line("mine=yes; exit 7").await;
    let exit = first.until_frame("exit", SOON).await;
    assert_eq!((&exit["code"], &exit["signal"]), (&json!(7), &json!(0)));
    let mut second = shell(&agent, "?session=build-2").await;
    second.type_line("echo \"[${mine-fr}esh]\"").await;
    for viewer in [&mut first, &mut second] {
        viewer.until("[fresh]", SOON).await;
    }
    assert_eq!(keepers(&rig), ["build-2"]);
    finish(&rig, agent).await;
}

#[tokio::test]
async fn every_byte_arrives_once_although_the_agent_is_killed() {
    let rig = Rig::new();
    let agent = running(&rig, &[]).await;
    let mut before = shell(&agent, "").await;
    before.type_line("for i in $(seq 1 30000); do echo line $i; done; echo fin\"\"ished").await;
    before.until("line 500\r\n", SOON).await;
    let hello = before.frames[0].clone();
    let (epoch, start) = (hello["epoch"].as_u64().unwrap(), hello["offset"].as_u64().unwrap());
    agent.kill_9();
    let agent = rig.agent(&[]);
    assert_eq!(agent.status().await["containerType"], "dev");
    let from = start + before.output.len() as u64;
    let mut after = shell(&agent, &format!("?from={from}&epoch={epoch}")).await;
    assert_eq!(after.frames[0]["offset"], json!(from));
    after.until("finished\r\n", SOON).await;
    let all = before.text() + &after.text();
    let lines: String = (1..=30000).map(|n| format!("line {n}\r\n")).collect();
    assert!(all.contains(&lines), "bytes are missing or doubled");
    finish(&rig, agent).await;
}

#[tokio::test]
async fn a_shell_nobody_looks_at_ends_and_leaves_nothing() {
    let rig = Rig::new();
    let agent = running(&rig, &["--set", "terminal.linger=300ms"]).await;
    let mut console = shell(&agent, "").await;
    console.type_line("sleep 1000 & echo st\"\"arted").await;
    console.until("started", SOON).await;
    assert_eq!(agent.get("/console/log").await.status, 200);
    drop(console);
    eventually("the keeper has left", SOON, async || keepers(&rig).is_empty().then_some(())).await;
    let log = eventually("the session is forgotten", SOON, async || {
        let reply = agent.get("/console/log").await;
        (reply.status == 404).then_some(reply)
    });
    assert_eq!(log.await.code(), "no_such_session");
    assert!(!rig.sandbox.root().join("opt/zlh-agent/state/console/shell-main").exists());
    let mut console = shell(&agent, "").await;
    console.type_line("echo jobs=$(jobs | wc -l)").await;
    console.until("jobs=0", SOON).await;
    assert!(!console.text().contains("started"), "{}", console.text());
    finish(&rig, agent).await;
}

#[tokio::test]
async fn limits_and_bad_names_are_refused_in_words() {
    let rig = Rig::new();
    let agent = running(&rig, &["--set", "terminal.max_sessions=1", "--set", "console.max_viewers=2"]).await;
    let mut viewers = (shell(&agent, "").await, shell(&agent, "").await);
    assert_eq!(refused(&agent, "").await, (429, "too_many_viewers".into()));
    assert_eq!(refused(&agent, "?session=other").await, (429, "too_many_sessions".into()));
    assert_eq!(refused(&agent, "?session=../x").await, (400, "invalid_session".into()));
    drop(viewers.1);
    eventually("a free place", SOON, async || {
        connect_async(format!("ws://{}/console/stream", agent.address())).await.is_ok().then_some(())
    })
    .await;
    viewers.0.type_line("exit").await;
    viewers.0.until_frame("exit", SOON).await;
    assert!(agent.terminate().success());
}
