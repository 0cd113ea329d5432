//! A person at the editor of a dev container, with a real browser on its own port; and an editor at which nobody is.
use crate::{
    codeserver::{Rig, up},
    it::support::{Agent, eventually, eventually_now},
    parts::ide_part,
    workspace::lay_out,
};
use nix::unistd::{Uid, User, chown};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A browser that starts on a busy machine.
const BROWSES_WITHIN: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(120);

fn dev() -> Uid {
    User::from_name("dev").unwrap().expect("account dev").uid
}

/// Lays out a workspace that is the person's; its file.
fn readme(workspace: &Path) -> PathBuf {
    let made = lay_out(workspace);
    for path in &made {
        chown(path, Some(dev()), None).unwrap();
    }
    let [file, ..] = made;
    file
}

/// Somebody who works in the editor; ends with the test.
struct Person {
    browser: Child,
    folder: tempfile::TempDir,
}

impl Drop for Person {
    fn drop(&mut self) {
        let _already_gone = self.browser.kill();
        let _status = self.browser.wait();
    }
}

impl Person {
    fn at(rig: &Rig, more: &[&str]) -> Person {
        let folder = tempfile::tempdir().unwrap();
        let output = fs::File::create(folder.path().join("said")).unwrap();
        let mut command = Command::new("node");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/ide-e2e.mjs"));
        command.arg(format!("http://127.0.0.1:{}/", rig.port)).arg("--workspace").arg(rig.home().join("workspace"));
        command.arg("--json").arg(folder.path().join("seen")).args(more);
        command.env("PLAYWRIGHT_CORE", ide_part("PLAYWRIGHT_CORE")).env("CHROMIUM", ide_part("CHROMIUM"));
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        Person { browser: command.spawn().unwrap(), folder }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// Until they pause, by this file.
    async fn paused(&mut self, pause: &Path) {
        eventually("the pause", BROWSES_WITHIN, async || {
            assert_eq!(self.browser.try_wait().unwrap(), None, "{}", self.said());
            pause.exists().then_some(())
        })
        .await;
    }

    /// What they saw.
    fn done(mut self) -> Value {
        let ended = eventually_now(BROWSES_WITHIN, || self.browser.try_wait().unwrap());
        assert!(ended.is_some_and(|status| status.success()), "{}", self.said());
        serde_json::from_slice(&fs::read(self.folder.path().join("seen")).unwrap()).unwrap()
    }
}

/// `zlh artifacts serve` with a rig's artifacts; ends with the test.
struct Publisher(Child);

impl Drop for Publisher {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Publisher {
    fn serves(rig: &mut Rig) -> Publisher {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
        command.args(["artifacts", "--store"]).arg(rig.artifacts.root()).args(["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        rig.url = line.split_whitespace().last().unwrap_or_else(|| panic!("it said {line:?}")).to_owned();
        Publisher(child)
    }
}

/// `zlh codeserver VERB`, as a person types it.
fn zlh(agent: &Agent, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.args(["--url", &agent.url(""), "codeserver"]).args(words).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{words:?}: {} {said}", output.status);
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_works_on_its_own_port_and_does_not_notice_that_the_agent_is_killed() {
    let mut rig = Rig::new();
    let _publisher = Publisher::serves(&mut rig);
    let (agent, status) = rig.set_up(rig.agent()).await;
    let file = readme(&rig.home().join("workspace"));
    let pause = rig.home().join("pause");
    let more = ["--run", "node -v; id -un; echo $HOME", "--pause", pause.to_str().unwrap(), "--unbroken"];
    let mut person = Person::at(&rig, &more);
    person.paused(&pause).await;
    agent.kill_9();
    let agent = rig.agent();
    let found = agent.until("found again", SOON, up).await;
    assert_eq!(found["pid"], status["pid"]);
    fs::remove_file(&pause).unwrap();
    let seen = person.done();

    let ran: Vec<&str> = seen["ran"].as_str().unwrap().lines().collect();
    assert!(ran[0].starts_with("v22."), "{ran:?}");
    assert_eq!(ran[1..], ["dev", &rig.home().display().to_string()]);
    assert!(fs::read_to_string(&file).unwrap().contains("saved-by-e2e"), "saved");
    assert_eq!(fs::metadata(&file).unwrap().uid(), dev().as_raw(), "owned by dev");
    rig.finish(agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_nobody_uses_is_stopped_and_starts_again_for_whoever_asks() {
    let rig = Rig::new();
    let often = ["codeserver.idle_stop=20s", "codeserver.idle_sample=500ms", "codeserver.idle_cpu=0.5"];
    let (agent, _) = rig.set_up(rig.agent_with(&often)).await;
    let used = agent.until("counted", SOON, |s| s["codeServerActivity"].is_object()).await;
    assert!(used["codeServerMemoryBytes"].as_u64().unwrap() > 20 << 20, "{used:#}");
    assert!(zlh(&agent, &["status"]).contains("idle stop"));

    let stopped = agent.until("stopped", SOON, |s| s["codeServerIdleStopped"] == true).await;
    assert_eq!((&stopped["codeServerState"], &stopped["state"]), (&json!("idle"), &json!("running")), "{stopped:#}");
    assert_eq!((&stopped["crashCount"], &stopped["codeServerActivity"]), (&json!(0), &Value::Null));
    assert!(stopped["warnings"].to_string().contains("zlh codeserver start"));

    // Known to the next agent too; and started again by a person.
    agent.kill_9();
    let agent = rig.agent_with(&often);
    agent.until("still known", SOON, |s| s["codeServerIdleStopped"] == true).await;
    assert!(zlh(&agent, &["start"]).contains("start done in"));
    let again = agent.until("up again", SOON, up).await;
    assert_eq!((&again["codeServerIdleStopped"], &again["codeServerState"]), (&json!(false), &json!("running")));
    assert!(zlh(&agent, &["logs"]).contains("HTTP server listening"));
    assert!(zlh(&agent, &["restart"]).contains("restart done in"));
    assert!(zlh(&agent, &["start"]).contains("already running"));
    assert!(zlh(&agent, &["stop"]).contains("stop done in"));
    rig.finish(agent).await;
}
