//! Real ends of a real server, and what is said about each.
use super::Squid;
use crate::play::{PATIENCE, Verdict, agent_with_backoff, configured, crash_report, free_port, type_line};
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener};

const SEGV: Verdict =
    Verdict { exit: -11, classification: "unexpected_exit", code: "native.signal", rule: "", hint: "native code" };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_of_a_running_server_is_told_as_what_it_was() {
    let squid = Squid::install();
    squid.plug(&["crash.js"]);
    let agent = agent_with_backoff(&squid.sandbox, "50ms");
    configured(&agent, &squid.config()).await;
    let thrown = Verdict {
        exit: 1,
        classification: "mod_or_plugin_error",
        code: "plugin.runtime",
        rule: "SQ02",
        hint: "plugins/crash.js",
    };
    let unexpected = |exit, code, hint| Verdict { exit, classification: "unexpected_exit", code, rule: "", hint };
    let ends = [
        ("crash throw", thrown),
        (
            "crash exit 7",
            Verdict { exit: 7, classification: "nonzero_exit", code: "exit.nonzero", rule: "", hint: "log" },
        ),
        ("crash exit 0", unexpected(0, "exit.zero", "code 0")),
        ("crash segv", SEGV),
        ("crash abort", unexpected(-6, "native.signal", "aborted itself")),
        ("crash kill", unexpected(-9, "signal.killed", "outside")),
    ];
    for (count, (line, verdict)) in (1..).zip(ends) {
        agent.until("running", PATIENCE, |s| s["state"] == "running" && s["crashCount"] == json!(count - 1)).await;
        type_line(&agent, line).await;
        let report = crash_report(&agent, count).await;
        verdict.check(&report);
        assert_eq!(report["wasReady"], true, "{line}: {report:#}");
    }
    agent.until("running", PATIENCE, |s| s["state"] == "running" && s["crashCount"] == json!(6)).await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_start_is_not_tried_for_ever() {
    let squid = Squid::install();
    let agent = agent_with_backoff(&squid.sandbox, "15s");
    let missing = Verdict {
        exit: 1,
        classification: "missing_dependency",
        code: "node.module",
        rule: "N01",
        hint: "economy-api",
    };
    let throws = Verdict {
        exit: 1,
        classification: "mod_or_plugin_error",
        code: "plugin.runtime",
        rule: "SQ02",
        hint: "plugins/throws-on-load.js",
    };
    let version =
        Verdict { exit: 1, classification: "nonzero_exit", code: "config.version", rule: "SQ01", hint: "9.9.9" };
    // The backoff gives a debug build time to judge before it tries again. How many runs each gets: a missing module never comes by itself, a plugin gets a second chance.
    let faults = [
        ("missing-dependency.js", "", missing, 1),
        ("throws-on-load.js", "", throws, 2),
        ("", "version=9.9.9", version, 1),
    ];
    let mut crashes = 0;
    for (plugin, line, verdict, runs) in faults {
        squid.set(line);
        squid.plug(if plugin.is_empty() { &[] } else { std::slice::from_ref(&plugin) });
        agent.configure(&squid.config()).await;
        crashes += runs;
        let failed = agent.until_state("error", PATIENCE).await;
        verdict.check(&crash_report(&agent, crashes).await);
        assert_eq!(failed["crashCount"], json!(crashes), "{failed:#}");
        let error = failed["error"].as_str().unwrap();
        assert!(error.contains(verdict.hint), "{error}");
    }
    // Healed, it starts.
    squid.set("");
    configured(&agent, &squid.config()).await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_else_holds_is_named() {
    let squid = Squid::install();
    let agent = agent_with_backoff(&squid.sandbox, "1h");
    // Not the port we were told of: nobody can look at it beforehand, and the server notices only after seconds.
    let other = free_port();
    let foreign = TcpListener::bind((Ipv4Addr::LOCALHOST, other)).unwrap();
    squid.set(&format!("server-port={other}"));
    agent.configure(&squid.config()).await;
    let report = crash_report(&agent, 1).await;
    let taken = Verdict { exit: 1, classification: "nonzero_exit", code: "env.port_in_use", rule: "E01", hint: "port" };
    taken.check(&report);
    assert_eq!(report["wasReady"], false, "{report:#}");
    drop(foreign);

    // The port we were told of: the launch waits for it, says who holds it, and goes on when it is free.
    squid.set("");
    let foreign = TcpListener::bind((Ipv4Addr::LOCALHOST, squid.port)).unwrap();
    agent.configure(&squid.config()).await;
    let waiting =
        agent.until("waiting for the port", PATIENCE, |s| s["operationMessage"].to_string().contains("port")).await;
    assert_eq!(waiting["processRunning"], false, "{waiting:#}");
    drop(foreign);
    agent.until_state("running", PATIENCE).await;
    agent.finish().await;
}
