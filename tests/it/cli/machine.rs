//! `zlh doctor` and `zlh config show`: what they find on this very machine.
use super::{Script, err, out, run, zlh};
use crate::support::{eventually, free_port};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The doctor on an empty root, on a port that is free.
async fn examine(agent: &Script, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    let listen = format!("listen=127.0.0.1:{}", free_port());
    let words = [&["doctor", "--json", "--root", root, "--set", &listen], more].concat();
    let answer = run(agent, &words).await;
    let findings =
        serde_json::from_slice(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", out(&answer), err(&answer)));
    (answer.status.code(), findings)
}

fn finding<'a>(findings: &'a [Value], name: &str) -> &'a Value {
    findings.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("no {name} among {findings:?}"))
}

#[tokio::test]
async fn the_doctor_looks_at_agent_and_machine() {
    let agent = Script::start().await;
    agent.set(|f| {
        f.status["agentVersion"] = "v9.8.7".into();
        f.status["warnings"] = json!([{"code": "stop_budget_exceeds_grace", "message": "too long"}]);
    });
    let (code, findings) = examine(&agent, &[]).await;
    let agents = finding(&findings, "agent");
    assert_eq!(agents["health"], "warn");
    assert!(agents["found"].as_str().unwrap().contains("too long [stop_budget_exceeds_grace]"), "{agents}");
    assert_eq!(finding(&findings, "ports")["found"], "all free");
    assert_eq!(finding(&findings, "terminal")["health"], "ok");
    let ill = findings.iter().any(|f| f["health"] == "fail");
    assert_eq!(code, Some(i32::from(ill)), "{findings:?}");
    let trace = std::process::Command::new("find").args(["/sys/fs/cgroup", "-name", "zlh-doctor-*"]).output().unwrap();
    // Another test's doctor may be at work right now; ours has ended and so is gone for good.
    let ours = format!("zlh-doctor-{}", std::process::id());
    assert!(!String::from_utf8_lossy(&trace.stdout).contains(&ours));
}

#[tokio::test]
async fn a_held_port_and_a_dead_artifact_server_are_failures() {
    let agent = Script::start().await;
    let squatter = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = squatter.local_addr().unwrap().port();
    agent.set(|f| {
        f.status["config"] = json!({"vmid": 1, "game": "custom", "command": ["/bin/cat"], "workdir": "x", "ports": [port],
                                    "memory_mb": 1_048_576});
    });
    let dead = free_port();
    let (code, findings) = examine(&agent, &["--set", &format!("artifacts_url=http://127.0.0.1:{dead}")]).await;
    assert_eq!(code, Some(1));
    let ports = finding(&findings, "ports");
    assert_eq!(ports["health"], "fail");
    let holder = format!("TCP {port} (game) is held by");
    assert!(ports["found"].as_str().unwrap().contains(&holder), "{ports}");
    assert!(finding(&findings, "artifacts")["found"].as_str().unwrap().contains("Connection refused"));
    let memory = finding(&findings, "memory");
    assert_eq!(memory["health"], "fail", "no machine has a TiB for this test: {memory}");
}

#[tokio::test]
async fn the_artifact_server_is_asked_for_its_catalog() {
    let agent = Script::start().await;
    let app = axum::Router::new().route("/base/_catalog.json", axum::routing::get(async || r#"{"games":[]}"#));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("artifacts_url=http://{}/base", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let (_, findings) = examine(&agent, &["--set", &url]).await;
    assert_eq!(finding(&findings, "artifacts")["health"], "ok", "{findings:?}");
    assert!(finding(&findings, "clock")["found"].as_str().unwrap().contains("s off the artifact server"));
    server.abort();
    let ended = eventually("the server's end", super::PATIENCE, async || server.is_finished().then_some(())).await;
    assert_eq!(ended, ());
}

/// Where no certificate of an authority can be found.
fn without_certificates(command: &mut tokio::process::Command) -> &mut tokio::process::Command {
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent")
}

#[tokio::test]
async fn a_machine_without_certificates_speaks_http_and_says_what_https_needs() {
    let agent = Script::start().await;
    let cure = "install the package ca-certificates";
    let answer = without_certificates(&mut zlh(&agent, &["status"])).output().await.unwrap();
    assert_eq!(answer.status.code(), Some(0), "{}", err(&answer));
    let mut secure = zlh(&agent, &["--url", "https://127.0.0.1:9", "status"]);
    let refused = without_certificates(&mut secure).output().await.unwrap();
    assert_eq!((refused.status.code(), err(&refused).contains(cure)), (Some(3), true), "{}", err(&refused));
    for (url, said) in [("http://127.0.0.1:9", "Connection refused"), ("https://127.0.0.1:9", cure)] {
        let mut doctor = zlh(&agent, &["doctor", "--json", "--set", &format!("artifacts_url={url}")]);
        let answer = without_certificates(&mut doctor).output().await.unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&answer.stdout).unwrap();
        let found = finding(&findings, "artifacts")["found"].as_str().unwrap();
        assert!(found.contains(said), "{url}: {found}");
    }
}

#[tokio::test]
async fn an_artifact_server_that_wants_https_is_named_so() {
    let agent = Script::start().await;
    let moved = async || axum::response::Redirect::temporary("https://127.0.0.1:9/_catalog.json");
    let app = axum::Router::new().route("/_catalog.json", axum::routing::get(moved));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("artifacts_url=http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let (_, findings) = examine(&agent, &["--set", &url]).await;
    let found = finding(&findings, "artifacts")["found"].as_str().unwrap();
    assert!(found.contains("let artifacts_url begin with https://"), "{found}");
    server.abort();
}

#[tokio::test]
async fn settings_are_shown_with_their_origin() {
    let agent = Script::start().await;
    let shown = run(&agent, &["config", "show", "--json", "--set", "restart.jitter=0.05"]).await;
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    let rows: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    let row = |key: &str| rows.iter().find(|r| r["key"] == key).unwrap();
    assert_eq!((&row("restart.jitter")["value"], &row("restart.jitter")["origin"]), (&json!("0.05"), &json!("--set")));
    assert_eq!(row("stop.grace")["origin"], "default");
    assert!(!out(&shown).contains(super::TOKEN), "the token is printed");
    let default = run(&agent, &["config", "show", "--default"]).await;
    assert!(out(&default).contains("restart.backoff = \"30s,1m,2m\""), "{}", out(&default));
}

#[tokio::test]
async fn bad_settings_are_78_and_all_listed() {
    let agent = Script::start().await;
    let mut command = zlh(&agent, &["config", "show", "--set", "stop.grace=never", "--set", "no.such=1"]);
    let answer = command.env("ZLH_RESTART__JITTER", "7").output().await.unwrap();
    assert_eq!(answer.status.code(), Some(78));
    for fault in ["stop.grace", "no.such", "ZLH_RESTART__JITTER"] {
        assert!(err(&answer).contains(fault), "{fault} is missing in {}", err(&answer));
    }
    assert_eq!(out(&answer), "");
}

#[tokio::test]
async fn the_agents_own_token_is_found_on_its_machine() {
    let agent = Script::start().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, super::TOKEN).unwrap();
    let mut command = zlh(&agent, &["status"]);
    command.env_remove("ZLH_AGENT_TOKEN").env("ZLH_TOKEN_FILE", &token);
    let answer = command.output().await.unwrap();
    assert_eq!(answer.status.code(), Some(0), "{}", err(&answer));
}
