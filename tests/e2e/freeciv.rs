//! Freeciv: refuses to run as root, console on stdin.
use crate::{
    it::support::Sandbox,
    play::{Verdict, account, agent_with_backoff, config, configured, crash_report, free_port, shown, stop, type_line},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_only_because_the_agent_drops_root() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    let agent = agent_with_backoff(&sandbox, "50ms");
    let status = configured(&agent, &config("freeciv", port)).await;
    assert_eq!(account(&status), "game");
    type_line(&agent, "list").await;
    shown(&agent, "List of players").await;
    stop(&agent).await;

    let mut as_root = config("freeciv", port);
    as_root["user"] = json!("root");
    agent.configure(&as_root).await;
    let refused = Verdict {
        exit: 1,
        classification: "nonzero_exit",
        code: "config.superuser",
        rule: "FC01",
        hint: "ordinary account",
    };
    refused.check(&crash_report(&agent, 1).await);
    agent.finish().await;
}
