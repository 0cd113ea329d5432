//! Agents come and go, by kill -9 or in order; the game, its console, its counters and its pending restart do not.
use super::{LATER, SOON, command, outcome, quick, run, with};
use crate::support::{Agent, Console, Sandbox, eventually, strays};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::time::Duration;

/// The keeper of this sandbox's game.
fn keeper(sandbox: &Sandbox) -> i32 {
    let keepers: Vec<_> = strays(sandbox.marker()).into_iter().filter(|s| s.command.contains(" keeper ")).collect();
    assert_eq!(keepers.len(), 1, "{:?}", strays(sandbox.marker()));
    keepers[0].pid
}

async fn recovered(agent: &Agent) -> Value {
    agent.until("the first look around", SOON, |s| s["config"]["vmid"] == 5100 && s["crashCount"].is_u64()).await
}

#[tokio::test]
async fn three_kills_of_the_agent_cost_a_viewer_not_a_byte() {
    let sandbox = Sandbox::new();
    let mut agent = quick(&sandbox, &[]);
    // 200 lines of 100 bytes a second; every life sees some of them.
    let body = sandbox.fake_game_config(&["--flood", "0.16@0.02"]);
    let pid = run(&agent, &body).await["pid"].clone();
    let (mut seen, mut from) = (Vec::new(), "?from=0".to_owned());
    for life in 0..4 {
        let mut console = agent.console_v1(&from).await;
        let hello = console.until_frame("hello", SOON).await;
        assert_eq!(hello["offset"], seen.len(), "life {life} goes on where the last one ended");
        let wanted =
            if life == 3 { "flood 000000001600 ".to_owned() } else { format!("flood {:012} ", (life + 1) * 300) };
        console.until(&wanted, LATER).await;
        if life == 3 {
            console.until(".\n", SOON).await;
        } else {
            agent.kill_9();
            console.until_closed(SOON).await;
            agent = quick(&sandbox, &[]);
        }
        assert_eq!(console.frames.len(), 1, "only the hello: {:?}", console.frames);
        seen.append(&mut console.output);
        from = format!("?from={}&epoch={}", seen.len(), hello["epoch"]);
    }
    let text = String::from_utf8(seen).unwrap();
    let numbers: Vec<u32> = text.split("flood ").skip(1).map(|rest| rest[..12].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=1600).collect::<Vec<u32>>());
    let status = recovered(&agent).await;
    assert_eq!((&status["pid"], &status["state"], &status["crashCount"]), (&pid, &json!("running"), &json!(0)));
    agent.finish().await;
}

#[tokio::test]
async fn killed_while_starting_the_start_goes_on() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let config = agent.configure(&sandbox.fake_game_config(&["--ready-after", "1500ms"])).await.json();
    let pid = agent.until("the process", SOON, |s| s["processRunning"] == true).await["pid"].clone();
    agent.kill_9();
    let agent = quick(&sandbox, &[]);
    let status = agent.until_state("running", SOON).await;
    assert_eq!((&status["pid"], &status["crashCount"]), (&pid, &json!(0)));
    assert_eq!(outcome(&agent, &config["operationId"]).await["state"], "done");
    agent.finish().await;
}

#[tokio::test]
async fn killed_while_stopping_the_ladder_goes_on() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let ladder = json!({"stop": [{"stdin": "stop", "wait": "1s"}, {"signal": "SIGTERM", "wait": "500ms"}]});
    run(&agent, &with(&sandbox.fake_game_config(&["--ignore-term", "--stop-command", "none"]), ladder)).await;
    let stop = agent.post("/stop").await;
    let id = json!(stop.headers["operation-id"].to_str().unwrap());
    agent.kill_9();
    let agent = quick(&sandbox, &[]);
    assert_eq!(outcome(&agent, &id).await["state"], "done");
    let status = agent.until_state("idle", SOON).await;
    assert_eq!((&status["processRunning"], &status["crashCount"]), (&json!(false), &json!(0)));
    agent.finish().await;
}

