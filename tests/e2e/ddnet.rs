//! DDraceNetwork: its console is a named pipe, its world a map.
use crate::{
    it::support::Sandbox,
    play::{
        PATIENCE, Verdict, account, agent_with_backoff, ask_udp, config, configured, crash_report, free_port,
        server_file, shown, stop, type_line,
    },
};
use serde_json::json;

/// "What are you?", as every server browser asks it, and the begin of the answer.
const GIE3: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffgie3\x01";
const INF3: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffinf3";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_its_protocol_takes_commands_and_ends_in_order() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    server_file(&sandbox, "ddnet", "server.cfg", "sv_name real parts\nsv_map dm1\n");
    let agent = sandbox.agent(&[]);
    let status = configured(&agent, &config("ddnet", port)).await;
    assert_eq!((&status["readySource"], account(&status)), (&json!("udp"), "game".into()), "{status:#}");
    let answer = ask_udp(port, GIE3).await;
    assert!(answer.starts_with(INF3), "{answer:?}");
    assert!(String::from_utf8_lossy(&answer).contains("real parts"), "{answer:?}");
    type_line(&agent, "say hello by the pipe").await;
    shown(&agent, "hello by the pipe").await;
    stop(&agent).await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_that_is_missing_is_named_and_not_tried_again() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    server_file(&sandbox, "ddnet", "server.cfg", "sv_map nosuch\n");
    let agent = agent_with_backoff(&sandbox, "60s");
    agent.configure(&config("ddnet", port)).await;
    let failed = agent.until_state("error", PATIENCE).await;
    assert_eq!(failed["crashCount"], 1, "{failed:#}");
    let missing = Verdict {
        exit: 255,
        classification: "missing_dependency",
        code: "world.map_missing",
        rule: "TW01",
        hint: "nosuch",
    };
    missing.check(&crash_report(&agent, 1).await);
    agent.finish().await;
}
