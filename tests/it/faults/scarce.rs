//! The agent may open no more files, or start no more processes: what it cannot do fails in words, what it was told is not
//! forgotten, and with room again everything works again.
use super::{Answer, Rig, rig::PATIENCE};
use crate::support::{Agent, eventually, install};
use serde_json::Value;
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// On every Debian.
const NOBODY: u32 = 65534;
const PLENTY: &str = "4096";

/// A limit of a living process (prlimit(1)).
fn limit(pid: u32, name: &str, value: &str) {
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--{name}={value}:")]).status();
    assert!(done.unwrap().success(), "prlimit {name}={value}");
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Posts once. Why it was refused or failed in the end, in the agent's own words; empty if neither.
async fn try_once(rig: &mut Rig, path: &str, body: Option<&Value>) -> String {
    let agent = rig.agent.as_ref().expect("an agent");
    let reply = agent.try_call(reqwest::Method::POST, path, body).await.expect("it answers on the connection it has");
    if !reply.status.is_success() {
        return reply.body;
    }
    let by_header = reply.headers.get("Operation-Id").and_then(|id| id.to_str().ok().map(String::from));
    let by_body = || reply.body_json()?["operationId"].as_str().map(String::from);
    let Some(id) = by_header.or_else(by_body) else { return String::new() };
    rig.seen.accepted.push(id.clone());
    let ended = eventually("an outcome", PATIENCE, async || {
        let operation = rig.get(&format!("/operations/{id}")).await?;
        ["done", "failed", "superseded"].contains(&operation["state"].as_str()?).then_some(operation)
    });
    ended.await["error"].as_str().unwrap_or_default().to_owned()
}

/// With `spare` files left it is told to do `path`; then it gets plenty and must come to rest as it was told.
async fn with_few_files(rig: &mut Rig, path: &str, body: Option<&Value>, spare: usize) -> bool {
    rig.get("/status").await.expect("a connection that stays");
    let pid = rig.agent.as_ref().unwrap().pid();
    limit(pid, "nofile", &(open_files(pid) + spare).to_string());
    let said = try_once(rig, path, body).await;
    limit(pid, "nofile", PLENTY);
    let scarce = ["os error 24", "Too many open files"].iter().any(|words| said.contains(words));
    assert!(said.is_empty() || scarce, "{path} with {spare}: {said}");
    !said.is_empty()
}

#[tokio::test]
async fn a_start_without_files_fails_in_words_and_works_with_files() {
    let mut failures = 0;
    for spare in 0..12 {
        let mut rig = Rig::new();
        assert!(rig.up("").await);
        let body = rig.config(&[]);
        failures += usize::from(with_few_files(&mut rig, "/config", Some(&body), spare).await);
        assert!(matches!(rig.ask("/config", Some(body)).await, Answer::Taken(_)));
        rig.quiet(&format!("{spare} files, then plenty"), |s| s["state"] == "running").await.expect("it lives");
        assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
        rig.quiet("killed", |s| s["state"] == "idle").await.expect("it lives");
        assert!(rig.leave());
    }
    assert!((1..12).contains(&failures), "{failures} of 12 failed: the limit is not where it hurts");
}

#[tokio::test]
async fn stop_kill_and_restart_without_files_leave_nothing_half_done() {
    for path in ["/stop", "/kill", "/restart"] {
        for spare in [0, 1, 2, 4, 8] {
            let mut rig = Rig::new();
            assert!(rig.up("").await);
            assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
            rig.quiet("up", |s| s["state"] == "running").await.expect("it lives");
            with_few_files(&mut rig, path, None, spare).await;
            let (again, state) = if path == "/restart" { ("/start", "running") } else { (path, "idle") };
            assert!(matches!(rig.ask(again, None).await, Answer::Taken(_)));
            rig.quiet(&format!("{path} with {spare} files, then plenty"), |s| s["state"] == state)
                .await
                .expect("it lives");
            assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
            rig.quiet("killed", |s| s["state"] == "idle").await.expect("it lives");
            assert!(rig.leave());
        }
    }
}

/// The program under a soft limit from its first moment on.
fn limited(rig: &Rig, name: &str, files: usize) -> PathBuf {
    let [text, program] = ["txt", "sh"].map(|end| rig.sandbox.root().join(format!("{name}.{end}")));
    let line = format!("ulimit -S -n {files}; exec {} \"$@\"", env!("CARGO_BIN_EXE_zlh"));
    fs::write(&text, format!("#!/bin/sh\n{line}\n")).unwrap();
    install(&text, &program);
    program
}

/// Whoever comes up takes the game up, at the latest when it may open files; whoever does not says why.
#[tokio::test]
async fn with_few_files_a_game_is_taken_up_or_left_alone() {
    let mut rig = Rig::new();
    assert!(rig.up("").await);
    assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
    rig.quiet("up", |s| s["state"] == "running").await.expect("it lives");
    let games = rig.games();
    let (mut came_up, mut did_not) = (0, 0);
    for files in 6..30 {
        rig.kill_agent();
        let program = limited(&rig, "limited", files);
        let log = fs::metadata(rig.sandbox.agent_log()).map_or(0, |about| about.len());
        let mut agent = Agent::spawn(&program, &rig.sandbox, &["--allow-unauthenticated"], &[]);
        if agent.listens() {
            came_up += 1;
            limit(agent.pid(), "nofile", PLENTY);
            rig.agent = Some(agent);
            rig.quiet(&format!("{files} files"), |s| s["state"] == "running").await.expect("it lives");
        } else {
            did_not += 1;
            let ended = eventually("its end", PATIENCE, async || agent.ended()).await;
            let said = fs::read_to_string(rig.sandbox.agent_log()).unwrap()[log as usize..].to_owned();
            assert!(!ended.success() && said.contains("Too many open files"), "{files} files: {ended}, {said}");
        }
        assert_eq!(rig.games(), games, "{files} files: the game has not noticed");
    }
    assert!(came_up > 0 && did_not > 0, "{came_up} came up, {did_not} did not: the limits are not where it hurts");
    rig.kill_agent();
    assert!(rig.up("").await);
    assert!(matches!(rig.ask("/stop", None).await, Answer::Taken(_)));
    rig.quiet("stopped", |s| s["state"] == "idle").await.expect("it lives");
    assert!(rig.leave());
}

/// A process of the account until dropped.
struct Other(Child);

impl Other {
    fn of(uid: u32) -> Other {
        Other(Command::new("sleep").arg("1000").uid(uid).spawn().unwrap())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("our own child");
    }
}

/// RLIMIT_NPROC does not count for root: a program of another account that has its share already is refused at execve(2).
#[tokio::test]
async fn a_launch_without_processes_is_tried_again_and_says_why() {
    let mut rig = Rig::new();
    assert!(rig.up("").await);
    let pid = rig.agent.as_ref().unwrap().pid();
    limit(pid, "nproc", "0");
    let mut body = rig.config(&[]);
    body["user"] = "nobody".into();
    let _other = Other::of(NOBODY);
    let said = try_once(&mut rig, "/config", Some(&body)).await;
    assert!(said.contains("no more processes are allowed"), "{said}");
    // The keeper took the limit along; with it goes the limit.
    limit(pid, "nproc", PLENTY);
    for keeper in rig.keepers() {
        limit(keeper as u32, "nproc", PLENTY);
    }
    rig.quiet("it is tried again by itself", |s| s["state"] == "running" && s["crashCount"] == 0)
        .await
        .expect("it lives");
    assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
    rig.quiet("killed", |s| s["state"] == "idle").await.expect("it lives");
    assert!(rig.leave());
}

/// A pids cgroup for one agent and all it starts; gone with the test.
struct Pids(PathBuf);

impl Pids {
    /// `None` where no such group can be made.
    fn of(agent: u32, marker: &str) -> Option<Pids> {
        let name = marker.rsplit('/').next()?;
        let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists())?;
        let group = Pids(root.join(name));
        fs::create_dir(&group.0).ok()?;
        group.0.join("pids.max").exists().then_some(())?;
        fs::write(group.0.join("cgroup.procs"), agent.to_string()).ok()?;
        Some(group)
    }

    fn allow(&self, more: Option<u64>) {
        let now: u64 = fs::read_to_string(self.0.join("pids.current")).unwrap().trim().parse().unwrap();
        let most = more.map_or_else(|| "max".to_owned(), |more| (now + more).to_string());
        fs::write(self.0.join("pids.max"), most).unwrap();
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        crate::support::eventually_now(PATIENCE, || fs::remove_dir(&self.0).is_ok().then_some(()));
    }
}

