//! Many people at one console: who sees what, who may come in, and what the log remembers.
use super::{LATER, SOON, command, quick, run};
use crate::support::{Agent, Console, Sandbox};
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Error};

async fn refused(agent: &Agent) -> Option<u16> {
    match connect_async(format!("ws://{}/console/stream", agent.address())).await {
        Err(Error::Http(response)) => Some(response.status().as_u16()),
        Ok(_) => None,
        Err(e) => panic!("{e}"),
    }
}

#[tokio::test]
async fn thirty_viewers_and_no_more() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    let mut viewers = Vec::new();
    for _ in 0..30 {
        viewers.push(agent.console().await);
    }
    assert_eq!(refused(&agent).await, Some(429));
    command(&agent, "say to all thirty").await;
    for viewer in &mut viewers {
        viewer.until("[Server] to all thirty", SOON).await;
    }
    viewers.pop();
    crate::support::eventually("a free place", SOON, async || refused(&agent).await.is_none().then_some(())).await;
    drop(viewers);
    agent.finish().await;
}

#[tokio::test]
async fn everybody_types_and_everybody_sees() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    let (mut alice, mut bob) = (agent.console().await, agent.console_v1("").await);
    let mut guest = agent.console_v1("?readonly=true").await;
    assert_eq!(guest.until_frame("hello", SOON).await["readOnly"], true);
    guest.type_line("say from the guest").await;
    guest.until_frame("refused", SOON).await;
    alice.type_line("say from alice").await;
    alice.until("[Server] from alice", SOON).await;
    bob.type_line("say from bob").await;
    bob.send(&json!({"type": "resize", "columns": 101, "rows": 43})).await;
    for viewer in [&mut alice, &mut bob, &mut guest] {
        viewer.until("[Server] from alice", SOON).await;
        viewer.until("[Server] from bob", SOON).await;
        assert!(!viewer.text().contains("from the guest"), "{}", viewer.text());
    }
    crate::support::eventually("the size", SOON, async || {
        command(&agent, "info").await;
        alice.read().await;
        alice.text().contains("terminal=101x43").then_some(())
    })
    .await;
    agent.finish().await;
}

/// The place of everything a viewer got or was told to be gone.
fn accounted(console: &Console, hello: &Value) -> u64 {
    let gaps: u64 =
        console.frames.iter().filter(|f| f["type"] == "gap").map(|f| number(f, "to") - number(f, "from")).sum();
    number(hello, "offset") + console.output.len() as u64 + gaps
}

fn number(frame: &Value, field: &str) -> u64 {
    frame[field].as_u64().unwrap_or_else(|| panic!("{field} of {frame}"))
}

#[tokio::test]
async fn a_slow_viewer_is_told_its_gaps_and_a_fast_one_has_none() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "console.scrollback_bytes=33554432"]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    let (mut slow, mut fast) = (agent.console_v1("").await, agent.console_v1("").await);
    let hello = slow.until_frame("hello", SOON).await;
    command(&agent, "flood 60@6").await; // 60 MB in 10 s: past all buffers of who does not read
    command(&agent, "say over").await;
    let all = tokio::time::timeout(LATER, async {
        while fast.output.len() < 60_000_000 && fast.read().await {
            assert!(!fast.frames.iter().any(|f| f["type"] == "gap"), "{:?}", fast.frames);
        }
    });
    all.await.expect("the fast viewer keeps up");
    let end: u64 = agent.get("/console/log?from=-1").await.headers["log-end"].to_str().unwrap().parse().unwrap();
    let all = tokio::time::timeout(LATER, async { while accounted(&slow, &hello) < end && slow.read().await {} });
    all.await.expect("the slow viewer catches up");
    assert!(slow.frames.iter().any(|f| f["type"] == "gap"), "nothing was missed: is it slow?");
    assert!(accounted(&slow, &hello) >= end && slow.output.len() < 60_000_000);
    agent.finish().await;
}

#[tokio::test]
async fn the_log_can_be_read_from_anywhere_in_every_state() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    let empty = agent.get("/console/log").await;
    assert_eq!((empty.status.as_u16(), empty.body.as_str()), (200, ""));
    run(&agent, &sandbox.fake_game_config(&["--last-words", "the very end"])).await;
    command(&agent, "say one").await;
    let mut console = agent.console_v1("?from=0").await;
    console.until("[Server] one\n", SOON).await;
    let all = agent.get("/console/log?from=0").await;
    let place = |name: &str| -> u64 { all.headers[name].to_str().unwrap().parse().unwrap() };
    let (start, end) = (place("log-start"), place("log-end"));
    assert_eq!((start, end), (0, all.body.len() as u64));
    assert_eq!(place("log-epoch"), number(&console.frames[0], "epoch"));
    assert_eq!(all.body.as_bytes(), console.output);
    assert_eq!(agent.get("/console/log?from=-13").await.body, "[Server] one\n");
    assert_eq!(agent.get("/console/log?from=8&limit=6").await.body, all.body[8..14]);
    assert_eq!(agent.get(&format!("/console/log?from=-{}", end + 99)).await.body, all.body);
    let beyond = agent.get(&format!("/console/log?from={}", end + 99)).await;
    assert_eq!((beyond.status.as_u16(), beyond.body.as_str()), (200, ""));
    assert_eq!(beyond.headers["log-end"], end.to_string());
    for bad in ["from=x", "limit=-1", "form=1"] {
        assert_eq!(agent.get(&format!("/console/log?{bad}")).await.status, 400, "{bad}");
    }
    command(&agent, "crash exit 3").await;
    agent.until_state("crashed", SOON).await;
    assert!(agent.get("/console/log?from=-14").await.body.contains("very end"));
    console.until_frame("exit", SOON).await;
    assert_eq!(console.frames.last().unwrap()["code"], 3);
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    assert!(agent.get("/console/log?from=0").await.body.starts_with(&all.body));
    agent.finish().await;
}
