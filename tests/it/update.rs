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
        self.build_of(NEXT)
    }

    fn build_of(&self, version: &str) -> Vec<u8> {
        assert_eq!(OWN.len(), version.len());
        let path = self.sandbox.root().join("next-build");
        let swap = format!("s/{}/{version}/g", OWN.replace('.', "[.]"));
        let mut sed = Command::new("sed");
        sed.env("LC_ALL", "C").args([&swap, env!("CARGO_BIN_EXE_zlh")]).stdout(File::create(&path).unwrap());
        assert!(sed.status().unwrap().success());
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        bytes
    }

    /// Publishes it as [`NEXT`]; its hash, or another one.
    fn publish(&self, program: &[u8], claimed: Option<&str>) {
        self.publish_as(NEXT, program, claimed);
    }

    fn publish_as(&self, version: &str, program: &[u8], claimed: Option<&str>) {
        let binary = format!("versions/{version}/zlh-agent-linux-amd64");
        let sha256 = self.artifacts.put(&format!("agents/{binary}"), program);
        let build = json!({"binary": binary, "sha256": claimed.unwrap_or(&sha256), "size": program.len()});
        let manifest = json!({
            "latest": version, "channels": {"stable": version},
            "artifacts": {version: {"linux_amd64": build}},
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
        let mut agent = self.start(more, env);
        assert!(agent.listens());
        agent
    }

    /// It may die before it listens.
    fn start(&self, more: &[&str], env: &[(&str, &str)]) -> Agent {
        let url = self.artifacts.url();
        let mut flags = vec!["--allow-unauthenticated", "--artifacts-url", &url, "--set", "install.backoff=10ms"];
        flags.extend(["--set", "agent.update_mode=off"]);
        flags.extend(more);
        Agent::spawn(&self.program(), &self.sandbox, &flags, env)
    }

    /// `zlh artifacts` over the folder that is served.
    fn publisher(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
        command.args(["artifacts", "--store"]).arg(self.artifacts.root()).args(words).env_remove("ZLH_ARTIFACTS_KEY");
        let done = command.output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
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

/// Orders what the channel promotes; the operation.
async fn order(agent: &Agent) -> String {
    let reply = agent.post("/agent/update").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply.json()["operationId"].as_str().unwrap().to_owned()
}

/// The program that comes in its place listens. More patient than a start is: it is fetched and tried before.
fn comes_back(agent: &mut Agent) -> bool {
    (0..4).any(|_| agent.listens())
}

/// How it ended, whichever program says so.
async fn outcome(agent: &Agent, operation: &str) -> (String, String) {
    let path = format!("/operations/{operation}");
    let ended = eventually("an outcome", WITHIN, async || {
        let reply = agent.try_call(reqwest::Method::GET, &path, None).await.ok()?;
        let row = reply.body_json().filter(|_| reply.status != 503)?;
        (!matches!(row["state"].as_str(), Some("queued" | "running"))).then_some(row)
    });
    let row = ended.await;
    assert_eq!((&row["kind"], row["endedAt"].is_string()), (&json!("update"), true), "{row}");
    (row["state"].as_str().unwrap().to_owned(), row["error"].as_str().unwrap_or_default().to_owned())
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
    // The warning comes by another way, a moment later on a busy machine.
    agent.until("the warning", WITHIN, |s| s["warnings"].to_string().contains("update_available")).await;

    let operation = order(&agent).await;
    assert!(comes_back(&mut agent), "the new program listens");
    assert_eq!(outcome(&agent, &operation).await, ("done".into(), String::new()), "told by the program it led to");
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
        let reply = agent.post_json("/agent/update", &json!({"version": NEXT})).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let (state, told) = outcome(&agent, reply.json()["operationId"].as_str().unwrap()).await;
        let after = settled(&agent).await;
        let said = after["lastError"].as_str().unwrap_or_default();
        assert_eq!((state.as_str(), told.as_str()), ("failed", said));
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
    let operation = order(&agent).await;
    assert!(comes_back(&mut agent), "the previous program listens again");
    let after = settled(&agent).await;
    assert_eq!((&after["current"], &after["updateAvailable"]), (&json!("v0.1.0"), &json!(false)), "{after}");
    assert_eq!(rig.current().as_deref(), Some(OWN));
    let (state, why) = outcome(&agent, &operation).await;
    assert!(state == "failed" && after["lastError"].as_str().unwrap().contains(&why), "{state} {why}: {after}");
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
    let points = [
        ("install.file_synced", "v0.1.0", "failed"),
        ("update.recorded", "v0.1.0", "failed"),
        ("update.switched", "v0.2.0", "done"),
    ];
    for (point, expected, ended) in points {
        let rig = Rig::new();
        rig.publish(&rig.next_build(), None);
        let mut agent = rig.agent(&[], &[("ZLH_FAIL", point)]);
        let pid = game(&rig, &agent).await;
        let operation = order(&agent).await;
        eventually_now(WITHIN, || agent.ended()).expect("it is killed at its point");
        let next = rig.agent(&[], &[]);
        assert_eq!(outcome(&next, &operation).await.0, ended, "{point}");
        let after = settled(&next).await;
        assert_eq!((&after["current"], &after["lastError"]), (&json!(expected), &Value::Null), "{point}: {after}");
        untouched(&next, &pid).await;
        next.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_keys_are_trusted_only_a_signed_manifest_is_followed() {
    let rig = Rig::new();
    rig.publish(&rig.next_build(), None);
    let [(mine, key), (other, _)] = ["mine", "other"].map(|name| {
        let file = rig.sandbox.root().with_file_name(name).display().to_string();
        (file.clone(), rig.publisher(&["keygen", &file]))
    });
    let mut agent = rig.agent(&["--set", &format!("trusted_keys={key}")], &[]);
    let (pid, process) = (game(&rig, &agent).await, agent.pid());
    let manifest = "agents/manifest.json";
    for (signer, changed, why) in [
        (None, false, "no signature beside it"),
        (Some(&other), false, "none of these is in trusted_keys"),
        (Some(&mine), true, "changed after it was signed"),
    ] {
        signer.into_iter().for_each(|key| _ = rig.publisher(&["sign", "--key", key]));
        let signed = fs::read(rig.artifacts.root().join(manifest)).unwrap();
        if changed {
            rig.artifacts.put(manifest, &[&signed[..], b" "].concat());
        }
        let (state, said) = outcome(&agent, &order(&agent).await).await;
        assert_eq!(state, "failed");
        assert!(said.contains(why) && said.contains(&format!("{}/{manifest}", rig.artifacts.url())), "{said}");
        assert_eq!((settled(&agent).await["current"].clone(), rig.current()), (json!("v0.1.0"), None));
        rig.artifacts.put(manifest, &signed);
    }
    let operation = order(&agent).await;
    assert!(comes_back(&mut agent), "the new program listens");
    assert_eq!(outcome(&agent, &operation).await.0, "done");
    assert_eq!((settled(&agent).await["current"].clone(), agent.pid()), (json!("v0.2.0"), process));
    untouched(&agent, &pid).await;
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_itself_it_takes_what_is_good_and_never_again_what_was_not() {
    let rig = Rig::new();
    let auto = ["--set", "agent.update_mode=auto", "--set", "agent.update_interval=300ms"];
    let mut agent = rig.agent(&auto, &[]);
    let (pid, process) = (game(&rig, &agent).await, agent.pid());
    rig.publish(b"#!/bin/sh\necho no libraries >&2\nexit 3\n", None);
    let failed = async || standing(&agent).await.filter(|s| s["failed"][NEXT].is_string());
    let tried = eventually("a version that failed", WITHIN, failed).await;
    let looked = async || standing(&agent).await.filter(|s| s["lastCheckAt"] != tried["lastCheckAt"]);
    eventually("another look", WITHIN, looked).await;
    let rows = agent.get("/operations").await.json();
    let updates: Vec<&Value> =
        rows["operations"].as_array().unwrap().iter().filter(|o| o["kind"] == "update").collect();
    assert_eq!(updates.len(), 1, "tried once: {rows}");
    assert_eq!((&updates[0]["holder"], &updates[0]["state"]), (&json!("agent"), &json!("failed")));

    // Another version of that name never comes; the one after it does.
    let next = NEXT.replace("0.2", "0.3");
    let build = rig.build_of(&next);
    rig.publish_as(&next, &build, None);
    assert!(comes_back(&mut agent), "the new program listens");
    let after = settled(&agent).await;
    assert_eq!((&after["current"], agent.pid()), (&json!(format!("v{next}")), process), "{after}");
    untouched(&agent, &pid).await;
    let rows = agent.get("/operations").await.json();
    let newest = rows["operations"].as_array().unwrap().iter().find(|o| o["kind"] == "update").unwrap();
    assert_eq!((&newest["holder"], &newest["state"]), (&json!("agent"), &json!("done")), "{rows}");
    agent.finish().await;
}

/// systemd sets this for whatever it starts.
const SUPERVISED: (&str, &str) = ("INVOCATION_ID", "of-a-test");

#[tokio::test(flavor = "multi_thread")]
async fn a_supervised_agent_updates_under_its_viewers() {
    let rig = Rig::new();
    rig.publish(&rig.next_build(), None);
    let mut agent = rig.agent(&[], &[SUPERVISED]);
    let process = agent.pid();
    // 200 numbered lines a second.
    agent.configure(&rig.sandbox.fake_game_config(&["--flood", "4@0.02"])).await;
    let pid = agent.until("a game", WITHIN, |s| s["state"] == "running" && s["ready"] == true).await["pid"].clone();
    agent.until("no operation", WITHIN, |s| s["operationInProgress"] == false).await;
    let mut before = agent.console_v1("?from=0").await;
    let hello = before.until_frame("hello", WITHIN).await;
    before.until("flood 000000000100 ", WITHIN).await;
    let operation = order(&agent).await;
    before.until_closed(WITHIN).await;
    assert!(comes_back(&mut agent), "the new program listens");
    let mut seen = std::mem::take(&mut before.output);
    let mut after = agent.console_v1(&format!("?from={}&epoch={}", seen.len(), hello["epoch"])).await;
    assert_eq!(after.until_frame("hello", WITHIN).await["offset"], seen.len(), "where the old program ended");
    let next = lines(&seen).last().unwrap() + 200;
    after.until(&format!("flood {next:012} "), WITHIN).await;
    seen.append(&mut after.output);
    let all = lines(&seen);
    assert!(all.len() as u32 >= next && all.iter().copied().eq(1..=all.len() as u32), "no line is lost or comes twice");
    assert_eq!(outcome(&agent, &operation).await.0, "done");
    let status = agent.until("the same game", WITHIN, |s| s["pid"] == pid).await;
    assert_eq!((&status["crashCount"], &status["agentVersion"]), (&json!(0), &json!("v0.2.0")));
    assert_eq!((agent.pid(), agent.ended().is_none()), (process, true));
    agent.finish().await;
}

/// The numbers of the whole lines in a flood.
fn lines(seen: &[u8]) -> Vec<u32> {
    let text = String::from_utf8_lossy(seen);
    let starts = text.split("flood ").skip(1).filter(|rest| rest.len() > 12);
    starts.map(|rest| rest[..12].parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervised_agent_whose_update_keeps_dying_comes_back_as_it_was() {
    let rig = Rig::new();
    rig.publish(&rig.next_build(), None);
    let env = [SUPERVISED, ("ZLH_FAIL", "update.on_trial")];
    let mut agent = rig.agent(&[], &env);
    let pid = game(&rig, &agent).await;
    let operation = order(&agent).await;
    let mut starts = 0;
    // As a supervisor does: whatever dies is started again.
    loop {
        eventually_now(WITHIN, || agent.ended()).expect("a version on trial dies here");
        starts += 1;
        agent = rig.start(&[], &env);
        if agent.listens() {
            break;
        }
    }
    assert_eq!(starts, 3, "agent.update_starts");
    let (state, why) = outcome(&agent, &operation).await;
    assert!(state == "failed" && why.contains("started 3 times without becoming healthy"), "{state}: {why}");
    let after = settled(&agent).await;
    assert_eq!((&after["current"], rig.current().as_deref()), (&json!("v0.1.0"), Some(OWN)), "{after}");
    untouched(&agent, &pid).await;
    agent.finish().await;
}
