//! `POST /config`: what it starts, what it refuses, what it keeps to itself.
use super::{SOON, command, files, free_port, on_port, outcome, quick, run, strs, warning, with};
use crate::support::{Sandbox, eventually, install};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

#[tokio::test]
async fn every_kind_of_readiness_is_reached() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let port = free_port();
    let (mc, tcp) = (on_port(port, "minecraft"), on_port(port, "tcp"));
    let web = ["/usr/bin/python3", "-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"];
    let plain = sandbox.fake_game_config(&[]);
    let kinds = [
        ("minecraft_ping", with(&sandbox.fake_game_config(&strs(&mc)), ready(json!({"port": port})))),
        ("tcp", with(&sandbox.fake_game_config(&strs(&tcp)), ready(json!({"port": port})))),
        ("http", with(&plain, json!({"command": web, "ready": {"port": port, "path": "/"}}))),
        ("log", with(&plain, ready(json!({"pattern": "Done \\("})))),
        ("none", with(&plain, ready(json!({})))),
    ];
    for (kind, mut body) in kinds {
        body["ready"]["kind"] = json!(kind);
        let reply = agent.configure(&body).await.json();
        assert_eq!((&reply["ok"], &reply["state"]), (&json!(true), &json!("installing")), "{kind}: {reply}");
        let status = agent.until(kind, SOON, |s| s["state"] == "running" && s["ready"] == true).await;
        assert_eq!(outcome(&agent, &reply["operationId"]).await["state"], "done", "{kind}");
        assert_eq!(status["readySource"], kind);
        assert_eq!(status["readyError"], "");
        assert_eq!(status["provisioningComplete"], true);
        assert_eq!(agent.get("/ready").await.status, 200, "{kind}");
        assert_eq!(agent.post("/stop?wait=120s").await.status, 204, "{kind}");
    }
    agent.finish().await;
}

fn ready(probe: Value) -> Value {
    json!({ "ready": probe })
}

#[tokio::test]
async fn the_same_body_again_verifies_and_restarts_nothing() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let body = sandbox.fake_game_config(&[]);
    let pid = run(&agent, &body).await["pid"].clone();
    let reply = agent.configure(&body).await.json();
    assert_eq!(reply["state"], "installing");
    let operation = outcome(&agent, &reply["operationId"]).await;
    assert_eq!((&operation["state"], &operation["kind"]), (&json!("done"), &json!("config")));
    let status = agent.status().await;
    assert_eq!((&status["pid"], &status["state"], &status["crashCount"]), (&pid, &json!("running"), &json!(0)));
    agent.finish().await;
}

#[tokio::test]
async fn another_body_beside_a_running_game_waits_for_the_next_start_and_says_so() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let body = sandbox.fake_game_config(&[]);
    let pid = run(&agent, &body).await["pid"].clone();
    let mut other = body.clone();
    other["env"]["FLAVOUR"] = json!("vanilla");
    let reply = agent.configure(&other).await.json();
    assert_eq!(outcome(&agent, &reply["operationId"]).await["state"], "done");
    let status = agent.status().await;
    assert_eq!((&status["pid"], &status["config"]["env"]["FLAVOUR"]), (&pid, &json!("vanilla")));
    assert!(warning(&status, "config_pending").is_some_and(|m| m.contains("next start")), "{}", status["warnings"]);

    let restart = agent.post("/restart").await.json();
    assert_eq!(outcome(&agent, &restart["operationId"]).await["state"], "done");
    let status = agent.status().await;
    assert_ne!(status["pid"], pid);
    assert_eq!(warning(&status, "config_pending"), None);
    let mut console = agent.console().await;
    command(&agent, "env FLAVOUR").await;
    console.until("FLAVOUR=vanilla", SOON).await;
    agent.finish().await;
}