#[tokio::test]
async fn killed_in_the_backoff_only_the_rest_of_it_is_waited() {
    let sandbox = Sandbox::new();
    let backoff = ["--set", "restart.backoff=12s"];
    let agent = quick(&sandbox, &backoff);
    agent.configure(&sandbox.fake_game_config(&["--code", "4", "--exit-after", "1s"])).await;
    let crashed = agent.until_state("crashed", SOON).await;
    agent.kill_9();
    let agent = quick(&sandbox, &backoff);
    let again = agent.until("what the last life knew", SOON, |s| s["state"] == "crashed").await;
    for field in ["crashCount", "restartAttempt", "lastCrashTime", "lastCrashExitCode"] {
        assert_eq!(again[field], crashed[field], "{field}");
    }
    let up = agent.until_state("running", SOON).await;
    let [due, still_due, started] =
        [&crashed["nextRestartAt"], &again["nextRestartAt"], &up["startedAt"]].map(super::millis);
    // Counted from the crash, by clocks that are read one after the other; the next agent comes later than that.
    assert!((due - still_due).abs() < 400, "due at {still_due} after {due}");
    assert!(started + 400 >= due, "started {} ms before it was due", due - started);
    agent.finish().await;
}

#[tokio::test]
async fn a_crash_while_no_agent_lives_is_told_with_its_true_time() {
    let sandbox = Sandbox::new();
    let backoff = ["--set", "restart.backoff=300ms,20s"];
    let agent = quick(&sandbox, &backoff);
    let started = run(&agent, &sandbox.fake_game_config(&["--code", "4", "--exit-after", "6s"])).await;
    let pid = Pid::from_raw(started["pid"].as_i64().unwrap() as i32);
    agent.kill_9();
    eventually("the end of the game", SOON, async || kill(pid, None).is_err().then_some(())).await;
    let after = super::now();
    let agent = quick(&sandbox, &backoff);
    let status = agent.until("the crash and the restart", SOON, |s| s["crashCount"] == 1 && s["state"] == "running");
    let status = status.await;
    let [born, died] = [&started["startedAt"], &status["lastCrashTime"]].map(super::millis);
    assert!(died - born >= 5_600 && died <= after, "died {} ms after its start", died - born);
    assert_eq!(status["lastCrashExitCode"], 4);
    agent.finish().await;
}

#[tokio::test]
async fn a_config_saved_beside_a_run_survives_and_is_used_by_the_next_start() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let body = sandbox.fake_game_config(&[]);
    run(&agent, &body).await;
    let mut other = body.clone();
    other["env"]["FLAVOUR"] = json!("vanilla");
    let config = agent.configure(&other).await.json();
    agent.kill_9(); // right after the 202: what was acknowledged is never forgotten
    let agent = quick(&sandbox, &[]);
    assert_eq!(outcome(&agent, &config["operationId"]).await["state"], "done");
    let status = agent.until_state("running", SOON).await;
    assert_eq!(status["config"]["env"]["FLAVOUR"], "vanilla");
    let restart = agent.post("/restart").await.json();
    assert_eq!(outcome(&agent, &restart["operationId"]).await["state"], "done");
    let mut console = agent.console().await;
    command(&agent, "env FLAVOUR").await;
    console.until("FLAVOUR=vanilla", SOON).await;
    agent.finish().await;
}

#[tokio::test]
async fn asked_to_end_it_leaves_the_game_or_stops_it_as_it_was_told() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "on_agent_stop=leave"]);
    let pid = run(&agent, &sandbox.fake_game_config(&[])).await["pid"].clone();
    assert!(agent.terminate().success());
    let agent = quick(&sandbox, &["--set", "on_agent_stop=stop"]);
    assert_eq!(agent.until_state("running", SOON).await["pid"], pid);
    assert!(agent.terminate().success());
    assert_eq!(strays(sandbox.marker()), []);
    let agent = quick(&sandbox, &[]);
    // It was not the operator who stopped it: as after a reboot, it runs again.
    let status = agent.until_state("running", SOON).await;
    assert!(status["pid"] != pid && status["crashCount"] == 0, "{status}");
    agent.finish().await;
}

