//! Crash, wait, start again, give up: the timeline, the counters, the reports.
use super::{SOON, command, free_port, millis, now, on_port, outcome, quick, run, strs, with};
use crate::support::{Agent, Sandbox, eventually};
use serde_json::{Value, json};
use std::time::Duration;

/// Long enough that each wait is seen, also by somebody who gets to look only now and then.
const LADDER: [&str; 2] = ["--set", "restart.backoff=3s,4s,5s"];

/// The newest crash report, once there are this many.
async fn report(agent: &Agent, count: usize) -> Value {
    let found = eventually("the report", SOON, async || {
        let crashes = agent.get("/crashes").await.json()["crashes"].as_array().unwrap().clone();
        (crashes.len() == count).then(|| crashes[0].clone())
    });
    let newest = found.await;
    let one = agent.get(&format!("/crashes/{}", newest["id"].as_str().unwrap())).await;
    assert_eq!((one.status.as_u16(), one.json()), (200, newest.clone()));
    newest
}

#[tokio::test]
async fn three_restarts_by_the_ladder_then_error_and_a_start_forgives() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &LADDER);
    agent.configure(&sandbox.fake_game_config(&["--code", "7", "--exit-after", "100ms"])).await;
    let mut previous = 0;
    for (attempt, delay) in [(1, 3000), (2, 4000), (3, 5000)] {
        let crashed = |s: &Value| s["state"] == "crashed" && s["crashCount"] == attempt;
        let status = agent.until(&format!("crash {attempt}"), SOON, crashed).await;
        assert_eq!(status["restartAttempt"], attempt, "{status}");
        assert_eq!((&status["lastCrashExitCode"], &status["lastCrashSignal"]), (&json!(7), &json!(0)));
        assert_eq!((&status["pid"], &status["processRunning"]), (&json!(null), &json!(false)));
        let (died, due) = (millis(&status["lastCrashTime"]), millis(&status["nextRestartAt"]));
        // Two clocks that are read one after the other, twice, by processes that share a processor with others.
        assert!(
            (delay - 400..=delay + 400).contains(&(due - died)),
            "attempt {attempt}: due {} ms after the end",
            due - died
        );
        assert!(died + 400 >= previous, "before the restart was due");
        previous = due;
    }
    let gave_up = agent.until_state("error", SOON).await;
    assert_eq!((&gave_up["crashCount"], &gave_up["nextRestartAt"]), (&json!(4), &json!(null)));
    assert!(millis(&gave_up["lastCrashTime"]) + 400 >= previous);
    assert!(gave_up["error"].as_str().is_some_and(|e| e.contains("gave up")), "{}", gave_up["error"]);
    let last = report(&agent, 4).await;
    assert_eq!((&last["classification"], &last["exitCode"]), (&json!("nonzero_exit"), &json!(7)));

    let start = agent.post("/start").await;
    assert_eq!(start.status, 202);
    let crashed = agent.until("crash 5", SOON, |s| s["state"] == "crashed" && s["crashCount"] == 5).await;
    assert_eq!((&crashed["restartAttempt"], &crashed["error"]), (&json!(1), &json!(null)));
    agent.finish().await;
}

#[tokio::test]
async fn being_ready_for_long_enough_starts_the_ladder_anew() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=50ms", "--set", "restart.reset_after=200ms"]);
    agent.configure(&sandbox.fake_game_config(&["--code", "7", "--exit-after", "3s"])).await;
    let third = agent.until("the third crash", SOON, |s| s["crashCount"] == 3).await;
    assert_eq!(third["restartAttempt"], 1, "one rung, climbed again and again");
    agent.finish().await;
}

#[tokio::test]
async fn too_many_crashes_in_an_hour_are_the_end_whatever_was_reset() {
    let sandbox = Sandbox::new();
    let sets = ["restart.backoff=50ms", "restart.reset_after=100ms", "restart.max_crashes_per_hour=3"];
    let agent = quick(&sandbox, &["--set", sets[0], "--set", sets[1], "--set", sets[2]]);
    agent.configure(&sandbox.fake_game_config(&["--code", "7", "--exit-after", "3s"])).await;
    let status = agent.until_state("error", SOON).await;
    assert_eq!(status["crashCount"], 4);
    assert!(status["error"].as_str().unwrap().contains("within an hour"), "{}", status["error"]);
    agent.finish().await;
}

