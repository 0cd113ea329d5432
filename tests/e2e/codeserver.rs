//! The real code-server under the real agent: from a bare root to an editor that answers, killed, hindered, adopted. With
//! ZLH_CODE_SERVER=VERSION another one that `tests/real/make-code-server.sh` has made.
use crate::{
    it::support::{Agent, Artifacts, Sandbox, Wrong, client, eventually},
    parts::{ide_part, runtime},
    play::free_port,
    shop::{Nginx, Shop},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Unpacking 250 MB on a busy machine.
pub const INSTALLED: Duration = Duration::from_secs(420);
pub const SOON: Duration = Duration::from_secs(120);

/// Which code-server: the one that `make realparts` makes, or another that `make-code-server.sh` has made.
pub fn version() -> String {
    std::env::var("ZLH_CODE_SERVER").unwrap_or_else(|_| "4.99.4".to_owned())
}

pub struct Rig {
    pub artifacts: Artifacts,
    /// Where the agent fetches from.
    pub url: String,
    pub sandbox: Sandbox,
    pub port: u16,
}

impl Rig {
    pub fn new() -> Rig {
        let (artifacts, version) = (Artifacts::serve(), version());
        let root = artifacts.root();
        put(&runtime("NODE_22"), &root.join("devcontainer/node/node-22.tar.gz"));
        put(&tarball(), &root.join(format!("addons/code-server/code-server-{version}-linux-amd64.tar.gz")));
        let catalog = json!({
            "runtimes": [{"id": "node", "versions": ["22"]}],
            "addons": [{"id": "code-server", "versions": [version]}],
        });
        fs::write(root.join("devcontainer/_catalog.json"), catalog.to_string()).unwrap();
        Rig { url: artifacts.url(), artifacts, sandbox: Sandbox::new(), port: free_port() }
    }

    pub fn agent(&self) -> Agent {
        self.agent_with(&[])
    }

    pub fn agent_with(&self, settings: &[&str]) -> Agent {
        let port = format!("codeserver.port={}", self.port);
        let mut words = vec!["--artifacts-url", &self.url, "--set", &port, "--set", "restart.backoff=100ms,1s,1s,1s"];
        words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        self.sandbox.agent(&words)
    }

    async fn up(&self) -> (Agent, Value) {
        self.set_up(self.agent()).await
    }

    /// From a bare root to an editor that answers.
    pub async fn set_up(&self, agent: Agent) -> (Agent, Value) {
        agent.configure(&config()).await;
        let ended = |s: &Value| s["state"] == "running" || s["state"] == "error";
        let status = agent.until("set up, or an error", INSTALLED, ended).await;
        assert_eq!(status["state"], "running", "{status:#}");
        (agent, status)
    }

    pub fn home(&self) -> PathBuf {
        self.sandbox.root().join("home/dev")
    }

    async fn healthy(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/healthz", self.port);
        client().get(url).send().await.is_ok_and(|answer| answer.status() == 200)
    }

    pub async fn finish(self, agent: Agent) {
        agent.post("/dev/codeserver/stop").await;
        agent.until("no editor", SOON, |s| s["processRunning"] == false && s["operationInProgress"] == false).await;
        assert!(agent.terminate().success());
    }
}

/// The file itself, whatever the version's folder beside it is.
pub fn tarball() -> PathBuf {
    let part = ide_part("CODE_SERVER");
    match part.is_file() {
        true => part,
        false => part.with_file_name(format!("code-server-{}-linux-amd64.tar.gz", version())),
    }
}

fn put(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

fn config() -> Value {
    json!({"container_type": "dev", "vmid": 6001, "runtime": "node", "version": "22", "enable_code_server": true})
}

pub fn up(status: &Value) -> bool {
    status["codeServerRunning"] == true && status["operationInProgress"] == false
}

fn pid(status: &Value) -> i32 {
    status["pid"].as_i64().unwrap_or_else(|| panic!("no pid: {status:#}")) as i32
}

/// Its own editor, seen running a moment ago.
fn kill_9(pid: i32) {
    assert!(pid > 1);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn from_a_bare_root_to_an_editor_that_comes_back_and_outlives_the_agent() {
    let rig = Rig::new();
    let (agent, status) = rig.up().await;
    assert_eq!(
        (&status["codeServerInstalled"], &status["codeServerRunning"]),
        (&json!(true), &json!(true)),
        "{status:#}"
    );
    assert_eq!((status["codeServerPort"].as_u64(), status["ready"].as_bool()), (Some(rig.port.into()), Some(true)));
    assert!(rig.healthy().await);
    let owner = fs::metadata(format!("/proc/{}", pid(&status))).unwrap().uid();
    assert_eq!(owner, fs::metadata(rig.home().join("workspace")).unwrap().uid(), "it runs as dev");

    // Killed: told, and back.
    kill_9(pid(&status));
    let crashed = |s: &Value| s["crashCount"] == 1 && up(s) && s["pid"] != status["pid"];
    let again = agent.until("a second life", SOON, crashed).await;
    assert_eq!((again["state"].as_str(), again["lastCrashSignal"].as_i64()), (Some("running"), Some(9)), "{again:#}");
    assert_eq!(agent.get("/crashes").await.json()["crashes"].as_array().unwrap().len(), 1);

    // Started while it runs: nothing to do. Restarted: another process.
    let reply = agent.post("/dev/codeserver/start").await;
    assert_eq!((reply.status.as_u16(), reply.json()["operationId"].is_null()), (202, true), "{reply:?}");
    let reply = agent.post("/dev/codeserver/restart").await;
    assert!(reply.status == 202 && reply.json()["operationId"].is_string(), "{reply:?}");
    let third = agent.until("restarted", SOON, |s| up(s) && s["pid"] != again["pid"]).await;
    assert_eq!(third["crashCount"], 1, "asked for");

    // The agent is killed: the same process, known to the next one.
    agent.kill_9();
    assert!(rig.healthy().await);
    let agent = rig.agent();
    let found = agent.until("found again", SOON, up).await;
    assert_eq!((found["pid"].clone(), found["crashCount"].clone()), (third["pid"].clone(), json!(1)));
    rig.finish(agent).await;
}

fn lines_of(command: &mut Command) -> Vec<String> {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}");
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Fills the memory of the cgroup it is put into, until the process whose number it is told is gone.
const EATER: &str = "
import os, sys
pid, held = sys.stdin.readline().strip(), []
while os.path.exists('/proc/' + pid):
    held.append(b'x' * (4 << 20))
";

/// The folder of the cgroup that limits this process's memory.
fn memory_cgroup(pid: i32) -> PathBuf {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of = |line: &str, mark: &str, top: &str| {
        line.split_once(mark).map(|(_, path)| Path::new(top).join(path.trim_start_matches('/')))
    };
    let v1 = lines.lines().find_map(|line| of(line, ":memory:", "/sys/fs/cgroup/memory"));
    let v2 = || lines.lines().find_map(|line| of(line, "0::", "/sys/fs/cgroup"));
    v1.or_else(v2).unwrap_or_else(|| panic!("no cgroup with a memory limit: {lines}"))
}

#[tokio::test]
async fn the_kernel_ends_it_for_want_of_memory_and_it_comes_back() {
    let rig = Rig::new();
    let agent = rig.agent();
    let mut body = config();
    body["memory_mb"] = json!(1024);
    agent.configure(&body).await;
    let ended = |s: &Value| s["state"] == "error" || (s["state"] == "running" && up(s));
    let first = agent.until("set up, or an error", INSTALLED, ended).await;
    assert!(up(&first), "{first:#}");

    // Of all in its cgroup the kernel takes code-server's processes first.
    let folder = memory_cgroup(pid(&first));
    for process in fs::read_to_string(folder.join("cgroup.procs")).unwrap().lines() {
        fs::write(format!("/proc/{process}/oom_score_adj"), "1000").unwrap();
    }
    let mut eater = Command::new("python3").args(["-c", EATER]).stdin(Stdio::piped()).spawn().unwrap();
    fs::write(folder.join("cgroup.procs"), eater.id().to_string()).unwrap();
    writeln!(eater.stdin.take().unwrap(), "{}", pid(&first)).unwrap();

    let crashed = |s: &Value| s["crashCount"] == 1 && s["lastCrashClassification"] != Value::Null;
    let told = agent.until("a crash", SOON, crashed).await;
    // Whichever of its processes the kernel takes: the parent goes with an exit code of its own once its child is gone.
    assert_eq!(told["lastCrashClassification"], "oom", "{told:#}");
    agent.until("a second life", SOON, |s| up(s) && s["pid"] != first["pid"]).await;
    assert!(rig.healthy().await);
    eater.wait().unwrap();
    rig.finish(agent).await;
}

/// The tarball has relative links inside, which any server hands out as it is.
#[tokio::test]
async fn it_is_installed_from_a_publishers_store_and_from_nginx() {
    let publisher = Sandbox::new();
    let shop = Shop::open(&publisher);
    shop.add("node", "22", &runtime("NODE_22"));
    shop.add("code-server", &version(), &tarball());
    let nginx = Nginx::serve(&shop.store);
    let listing = lines_of(Command::new("tar").arg("-tvzf").arg(tarball()));
    let packed = listing.iter().filter(|line| line.starts_with('l')).count();
    for url in [&shop.url, &nginx.url] {
        let rig = Rig { url: url.clone(), ..Rig::new() };
        let (agent, status) = rig.up().await;
        assert_eq!(status["codeServerInstalled"], true, "{status:#}");
        assert!(rig.healthy().await, "{url}");
        let tree = rig.sandbox.root().join("opt/zlh/services/code-server/current");
        let links = lines_of(Command::new("find").arg(tree.join(".")).args(["-type", "l"]));
        assert_eq!(links.len(), packed, "{links:?}");
        rig.finish(agent).await;
    }
}

#[tokio::test]
async fn what_hinders_it_is_told_with_a_cure_and_mended_where_that_can_be_done() {
    let rig = Rig::new();
    // A proxy's page instead of the archive: nothing is installed, and the address is named.
    let archive = format!("addons/code-server/code-server-{}-linux-amd64.tar.gz", version());
    rig.artifacts.spoil(&archive, Some(Wrong::Page));
    let agent = rig.agent();
    agent.configure(&config()).await;
    let status = agent.until_state("error", INSTALLED).await;
    let why = status["provisioningError"].as_str().unwrap();
    assert!(why.contains(&archive), "{why}");
    assert_eq!(status["codeServerInstalled"], false);
    assert!(agent.terminate().success());
    rig.artifacts.spoil(&archive, None);

    // Taken by somebody else before it was ever up: the set-up fails, and says who.
    let taken = TcpListener::bind(("0.0.0.0", rig.port)).unwrap();
    let agent = rig.sandbox.agent(&[
        "--artifacts-url",
        &rig.artifacts.url(),
        "--set",
        &format!("codeserver.port={}", rig.port),
        "--set",
        "restart.port_wait=1s",
    ]);
    agent.configure(&config()).await;
    let told = |s: &Value| s["state"] == "error" && s["provisioningError"].to_string().contains("held by");
    let status = agent.until("the port's holder", INSTALLED, told).await;
    let why = status["provisioningError"].as_str().unwrap();
    assert!(why.contains(&rig.port.to_string()), "{why}");
    drop(taken);
    agent.configure(&config()).await;
    agent.until_state("running", SOON).await;

    // A configuration that keeps it down, and one that is no YAML.
    let file = rig.home().join(".config/code-server/config.yaml");
    fs::write(&file, "auth: none\nproxy-domain:\n").unwrap();
    agent.post("/dev/codeserver/restart").await;
    agent.until("mended", SOON, up).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "auth: none\n");
    fs::write(&file, "}{ nothing\n").unwrap();
    agent.post("/dev/codeserver/restart").await;
    agent.until("set aside", SOON, up).await;
    assert_eq!(fs::read_to_string(file.with_extension("yaml.broken")).unwrap(), "}{ nothing\n");

    // The tree is damaged: down, with the cure, and the same configuration repairs it.
    agent.post("/dev/codeserver/stop").await;
    agent.until("down", SOON, |s| s["processRunning"] == false && s["operationInProgress"] == false).await;
    let tree = rig.sandbox.root().join("opt/zlh/services/code-server/current");
    fs::remove_file(tree.join("lib/node")).unwrap();
    agent.post("/dev/codeserver/start").await;
    let told = |s: &Value| s["warnings"].to_string().contains("send the container's /config again");
    agent.until("told with the cure", SOON, told).await;
    agent.configure(&config()).await;
    agent.until("repaired", INSTALLED, up).await;
    rig.finish(agent).await;
}

#[tokio::test]
async fn one_that_nobody_holds_is_adopted() {
    let rig = Rig::new();
    let (agent, status) = rig.up().await;
    agent.post("/dev/codeserver/stop").await;
    agent.until("down", SOON, |s| s["processRunning"] == false && s["operationInProgress"] == false).await;
    let install = rig.sandbox.root().join("opt/zlh/services/code-server").join(version());
    let mut stray = Command::new("setpriv")
        .args(["--reuid=dev", "--regid=dev", "--init-groups", "env", "-i"])
        .arg(format!("HOME={}", rig.home().display()))
        .arg("PATH=/usr/bin:/bin")
        .arg(format!("ZLH_TEST_ID={}", rig.sandbox.marker()))
        .arg(install.join("bin/code-server"))
        .args(["--bind-addr", &format!("0.0.0.0:{}", rig.port), "--auth", "none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the stray editor", SOON, async || rig.healthy().await.then_some(())).await;
    agent.post("/dev/codeserver/start").await;
    let adopted = agent.until("adopted", SOON, up).await;
    assert_eq!(pid(&adopted), stray.id() as i32, "{status:#}");
    agent.kill_9();
    let agent = rig.agent();
    let found = agent.until("found again", SOON, up).await;
    assert_eq!(pid(&found), stray.id() as i32);
    kill_9(stray.id() as i32);
    stray.wait().unwrap();
    let own = agent.until("its own", SOON, |s| up(s) && s["pid"] != found["pid"]).await;
    assert_eq!(own["crashCount"], 1, "{own:#}");
    rig.finish(agent).await;
}
