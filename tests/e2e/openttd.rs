//! OpenTTD: console on stdin, TCP and UDP on one port, and a signal handler of its own.
use crate::{
    it::support::Sandbox,
    play::{
        PATIENCE, Verdict, account, agent_with_backoff, ask_udp, config, configured, crash_report, free_port, shown,
        signal, stop, type_line,
    },
};
use nix::sys::signal::Signal;
use serde_json::json;

/// A client's "find server" packet: its length, type 0.
const FIND: [u8; 3] = [3, 0, 0];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_takes_commands_crashes_and_ends_in_order() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    let agent = agent_with_backoff(&sandbox, "50ms");
    let status = configured(&agent, &config("openttd", port)).await;
    assert_eq!((&status["readySource"], account(&status)), (&json!("tcp"), "game".into()), "{status:#}");
    let answer = ask_udp(port, &FIND).await;
    assert_eq!((answer[0] as usize, answer[2]), (answer.len(), 1), "a server's answer: {answer:?}");
    type_line(&agent, "echo \"hello by stdin\"").await;
    shown(&agent, "hello by stdin").await;

    // Its own handler writes a crash log and aborts.
    signal(&status, Signal::SIGSEGV);
    let crashed = Verdict {
        exit: -6,
        classification: "unexpected_exit",
        code: "native.openttd_crash",
        rule: "OT02",
        hint: "crash log",
    };
    crashed.check(&crash_report(&agent, 1).await);
    agent.until("running again", PATIENCE, |s| s["state"] == "running" && s["pid"] != status["pid"]).await;
    stop(&agent).await;
    agent.finish().await;
}
