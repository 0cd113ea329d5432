//! The agent updates itself: a served manifest, real programs, a game that does not notice.
use crate::support::{Agent, Artifacts, Sandbox, end_all, eventually, eventually_now, install};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    time::Duration,
};

/// Far more than any of it takes on a slow machine.
const WITHIN: Duration = Duration::from_secs(180);
const OWN: &str = env!("CARGO_PKG_VERSION");
/// As long as the own version: it is written over it.
const NEXT: &str = "0.2.0";

struct Rig {
    artifacts: Artifacts,
    sandbox: Sandbox,
}

impl Rig {
    fn new() -> Rig {
        Rig { artifacts: Artifacts::serve(), sandbox: Sandbox::new() }
    }

    /// The program under test with another version in it.
    fn next_build(&self) -> Vec<u8> {
        assert_eq!(OWN.len(), NEXT.len());
        let path = self.sandbox.root().join("next-build");
        let swap = format!("s/{}/{NEXT}/g", OWN.replace('.', "[.]"));
        let mut sed = Command::new("sed");
        sed.env("LC_ALL", "C").args([&swap, env!("CARGO_BIN_EXE_zlh")]).stdout(File::create(&path).unwrap());
        assert!(sed.status().unwrap().success());
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        bytes
    }

    /// Publishes it as [`NEXT`]; its hash, or another one.
    fn publish(&self, program: &[u8], claimed: Option<&str>) {
        let binary = format!("versions/{NEXT}/zlh-agent-linux-amd64");
        let sha256 = self.artifacts.put(&format!("agents/{binary}"), program);
        let build = json!({"binary": binary, "sha256": claimed.unwrap_or(&sha256), "size": program.len()});
        let manifest = json!({
            "latest": NEXT, "channels": {"stable": NEXT},
            "artifacts": {NEXT: {"linux_amd64": build}},
        });
        self.artifacts.put("agents/manifest.json", manifest.to_string().as_bytes());
    }

    /// A program of its own, as a package would put it there.
    fn program(&self) -> PathBuf {
        let path = self.sandbox.root().join("zlh-installed");
        if !path.exists() {
            install(env!("CARGO_BIN_EXE_zlh").as_ref(), &path);
        }
        path
    }

    fn agent(&self, more: &[&str], env: &[(&str, &str)]) -> Agent {
        let url = self.artifacts.url();
        let mut flags = vec!["--allow-unauthenticated", "--artifacts-url", &url, "--set", "install.backoff=10ms"];
        flags.extend(["--set", "agent.update_mode=off"]);
        flags.extend(more);
        let mut agent = Agent::spawn(&self.program(), &self.sandbox, &flags, env);
        assert!(agent.listens());
        agent
    }

