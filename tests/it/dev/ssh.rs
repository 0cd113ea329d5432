//! The sshd addon with the real OpenSSH server and client.
use super::{SOON, config};
use crate::{
    installs::rig::Rig,
    support::{Agent, eventually, eventually_now, free_port},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

/// Somebody with a key.
struct Person {
    folder: PathBuf,
    port: u16,
}

impl Person {
    fn new(rig: &Rig, name: &str, port: u16) -> Person {
        let folder = rig.sandbox.root().with_file_name(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let key = folder.join("key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status();
        assert!(made.unwrap().success());
        Person { folder, port }
    }

    fn key(&self) -> String {
        fs::read_to_string(self.folder.join("key.pub")).unwrap().trim().to_owned()
    }

    /// Knows the host by its key since the first time, whatever its port is.
    fn ssh(&self, as_whom: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "/dev/null", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "HostKeyAlias=zlh", "-o", "ConnectTimeout=20"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.folder.join("known").display()));
        command.arg("-i").arg(self.folder.join("key")).args(["-p", &self.port.to_string()]);
        command.arg(format!("{as_whom}@127.0.0.1")).args(words);
        command
    }

    fn says(&self, script: &str) -> String {
        let out = self.ssh("dev", &[script]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    fn refused(&self, as_whom: &str, more: &[&str]) -> String {
        let Output { status, stderr, .. } = self.ssh(as_whom, more).output().unwrap();
        assert_eq!(status.code(), Some(255));
        String::from_utf8(stderr).unwrap()
    }
}

/// A session that answers each line it is sent.
struct Session {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Session {
    fn begin(person: &Person) -> Session {
        let mut command = person.ssh("dev", &["while read -r a; do echo \"<$a>\"; done"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Session { child, lines }
    }

    fn answers(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert_eq!(line, format!("<{word}>\n"));
    }
}

fn with_door(port: u16, keys: &[String]) -> Value {
    let mut body = config("22");
    body["addons"] = json!(["sshd"]);
    body["ssh"] = json!({"port": port, "authorized_keys": keys});
    body
}

fn sshd(status: &Value) -> &Value {
    status["addons"].as_array().and_then(|all| all.iter().find(|a| a["name"] == "sshd")).unwrap_or(&Value::Null)
}

fn is_set_up(status: &Value) -> bool {
    status["operationInProgress"] == false && (status["state"] == "running" || status["state"] == "error")
}

async fn configured(agent: &Agent, body: &Value) -> Value {
    agent.configure(body).await;
    agent.until("set up", SOON, is_set_up).await
}

const FLAGS: [&str; 2] = ["--set", "restart.backoff=50ms,50ms,50ms"];

async fn close(rig: &Rig, agent: Agent) {
    let status = configured(&agent, &config("22")).await;
    assert_eq!((&sshd(&status)["state"], &sshd(&status)["pid"]), (&json!("idle"), &Value::Null), "{status:#}");
    super::finish(rig, agent).await;
}

#[tokio::test]
async fn a_key_opens_it_and_nothing_else() {
    let (rig, port) = (Rig::new(), free_port());
    let (alice, mallory) = (Person::new(&rig, "alice", port), Person::new(&rig, "mallory", port));
    let agent = rig.agent(&FLAGS);
    let status = configured(&agent, &with_door(port, &[alice.key()])).await;
    assert_eq!((&status["state"], &sshd(&status)["running"]), (&json!("running"), &json!(true)), "{status:#}");
    assert_eq!(sshd(&status)["port"], port);

    let said = alice.says("id -un; umask; ulimit -c; node --version; grep NoNewPrivs /proc/self/status");
    assert_eq!(said, "dev\n0027\n0\nv22\nNoNewPrivs:\t1\n");
    let host_key = rig.sandbox.root().join("opt/zlh-agent/state/sshd/keys/ssh_host_ed25519_key");
    assert_eq!(alice.says(&format!("cat {} 2>/dev/null || echo no", host_key.display())), "no\n");
    let upload = Command::new("sh")
        .args(["-c", "echo put /etc/hostname got | \"$@\"", "sh", "sftp", "-b", "-", "-F", "/dev/null", "-q"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"])
        .arg(alice.folder.join("key"))
        .args(["-P", &port.to_string(), "dev@127.0.0.1:/tmp"])
        .current_dir(&alice.folder)
        .output()
        .unwrap();
    assert!(upload.status.success(), "{upload:?}");
    _ = fs::remove_file("/tmp/got");

    let why = mallory.refused("dev", &["true"]);
    assert!(why.contains("Permission denied (publickey)"), "no other way is offered: {why}");
    assert!(alice.refused("root", &["true"]).contains("Permission denied"));
    // Keys change without a restart.
    let before = sshd(&status)["pid"].clone();
    let status = configured(&agent, &with_door(port, &[mallory.key()])).await;
    assert_eq!(sshd(&status)["pid"], before);
    assert_eq!(mallory.says("echo in"), "in\n");
    assert!(alice.refused("dev", &["true"]).contains("Permission denied"));
    close(&rig, agent).await;
}

#[tokio::test]
async fn sessions_outlive_agent_and_listener_and_end_with_the_addon() {
    let (rig, port) = (Rig::new(), free_port());
    let mut alice = Person::new(&rig, "alice", port);
    let agent = rig.agent(&FLAGS);
    let status = configured(&agent, &with_door(port, &[alice.key()])).await;
    let first = sshd(&status)["pid"].as_i64().unwrap_or_else(|| panic!("{status:#}"));
    let mut session = Session::begin(&alice);
    session.answers("one");

    // The agent is killed: the same listener, known to the next one.
    agent.kill_9();
    session.answers("two");
    let agent = rig.agent(&FLAGS);
    let found = agent.until("found again", SOON, |s| sshd(s)["running"] == true).await;
    assert_eq!(sshd(&found)["pid"], first);

    // The listener is killed: told, back, and nobody inside has noticed.
    let pid = i32::try_from(first).unwrap();
    assert!(pid > 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let back = |s: &Value| sshd(s)["running"] == true && sshd(s)["crashCount"] == 1;
    let again = agent.until("back", SOON, back).await;
    assert_ne!(sshd(&again)["pid"], first);
    let crashes = agent.get("/crashes").await.json();
    assert_eq!(crashes["crashes"].as_array().unwrap().len(), 1, "{crashes:#}");
    session.answers("three");
    assert_eq!(alice.says("echo new"), "new\n", "with the same host key");

    // Another port is another listener, and still the same host.
    alice.port = free_port();
    let moved = configured(&agent, &with_door(alice.port, &[alice.key()])).await;
    assert_eq!(
        (sshd(&moved)["port"].as_u64(), sshd(&moved)["crashCount"].as_u64()),
        (Some(alice.port.into()), Some(1))
    );
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    session.answers("four");
    assert_eq!(alice.says("echo moved"), "moved\n");

    // Withdrawn: the door is shut, and whoever was inside is out.
    close(&rig, agent).await;
    TcpStream::connect(("127.0.0.1", alice.port)).unwrap_err();
    let out = eventually_now(SOON, || session.child.try_wait().unwrap());
    assert!(out.is_some_and(|status| !status.success()), "the session goes on");
}

#[tokio::test]
async fn a_port_that_is_taken_and_an_unknown_addon_are_told() {
    let rig = Rig::new();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let alice = Person::new(&rig, "alice", port);
    let agent = rig.agent(&["--set", "restart.port_wait=300ms"]);
    let status = configured(&agent, &with_door(port, &[alice.key()])).await;
    let why = status["provisioningError"].as_str().unwrap_or_else(|| panic!("{status:#}"));
    assert!(why.contains("starting sshd") && why.contains(&port.to_string()), "{why}");
    let mut unknown = config("22");
    unknown["addons"] = json!(["vpn"]);
    let reply = agent.post_json("/config", &unknown).await;
    assert_eq!((reply.status.as_u16(), reply.json()["field"].clone()), (422, json!("addons[0]")));
    assert!(reply.json()["detail"].as_str().unwrap().contains("codeserver, sshd, tailscale"));
    drop(taken);
    eventually("set up after all", SOON, async || {
        let status = configured(&agent, &with_door(port, &[alice.key()])).await;
        (status["state"] == "running").then_some(())
    })
    .await;
    close(&rig, agent).await;
}