/// The moment a new agent is asked to kill hits a different phase of its autostart each time.
#[tokio::test]
async fn a_kill_in_the_first_moments_of_a_life_is_never_outrun_by_the_autostart() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &["--set", "on_agent_stop=stop"]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    assert!(agent.terminate().success());
    for round in 0..6 {
        let agent = quick(&sandbox, &["--set", "on_agent_stop=stop"]);
        agent.until("the moment", SOON, |s| s["revision"].as_u64() > Some(round)).await;
        assert_eq!(agent.post("/kill").await.status, 204);
        let status = agent.until("rest", SOON, |s| s["state"] == "idle" && s["config"]["vmid"] == 5100).await;
        let later = agent.get(&format!("/status?wait=500ms&since={}", status["revision"])).await.json();
        assert_eq!((&later["state"], &later["processRunning"]), (&json!("idle"), &json!(false)), "round {round}");
        assert_eq!(agent.post("/start").await.status, 202);
        agent.until_state("running", SOON).await;
        assert!(agent.terminate().success());
    }
}

fn kill_9(pid: i32) {
    assert!(pid > 1);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap(); // found among this sandbox's own processes just now
}

async fn talks(agent: &Agent, console: &mut Console, word: &str) {
    command(agent, &format!("say {word}")).await;
    console.until(&format!("[Server] {word}"), SOON).await;
}

#[tokio::test]
async fn a_killed_keeper_costs_nothing() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    let pid = run(&agent, &sandbox.fake_game_config(&[])).await["pid"].clone();
    let mut console = agent.console().await;
    talks(&agent, &mut console, "before").await;
    let old = keeper(&sandbox);
    kill_9(old);
    eventually("another keeper", SOON, async || {
        strays(sandbox.marker()).iter().any(|s| s.command.contains(" keeper ") && s.pid != old).then_some(())
    })
    .await;
    eventually("the new keeper to take a line", SOON, async || {
        let reply = agent.post_json("/console/command", &json!({"command": "say after"})).await;
        reply.status.is_success().then_some(())
    })
    .await;
    console.until("[Server] after", SOON).await;
    let status = agent.status().await;
    assert_eq!((&status["pid"], &status["state"], &status["crashCount"]), (&pid, &json!("running"), &json!(0)));
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    agent.finish().await;
}

#[tokio::test]
async fn with_agent_and_keeper_both_killed_no_second_game_runs_beside_the_first() {
    let sandbox = Sandbox::new();
    let mark = format!("{}#game", sandbox.marker());
    let body =
        with(&sandbox.fake_game_config(&[]), json!({"env": {"GAME_MARK": mark, "ZLH_TEST_ID": sandbox.marker()}}));
    let agent = quick(&sandbox, &["--set", "restart.backoff=100ms"]);
    run(&agent, &body).await;
    let held_by = keeper(&sandbox);
    agent.kill_9();
    kill_9(held_by);
    let agent = quick(&sandbox, &["--set", "restart.backoff=100ms"]);
    let settled = |s: &Value| s["state"] == "running" && s["ready"] == true;
    let status = agent.until("a game again", SOON, settled).await;
    let games: Vec<_> = strays(&mark).into_iter().map(|s| s.pid).collect();
    assert_eq!(games, [status["pid"].as_i64().unwrap() as i32]);
    let mut console = agent.console().await;
    talks(&agent, &mut console, "hello again").await;
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    assert_eq!(strays(&mark), []);
    agent.finish().await;
}

#[tokio::test]
async fn a_stopped_game_stays_stopped_in_the_next_life() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    assert_eq!(agent.post("/stop?wait=120s").await.status, 204);
    agent.kill_9();
    let agent = quick(&sandbox, &[]);
    let status = recovered(&agent).await;
    let later = agent.get(&format!("/status?wait=1s&since={}", status["revision"])).await.json();
    assert_eq!((&later["state"], &later["processRunning"]), (&json!("idle"), &json!(false)));
    let log = agent.get("/console/log?from=0").await;
    assert!(log.body.contains("All dimensions are saved"), "the history is still there: {log:?}");
    assert!(Duration::from_secs(later["uptimeSeconds"].as_u64().unwrap()).is_zero());
    agent.finish().await;
}