/// A field, a value it cannot have, and the field the answer must name.
fn unusable() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("vmid", json!(0), "vmid"),
        ("vmid", json!(-1), "vmid"),
        ("vmid", json!("5100"), "vmid"),
        ("game", json!("tetris"), "game"),
        ("game", json!(null), "game"),
        ("variant", json!("paper"), "variant"),
        ("world", json!("world"), "world"),
        ("java_path", json!("java/21/OpenJDK21.tar.gz"), "java_path"),
        ("artifact_path", json!("../../etc/shadow"), "artifact_path"),
        ("memory_mb", json!(1), "memory_mb"),
        ("memory_mb", json!(1.5), "memory_mb"),
        ("memory_mb", json!(u64::MAX), "memory_mb"),
        ("ports", json!([0]), "ports[0]"),
        ("ports", json!([25565, 65536]), "ports[1]"),
        ("ports", json!([25565, 25565]), "ports[1]"),
        ("ports", json!("25565"), "ports"),
        ("command", json!([]), "command"),
        ("command", json!("run.sh"), "command"),
        ("command", json!(["bin/relative"]), "command[0]"),
        ("command", json!(["/bin/true", "a\0b"]), "command[1]"),
        ("workdir", json!("/etc"), "workdir"),
        ("workdir", json!("../../etc"), "workdir"),
        ("workdir", json!("a/../../b"), "workdir"),
        ("env", json!(["A=B"]), "env"),
        ("env", json!({"A B": "x"}), "env"),
        ("env", json!({"A": 1}), "env"),
        ("user", json!("Not A User"), "user"),
        ("user", json!("nobody-at-all"), "user"),
        ("command", json!(["/nonexistent/server"]), "command[0]"),
        ("stop", json!([{"wait": "1s"}]), "stop[0]"),
        ("stop", json!([{"signal": "SIGNAL", "wait": "1s"}]), "stop[0]"),
        ("stop", json!([{"stdin": "stop", "wait": "soon"}]), "stop[0]"),
        ("stop", json!([{"stdin": "a\nb", "wait": "1s"}]), "stop[0]"),
        ("ready", json!({"kind": "magic"}), "ready"),
        ("ready", json!({"kind": "log", "pattern": "("}), "ready"),
        ("ready", json!({"kind": "log"}), "ready"),
        ("ready", json!({"kind": "tcp", "port": 0}), "ready"),
        ("ready", json!({"kind": "log", "pattern": "x", "within": "never"}), "ready"),
        ("container_type", json!("toaster"), "container_type"),
        ("runtime", json!("node"), "runtime"),
        ("enable_code_server", json!(true), "enable_code_server"),
    ]
}

#[tokio::test]
async fn a_bad_field_is_named_and_nothing_changes_on_disk() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let body = sandbox.fake_game_config(&[]);
    run(&agent, &body).await;
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    let state = sandbox.root().join("opt/zlh-agent/state");
    let before = settled(&state).await;
    let config = agent.status().await["config"].clone();
    let mut faults = vec![];
    for (field, value, named) in unusable() {
        let reply = agent.post_json("/config", &with(&body, json!({field: value}))).await;
        let said = if reply.status == 422 { reply.json()["field"].clone() } else { json!(null) };
        let problem = said.as_str().is_some_and(|said| said.starts_with(named));
        if !problem || reply.headers["content-type"] != "application/problem+json" {
            faults.push(format!("{field}={value}: {} {}", reply.status, reply.body));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(agent.status().await["config"], config);
    assert_eq!(agent.status().await["state"], "idle");
    let changed: Vec<_> = files(&state).into_iter().filter(|(p, b)| before.get(p) != Some(b)).collect();
    assert!(changed.is_empty(), "{:?}", changed.iter().map(|(path, _)| path).collect::<Vec<_>>());
    agent.finish().await;
}

/// Nothing ever ran, so nothing crashed: the state says what to do, and no report is filed.
#[tokio::test]
async fn what_cannot_be_executed_is_an_error_with_its_cure_and_no_crash() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let [text, program] = ["text", "program"].map(|name| sandbox.root().join(name));
    for (content, cure) in [("no program", "begins with #!"), ("#!/nonexistent/sh", "interpreter")] {
        fs::write(&text, content).unwrap();
        install(&text, &program);
        let body = with(&sandbox.fake_game_config(&[]), json!({"command": [program]}));
        let config = agent.configure(&body).await.json();
        assert_eq!(outcome(&agent, &config["operationId"]).await["state"], "failed", "{content}");
        let status = agent.until_state("error", SOON).await;
        let error = status["error"].as_str().unwrap();
        assert!(error.contains(program.to_str().unwrap()) && error.contains(cure), "{error}");
        assert_eq!((&status["crashCount"], &status["lastCrashReason"]), (&json!(0), &json!(null)), "{status}");
        assert_eq!(agent.get("/crashes").await.json()["crashes"], json!([]));
    }
    agent.finish().await;
}

