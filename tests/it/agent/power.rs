//! Start, stop, restart, kill: their answers, who waits for whom, and what each leaves behind.
use super::{SOON, command, free_port, millis, now, on_port, outcome, quick, run, strs, with};
use crate::support::{Agent, Sandbox, eventually};
use serde_json::{Value, json};
use std::net::TcpListener;

#[tokio::test]
async fn without_a_config_there_is_nothing_to_start() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    // Before it knows what survived, the agent asks for patience.
    let knows = async || (agent.post("/start").await.status.as_u16() != 503).then_some(());
    eventually("an agent that knows what there is", SOON, knows).await;
    for path in ["/start", "/restart"] {
        let reply = agent.post(path).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "no_config"), "{path}");
    }
    for path in ["/stop", "/kill", "/stop?wait=5s"] {
        let reply = agent.post(path).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (204, ""), "{path}");
    }
    let reply = agent.post_json("/console/command", &json!({"command": "say hi"})).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "not_running"));
    agent.finish().await;
}

#[tokio::test]
async fn each_command_answers_as_promised_and_again_changes_nothing() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let config = agent.configure(&sandbox.fake_game_config(&[])).await.json();
    let first = agent.until("ready", SOON, |s| s["state"] == "running" && s["ready"] == true).await["pid"].clone();

    let again = agent.post("/start").await;
    assert_eq!((again.status.as_u16(), &again.json()["ok"], &again.json()["state"]), shape(200, "running"));
    assert_eq!(again.json()["operationId"], config["operationId"], "what brought it up");
    assert_eq!(agent.status().await["pid"], first);

    let restart = agent.post("/restart").await;
    assert_eq!((restart.status.as_u16(), &restart.json()["ok"], &restart.json()["state"]), shape(202, "starting"));
    assert_eq!(outcome(&agent, &restart.json()["operationId"]).await["state"], "done");
    let second = agent.status().await;
    assert!(second["state"] == "running" && second["pid"] != first, "{second}");

    let stop = agent.post("/stop").await;
    assert_eq!((stop.status.as_u16(), stop.body.as_str()), (204, ""));
    let id = json!(stop.headers["operation-id"].to_str().unwrap());
    assert_eq!(outcome(&agent, &id).await["state"], "done");
    let idle = agent.until_state("idle", SOON).await;
    assert_eq!((&idle["processRunning"], &idle["pid"], &idle["crashCount"]), (&json!(false), &json!(null), &json!(0)));
    assert_eq!(agent.post("/stop").await.status, 204);

    let start = agent.post("/start").await;
    assert_eq!((start.status.as_u16(), &start.json()["ok"], &start.json()["state"]), shape(202, "starting"));
    assert_eq!(outcome(&agent, &start.json()["operationId"]).await["state"], "done");
    let kill = agent.post("/kill").await;
    assert_eq!((kill.status.as_u16(), kill.body.as_str()), (204, ""));
    let idle = agent.until_state("idle", SOON).await;
    assert_eq!((&idle["crashCount"], &idle["error"]), (&json!(0), &json!(null)));
    agent.finish().await;
}

fn shape(status: u16, state: &str) -> (u16, &Value, &Value) {
    let leak = |value: Value| &*Box::leak(Box::new(value));
    (status, leak(json!(true)), leak(json!(state)))
}

#[tokio::test]
async fn who_comes_second_is_told_who_holds_the_lock() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let body = sandbox.fake_game_config(&["--never-ready"]);
    let config = agent.configure(&body).await.json();
    agent.until("the process", SOON, |s| s["state"] == "starting" && s["processRunning"] == true).await;
    for path in ["/start", "/restart", "/config"] {
        let reply = if path == "/config" { agent.post_json(path, &body).await } else { agent.post(path).await };
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "operation_in_progress"), "{path}");
        let problem = reply.json();
        assert_eq!((&problem["operation"], &problem["holder"]), (&config["operationId"], &json!("config")));
        assert!(problem["deadlineAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{problem}");
    }
    let status = agent.status().await;
    assert_eq!((&status["operationInProgress"], &status["operationType"]), (&json!(true), &json!("config")));
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    assert_eq!(outcome(&agent, &config["operationId"]).await["state"], "superseded");
    assert_eq!(agent.status().await["state"], "idle");

    let start = agent.post("/start").await.json();
    agent.until("the process", SOON, |s| s["processRunning"] == true).await;
    let stop = agent.post("/stop?wait=120s").await;
    assert_eq!(stop.status, 204, "{stop:?}");
    assert_eq!(outcome(&agent, &start["operationId"]).await["state"], "superseded");
    let stopped = agent.status().await;
    assert_eq!((&stopped["state"], &stopped["crashCount"]), (&json!("idle"), &json!(0)));
    agent.finish().await;
}

