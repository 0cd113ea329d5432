//! Two ways to run out of memory: the runtime's own limit, and the kernel's.
use super::Squid;
use crate::play::{Verdict, agent_with_backoff, configured, crash_report, type_line};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_heap_and_a_full_cgroup_are_told_apart() {
    let squid = Squid::install();
    squid.plug(&["crash.js"]);
    let agent = agent_with_backoff(&squid.sandbox, "1h");
    configured(&agent, &squid.config_with(512, "--max-old-space-size=100")).await;
    type_line(&agent, "crash leak").await;
    let heap = crash_report(&agent, 1).await;
    let of_heap =
        Verdict { exit: -6, classification: "oom", code: "node.heap", rule: "N02", hint: "--max-old-space-size" };
    of_heap.check(&heap);

    // A heap that may grow beyond what the container has.
    configured(&agent, &squid.config_with(180, "--max-old-space-size=4000")).await;
    type_line(&agent, "crash leak").await;
    let kernel = crash_report(&agent, 2).await;
    let of_kernel =
        Verdict { exit: -9, classification: "oom", code: "kernel.oom", rule: "", hint: "Give it more memory" };
    of_kernel.check(&kernel);
    assert_eq!(kernel["confidence"], "certain", "{kernel:#}");
    let status = agent.status().await;
    assert_eq!(status["lastCrashClassification"], json!("oom"));
    agent.finish().await;
}