#[tokio::test]
async fn one_that_never_becomes_ready_is_given_up_early() {
    let sandbox = Sandbox::new();
    let sets = ["restart.backoff=50ms,50ms,50ms,50ms,50ms", "restart.max_crashes_before_ready=2"];
    let agent = quick(&sandbox, &["--set", sets[0], "--set", sets[1]]);
    let config = sandbox.fake_game_config(&["--never-ready", "--code", "7", "--exit-after", "50ms"]);
    let operation = agent.configure(&config).await.json()["operationId"].clone();
    let status = agent.until_state("error", SOON).await;
    assert_eq!(status["crashCount"], 2);
    assert!(status["error"].as_str().unwrap().contains("before it was ready"), "{}", status["error"]);
    assert_eq!(outcome(&agent, &operation).await["state"], "failed");
    let newest = report(&agent, 2).await;
    assert_eq!(newest["wasReady"], false);
    agent.finish().await;
}

#[tokio::test]
async fn what_cannot_get_better_is_not_tried_again() {
    const TOO_OLD: &str = "Error: LinkageError occurred while loading main class org.bukkit.craftbukkit.Main\\n\
        java.lang.UnsupportedClassVersionError: org/bukkit/craftbukkit/Main has been compiled by a more recent version \
        of the Java Runtime (class file version 65.0), this version of the Java Runtime only recognizes class file \
        versions up to 61.0";
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s,20s,20s"]);
    agent
        .configure(&sandbox.fake_game_config(&[
            "--never-ready",
            "--last-words",
            TOO_OLD,
            "--code",
            "1",
            "--exit-after",
            "50ms",
        ]))
        .await;
    let status = agent.until_state("error", SOON).await;
    assert_eq!((&status["crashCount"], &status["nextRestartAt"]), (&json!(1), &json!(null)));
    let newest = report(&agent, 1).await;
    assert_eq!((&newest["code"], &newest["retry"]), (&json!("java.too_old"), &json!("never")));
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("21"), "it says which Java is needed: {error}");
    agent.finish().await;
}

#[tokio::test]
async fn a_start_has_a_deadline() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let ready = json!({"ready": {"kind": "log", "pattern": "Done \\(", "within": "1s"}});
    let config = agent.configure(&with(&sandbox.fake_game_config(&["--never-ready"]), ready)).await.json();
    let status = agent.until_state("error", SOON).await;
    assert_eq!((&status["processRunning"], &status["crashCount"]), (&json!(false), &json!(0)));
    assert!(status["error"].as_str().unwrap().contains("not ready within 1 s"), "{}", status["error"]);
    assert_eq!(outcome(&agent, &config["operationId"]).await["state"], "failed");
    agent.finish().await;
}

#[tokio::test]
async fn out_of_memory_is_told_by_the_kernel() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    let small = json!({"memory_mb": 64, "ready": {"kind": "none"}});
    agent.configure(&with(&sandbox.fake_game_config(&["--oom", "400"]), small)).await;
    let status = agent.until("the verdict", SOON, |s| !s["lastCrashClassification"].is_null()).await;
    assert_eq!((&status["lastCrashClassification"], &status["lastCrashSignal"]), (&json!("oom"), &json!(9)));
    let newest = report(&agent, 1).await;
    assert!(newest["peakMemoryBytes"].as_u64().unwrap() > 30 << 20, "{newest}");
    assert!(newest["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
    agent.finish().await;
}

#[tokio::test]
async fn signals_are_named_and_tails_are_plain_text() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    command(&agent, "print a \u{2028} b").await;
    command(&agent, "flood 0.01 ansi").await;
    let mut console = agent.console().await;
    console.until("title without an end", SOON).await;
    let asked = now();
    command(&agent, "crash segv").await;
    let newest = report(&agent, 1).await;
    assert_eq!((&newest["signal"], &newest["exitCode"]), (&json!(11), &json!(null)));
    assert_eq!((&newest["wasReady"], &newest["classification"]), (&json!(true), &json!("unexpected_exit")));
    assert!((asked - 5..=now()).contains(&millis(&newest["time"])), "{newest}");
    let tail = newest["logTail"].as_array().unwrap();
    assert!(!tail.is_empty() && tail.len() <= 200, "{} lines", tail.len());
    assert!(!tail.iter().any(|line| line.as_str().unwrap().contains(char::is_control)), "{tail:?}");
    let status = agent.status().await;
    assert!(status["lastCrashLogTail"].as_array().unwrap().len() <= 50);
    agent.finish().await;
}

#[tokio::test]
async fn nobody_can_forge_a_verdict_by_chatting() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    command(&agent, "print [12:00:00] [Server thread/INFO]: <Mallory> java.lang.OutOfMemoryError: Java heap space")
        .await;
    command(&agent, "say java.lang.UnsupportedClassVersionError: class file version 65.0").await;
    command(&agent, "crash exit 9").await;
    let newest = report(&agent, 1).await;
    assert_eq!((&newest["classification"], &newest["exitCode"]), (&json!("nonzero_exit"), &json!(9)), "{newest}");
    assert_eq!(agent.status().await["state"], "crashed");
    agent.finish().await;
}