/// Brings it into the state, kills it there, and expects rest without a crash more.
async fn kill_in(agent: &Agent, body: &Value, state: &str) {
    agent.until("nothing going on", SOON, |s| s["operationInProgress"] == false).await;
    agent.configure(body).await;
    if state == "stopping" {
        agent.until_state("running", SOON).await;
        assert_eq!(agent.post("/stop").await.status, 204);
    }
    let crashes = agent.until_state(state, SOON).await["crashCount"].clone();
    let kill = agent.post("/kill").await;
    assert_eq!(kill.status, 204, "{state}: {kill:?}");
    let rest = |s: &Value| s["processRunning"] == false && s["operationInProgress"] == false;
    let status = agent.until("rest", SOON, |s| rest(s) && s["state"] == "idle").await;
    assert_eq!((&status["crashCount"], &status["nextRestartAt"]), (&crashes, &json!(null)), "killed in {state}");
}

#[tokio::test]
async fn kill_works_in_every_state() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    let deaf = &["--ignore-term", "--stop-command", "none"];
    let slow = with(&sandbox.fake_game_config(deaf), json!({"stop": [{"stdin": "stop", "wait": "15s"}]}));
    kill_in(&agent, &sandbox.fake_game_config(&[]), "running").await;
    kill_in(&agent, &sandbox.fake_game_config(&["--never-ready"]), "starting").await;
    kill_in(&agent, &slow, "stopping").await;
    kill_in(&agent, &sandbox.fake_game_config(&["--code", "5"]), "crashed").await;
    agent.finish().await;
}

#[tokio::test]
async fn a_stop_during_the_backoff_is_the_end() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=5s"]);
    agent.configure(&sandbox.fake_game_config(&["--code", "5"])).await;
    let crashed = agent.until_state("crashed", SOON).await;
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    let idle = agent.until_state("idle", SOON).await;
    assert_eq!((&idle["nextRestartAt"], &idle["crashCount"]), (&json!(null), &json!(1)));
    let due = millis(&crashed["nextRestartAt"]);
    eventually("the moment of the restart that is not to be", SOON, async || (now() > due + 500).then_some(())).await;
    let later = agent.status().await;
    assert_eq!((&later["state"], &later["processRunning"]), (&json!("idle"), &json!(false)), "{crashed}");
    assert_eq!(agent.get("/operations").await.json()["operations"][0]["kind"], "stop");
    agent.finish().await;
}

#[tokio::test]
async fn the_games_own_stop_command_is_a_clean_stop_and_exit_0_alone_is_a_crash() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    command(&agent, "stop").await;
    assert_eq!(agent.until_state("idle", SOON).await["crashCount"], 0);

    for v1 in [false, true] {
        agent.post("/start").await;
        agent.until_state("running", SOON).await;
        let mut console = if v1 { agent.console_v1("").await } else { agent.console().await };
        console.type_line("stop").await;
        assert_eq!(agent.until_state("idle", SOON).await["crashCount"], 0, "v1: {v1}");
    }

    agent.configure(&sandbox.fake_game_config(&["--code", "0"])).await;
    let crashed = agent.until("the verdict", SOON, |s| !s["lastCrashClassification"].is_null()).await;
    assert_eq!((&crashed["state"], &crashed["crashCount"]), (&json!("crashed"), &json!(1)));
    assert_eq!(
        (&crashed["lastCrashClassification"], &crashed["lastCrashExitCode"]),
        (&json!("unexpected_exit"), &json!(0))
    );
    agent.finish().await;
}

#[tokio::test]
async fn a_start_waits_for_its_port_and_gives_up_in_words() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.port_wait=2s"]);
    let port = free_port();
    let body = with(&sandbox.fake_game_config(&strs(&on_port(port, "tcp"))), json!({"ports": [port]}));
    run(&agent, &body).await;
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);

    let holder = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let start = agent.post("/start").await.json();
    let ended = outcome(&agent, &start["operationId"]).await;
    let why = ended["error"].as_str().unwrap_or_default();
    assert!(ended["state"] == "failed" && why.contains(&port.to_string()), "{ended}");
    let status = agent.until_state("error", SOON).await;
    assert!(status["error"].as_str().unwrap().contains(&port.to_string()), "{}", status["error"]);
    drop(holder);

    let start = agent.post("/start").await.json();
    assert_eq!(outcome(&agent, &start["operationId"]).await["state"], "done");
    assert_eq!(agent.status().await["error"], json!(null));
    agent.finish().await;
}

#[tokio::test]
async fn a_restart_waits_until_the_port_is_free() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let port = free_port();
    let ready = json!({"ports": [port], "ready": {"kind": "none"}});
    run(&agent, &with(&sandbox.fake_game_config(&["--save-time", "300ms"]), ready)).await;
    let holder = TcpListener::bind(("127.0.0.1", port)).unwrap(); // the game itself does not use its port
    let restart = agent.post("/restart").await.json();
    eventually("waiting for the port", SOON, async || {
        let step = agent.status().await["operationMessage"].as_str()?.to_owned();
        step.contains("port").then_some(())
    })
    .await;
    assert_eq!(agent.status().await["processRunning"], false);
    drop(holder);
    assert_eq!(outcome(&agent, &restart["operationId"]).await["state"], "done");
    agent.finish().await;
}