/// Neither a thread nor a keeper nor a game can be cloned, or only some of them.
#[tokio::test]
async fn a_start_without_room_for_a_process_fails_in_words_and_works_with_room() {
    let mut failures = 0;
    for room in 0..6 {
        let mut rig = Rig::new();
        rig.flags = ["--set", "restart.max_crashes_before_ready=1"].map(String::from).into();
        assert!(rig.up("").await);
        let Some(group) = Pids::of(rig.agent.as_ref().unwrap().pid(), rig.sandbox.marker()) else {
            return eprintln!("no pids controller can be used here");
        };
        group.allow(Some(room));
        let body = rig.config(&[]);
        let failed = try_once(&mut rig, "/config", Some(&body)).await;
        group.allow(None);
        failures += usize::from(!failed.is_empty());
        assert!(failed.is_empty() || failed.contains("os error 11"), "room for {room}: {failed}");
        assert!(matches!(rig.ask("/config", Some(body)).await, Answer::Taken(_)));
        rig.quiet(&format!("room for {room}, then plenty"), |s| s["state"] == "running").await.expect("it lives");
        assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
        rig.quiet("killed", |s| s["state"] == "idle").await.expect("it lives");
        assert!(rig.leave());
    }
    assert!(failures > 0, "the limit is not where it hurts");
}