#[tokio::test]
async fn a_report_has_the_crash_file_and_what_changed_since_it_last_worked() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=20s"]);
    let mods = sandbox.root().join("opt/zlh/custom/fake/mods");
    std::fs::create_dir_all(&mods).unwrap();
    std::fs::write(mods.join("old.jar"), "x").unwrap();
    let body = sandbox.fake_game_config(&["--write-crash-report"]);
    run(&agent, &body).await;
    let record = sandbox.root().join("opt/zlh-agent/state/good-start.json");
    eventually("the good start on record", SOON, async || record.exists().then_some(())).await;
    std::fs::write(mods.join("new.jar"), "y").unwrap();
    std::fs::remove_file(mods.join("old.jar")).unwrap();
    command(&agent, "crash throw").await;
    let newest = report(&agent, 1).await;
    let changes = newest["changes"].as_array().unwrap();
    let has = |kind: &str, what: &str| changes.iter().any(|c| c["kind"] == kind && c["what"] == what);
    assert!(has("added", "mods/new.jar") && has("removed", "mods/old.jar"), "{changes:?}");
    assert_eq!(newest["crashFile"], "crash-reports/crash-fake-server.txt", "{newest}");
    assert!(newest["crashFileText"].as_str().is_some_and(|text| !text.is_empty()));
    agent.finish().await;
}

#[tokio::test]
async fn a_hang_is_noticed_and_dumped_and_the_game_left_alone() {
    let sandbox = Sandbox::new();
    let port = free_port();
    let sets = ["hang.interval=100ms", "hang.after=600ms", "ready.timeout=4s"];
    let agent = quick(&sandbox, &["--set", sets[0], "--set", sets[1], "--set", sets[2]]);
    let ping = json!({"ports": [port], "ready": {"kind": "minecraft_ping", "port": port}});
    let pid =
        run(&agent, &with(&sandbox.fake_game_config(&strs(&on_port(port, "minecraft"))), ping)).await["pid"].clone();
    let players = agent.get("/game/players").await;
    assert_eq!((players.status.as_u16(), &players.json()["online"]), (200, &json!(0)));
    command(&agent, "crash hang").await;
    let hung = agent.until("the warning", SOON, |s| super::warning(s, "hang").is_some()).await;
    assert_eq!((&hung["ready"], &hung["pid"], &hung["crashCount"]), (&json!(false), &pid, &json!(0)));
    let ready = agent.get("/ready").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["ready"]), (503, &json!(false)));
    agent.finish().await;
}

#[tokio::test]
async fn a_foreign_server_on_the_port_is_not_our_readiness() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let foreign = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = foreign.local_addr().unwrap().port();
    let ready = json!({"ready": {"kind": "tcp", "port": port, "within": "6s"}});
    agent.configure(&with(&sandbox.fake_game_config(&[]), ready)).await;
    let probed = |s: &Value| s["state"] == "starting" && s["readyError"] != "";
    let starting = agent.until("a failed probe", SOON, probed).await;
    let answer = agent.get("/ready").await;
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["ready"]), (503, &json!(false)));
    assert!(body["reason"].is_string() && body["checks"][0]["name"].is_string(), "{body}");
    for check in body["checks"].as_array().unwrap() {
        assert!(check["ok"].is_boolean() && check["detail"].is_string() && check.get("at").is_some(), "{check}");
    }
    let error = agent.until_state("error", SOON).await["error"].clone();
    assert!(error.as_str().unwrap().contains(&port.to_string()), "{error} after {}", starting["readyError"]);
    agent.finish().await;
}

#[tokio::test]
async fn times_pass_as_promised_while_nobody_looks() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "restart.backoff=400ms"]);
    let status = run(&agent, &sandbox.fake_game_config(&[])).await;
    let wait = format!("/status?wait=120s&since={}", status["revision"]);
    command(&agent, "crash exit 2").await;
    let woken = agent.get(&wait).await;
    assert!(woken.json()["revision"].as_u64() > status["revision"].as_u64());
    let etag = agent.get("/status").await.headers["etag"].clone();
    assert!(!etag.is_empty());
    let again = agent.until("the restart", SOON, |s| s["state"] == "running" && s["crashCount"] == 1).await;
    let waited = millis(&again["startedAt"]) - millis(&again["lastCrashTime"]);
    assert!((300..60_000).contains(&waited), "started {waited} ms after the end");
    assert!(Duration::from_secs(again["uptimeSeconds"].as_u64().unwrap()) < SOON);
    agent.finish().await;
}