    fn current(&self) -> Option<String> {
        let link = fs::read_link(self.sandbox.root().join("opt/zlh-agent/current")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }
}

/// A game that lives; its pid.
async fn game(rig: &Rig, agent: &Agent) -> Value {
    agent.configure(&rig.sandbox.fake_game_config(&[])).await;
    agent
        .until("a game", WITHIN, |s| s["state"] == "running" && s["ready"] == true && s["operationInProgress"] == false)
        .await["pid"]
        .clone()
}

async fn standing(agent: &Agent) -> Option<Value> {
    agent.try_call(reqwest::Method::GET, "/agent/update/status", None).await.ok()?.body_json()
}

async fn settled(agent: &Agent) -> Value {
    eventually("an update that is over", WITHIN, async || standing(agent).await.filter(|s| s["state"] == "idle")).await
}

/// The game as it was before, seen by the agent that runs now, and its console still takes lines.
async fn untouched(agent: &Agent, pid: &Value) {
    agent.until("the same game", WITHIN, |s| s["pid"] == *pid && s["state"] == "running" && s["crashCount"] == 0).await;
    let mut console = agent.console().await;
    console.type_line("say after the update").await;
    console.until("after the update", WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_keeps_the_process_the_game_and_its_console() {
    let rig = Rig::new();
    rig.publish(&rig.next_build(), None);
    let mut agent = rig.agent(&[], &[]);
    let (pid, process) = (game(&rig, &agent).await, agent.pid());
    let looked = agent.post_json("/agent/update", &json!({"check": true})).await;
    assert_eq!(looked.status, 202, "{looked:?}");
    let found = settled(&agent).await;
    assert_eq!((&found["updateAvailable"], &found["latest"]), (&json!(true), &json!("v0.2.0")), "{found}");
    assert!(agent.status().await["warnings"].to_string().contains("update_available"));

    assert_eq!(agent.post("/agent/update").await.status, 202);
    assert!(agent.listens(), "the new program listens");
    let after = settled(&agent).await;
    assert_eq!((&after["current"], &after["lastError"]), (&json!("v0.2.0"), &Value::Null), "{after}");
    assert_eq!((agent.pid(), agent.ended().is_none()), (process, true));
    assert_eq!(rig.current().as_deref(), Some(NEXT));
    untouched(&agent, &pid).await;

    // Whoever starts the installed program again gets what it was updated to.
    agent.kill_9();
    let again = rig.agent(&[], &[]);
    assert_eq!(again.get("/version").await.json()["version"], "v0.2.0");
    untouched(&again, &pid).await;
    again.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_run_by_itself_is_refused_with_the_reason() {
    let wrong = "0".repeat(64);
    let table: [(&[u8], Option<&str>, &str); 4] = [
        (b"#!/bin/sh\necho no libraries >&2\nexit 3\n", None, "no libraries"),
        (b"#!/bin/sh\nexec sleep 600\n", None, "did not listen"),
        (b"#!/bin/sh\nexit 0\n", Some(&wrong), "SHA-256"),
        (b"\x7fELF and nothing more", None, "could not be run"),
    ];
    let rig = Rig::new();
    for (program, claimed, why) in table {
        rig.publish(program, claimed);
        let agent = rig.agent(&["--set", "agent.update_within=10s"], &[]);
        settled(&agent).await;
        assert_eq!(agent.post_json("/agent/update", &json!({"version": NEXT})).await.status, 202);
        let after = settled(&agent).await;
        let said = after["lastError"].as_str().unwrap_or_default();
        assert!(said.to_lowercase().contains(&why.to_lowercase()), "{why}: {after}");
        assert_eq!((&after["current"], rig.current()), (&json!("v0.1.0"), None));
        agent.finish().await;
    }
}

/// The new program runs by itself, but not in place of the old one: this is the agent that comes back.
async fn taken_back(point: &str, settings: &[&str]) -> (Rig, Agent, Value, Value) {
    let rig = Rig::new();
    rig.publish(&rig.next_build(), None);
    let mut agent = rig.agent(settings, &[("ZLH_FAIL", point)]);
    let pid = game(&rig, &agent).await;
    assert_eq!(agent.post("/agent/update").await.status, 202);
    // A watchdog is more patient than a test that starts an agent.
    assert!(agent.listens() || agent.listens(), "the previous program listens again");
    let after = settled(&agent).await;
    assert_eq!((&after["current"], &after["updateAvailable"]), (&json!("v0.1.0"), &json!(false)), "{after}");
    assert_eq!(rig.current().as_deref(), Some(OWN));
    (rig, agent, after, pid)
}

/// The agent that the watchdog started is not the child of this test.
async fn ended_by_signal(rig: &Rig, agent: &Agent) {
    let killed = agent.post("/kill").await;
    assert!(killed.status.is_success(), "{killed:?}");
    agent.until("no game", WITHIN, |s| s["processRunning"] == false).await;
    end_all(rig.sandbox.marker());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_that_dies_at_once_is_taken_back() {
    let (rig, agent, after, pid) = taken_back("update.on_trial", &[]).await;
    assert!(after["lastError"].as_str().unwrap().contains("ended before"), "{after}");
    assert!(after["failed"][NEXT].is_string(), "{after}");
    untouched(&agent, &pid).await;
    ended_by_signal(&rig, &agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_that_hangs_is_taken_back() {
    let (rig, agent, after, pid) = taken_back("update.on_trial:stop", &["--set", "agent.update_within=20s"]).await;
    assert!(after["lastError"].as_str().unwrap().contains("silent"), "{after}");
    untouched(&agent, &pid).await;
    ended_by_signal(&rig, &agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_the_next_start_is_one_of_the_two() {
    for (point, expected) in [("update.recorded", "v0.1.0"), ("update.switched", "v0.2.0")] {
        let rig = Rig::new();
        rig.publish(&rig.next_build(), None);
        let mut agent = rig.agent(&[], &[("ZLH_FAIL", point)]);
        let pid = game(&rig, &agent).await;
        assert_eq!(agent.post("/agent/update").await.status, 202);
        eventually_now(WITHIN, || agent.ended()).expect("it is killed at its point");
        let next = rig.agent(&[], &[]);
        let after = settled(&next).await;
        assert_eq!((&after["current"], &after["lastError"]), (&json!(expected), &Value::Null), "{point}: {after}");
        untouched(&next, &pid).await;
        next.finish().await;
    }
}