/// The files once the last run has been cleared away and its outcome saved.
async fn settled(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut last, mut since) = (files(folder), Instant::now());
    eventually("no more writing", SOON, async || {
        let now = files(folder);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(3)).then(|| last.clone())
    })
    .await
}

#[tokio::test]
async fn what_is_no_object_is_malformed() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    for body in [json!([]), json!("x"), json!(null), json!(7)] {
        let reply = agent.post_json("/config", &body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "malformed_body"), "{body}");
    }
    agent.finish().await;
}

#[tokio::test]
async fn unknown_fields_are_kept_and_named_in_a_warning() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let extras = json!({"frobnicate": 1, "hostname": "x"});
    let status = run(&agent, &with(&sandbox.fake_game_config(&[]), extras)).await;
    let said = status["warnings"].to_string();
    assert!(said.contains("frobnicate") && said.contains("hostname"), "{said}");
    assert_eq!(status["config"]["frobnicate"], 1);
    agent.finish().await;
}

#[tokio::test]
async fn secrets_stay_secret() {
    const CANARIES: [&str; 4] = ["kanarie-steam-1", "kanarie-auth-2", "kanarie-admin-3", "kanarie-token-4"];
    let sandbox = Sandbox::new();
    let token = sandbox.root().join("token");
    fs::write(&token, CANARIES[3]).unwrap();
    let agent = quick(&sandbox, &["--token-file", token.to_str().unwrap()]);
    let words = format!("print pw {} {} {} {}", CANARIES[0], CANARIES[1], CANARIES[2], CANARIES[3]);
    let secrets = json!({"steam_pass": CANARIES[0], "steam_auth": CANARIES[1], "admin_pass": CANARIES[2]});
    let body = with(&sandbox.fake_game_config(&[]), secrets);
    assert_eq!(run(&agent, &body).await["vmid"], 5100);
    command(&agent, &words).await;
    command(&agent, "crash exit 3").await;
    agent.until("a classified crash", SOON, |s| !s["lastCrashClassification"].is_null()).await;
    let refused = agent.post_json("/config", &with(&body, json!({"admin_pass": [CANARIES[2]]}))).await;
    assert_eq!(refused.status, 422);
    let mut seen = vec![refused.body];
    for path in ["/status", "/crashes", "/operations", "/metrics", "/ready", "/version", "/openapi.json"] {
        seen.push(format!("{path}: {}", agent.get(path).await.body));
    }
    assert!(seen[2].contains("pw "), "the words are in the report: {}", seen[2]);
    eventually("the crash in the log", SOON, async || {
        fs::read_to_string(sandbox.agent_log()).unwrap().contains("the game crashed").then_some(())
    })
    .await;
    seen.push(fs::read_to_string(sandbox.agent_log()).unwrap());
    for canary in CANARIES {
        assert!(!seen.iter().any(|text| text.contains(canary)), "{canary} in {seen:#?}");
    }
    agent.finish().await;
}
