//! Teeworlds: its console is a TCP port with a password, SIGTERM is not caught.
use crate::{
    it::support::Sandbox,
    play::{
        PATIENCE, Verdict, account, agent_with_backoff, config, configured, crash_report, free_port, server_file,
        shown, signal, stop, type_line,
    },
};
use nix::sys::signal::Signal;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_commands_by_econ_and_ends_in_order() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    let agent = agent_with_backoff(&sandbox, "50ms");
    let status = configured(&agent, &config("teeworlds", port)).await;
    assert_eq!((&status["readySource"], account(&status)), (&json!("log"), "game".into()), "{status:#}");
    type_line(&agent, "say hello by econ").await;
    shown(&agent, "hello by econ").await;

    // Somebody's `kill PID`: nothing catches it, and nobody here asked for it.
    signal(&status, Signal::SIGTERM);
    let killed =
        Verdict { exit: -15, classification: "unexpected_exit", code: "signal.external", rule: "", hint: "use stop" };
    killed.check(&crash_report(&agent, 1).await);
    agent.until("running again", PATIENCE, |s| s["state"] == "running" && s["pid"] != status["pid"]).await;
    stop(&agent).await;
    shown(&agent, "shutdown").await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_that_is_missing_is_named() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    server_file(&sandbox, "teeworlds", "autoexec.cfg", "sv_map nosuch\n");
    let agent = agent_with_backoff(&sandbox, "60s");
    agent.configure(&config("teeworlds", port)).await;
    agent.until_state("error", PATIENCE).await;
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