/// As many as the limit allows, and none of them outlives a kill.
#[tokio::test]
async fn a_fork_bomb_stays_within_its_limit_and_ends_with_a_kill() {
    const MOST: usize = 48;
    let mut rig = Rig::new();
    rig.flags = ["--set".to_owned(), format!("game.max_processes={MOST}")].into();
    assert!(rig.up("").await);
    let mut body = rig.config(&[]);
    // Whoever cannot fork any more gives up; whom it has forked stays.
    let bomb = "echo 'Done (0 s)'; read -r line; (while :; do sleep 1000 & done); exec sleep 1000";
    body["command"] = serde_json::json!(["/bin/sh", "-c", bomb]);
    assert!(matches!(rig.ask("/config", Some(body)).await, Answer::Taken(_)));
    rig.until("up", |s| s["state"] == "running").await;
    let status = rig.get("/status").await.unwrap();
    if status["warnings"].to_string().contains("cgroup_pids_unavailable") {
        return eprintln!("no pids controller can be used here: {}", status["warnings"]);
    }
    assert!(matches!(rig.say("now").await, Answer::Taken(_)));
    let mut most = 0;
    eventually("as many as are allowed", PATIENCE, async || {
        most = most.max(rig.games().len());
        assert!(most <= MOST, "{most} processes");
        (most > MOST - 4).then_some(())
    })
    .await;
    assert_eq!(rig.agent.as_ref().unwrap().get("/health").await.body, "ok");
    assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
    rig.until("killed", |s| s["state"] == "idle").await;
    rig.quiet("nobody is left", |s| s["crashCount"] == 0).await.expect("it lives");
    assert!(rig.leave());
}
