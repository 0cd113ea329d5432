//! The real gateway before real agents with the fake game: the way a request goes on a platform.
use crate::support::{Sandbox, client, eventually, strays};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(120);
const PASSWORD: &str = "correct horse battery";
const AGENT_TOKEN: &str = "an-agents-token-of-this-test";

fn zlh() -> Command {
    Command::new(env!("CARGO_BIN_EXE_zlh"))
}

/// A gateway as a child process; dropped it is killed.
struct Gateway {
    child: Child,
    url: String,
    data: PathBuf,
    http: Client,
}

impl Gateway {
    /// Adds an administrator first.
    fn start(sandbox: &Sandbox) -> Gateway {
        let data = sandbox.root().with_file_name("gateway");
        if !data.exists() {
            let mut add = zlh();
            add.args(["gateway", "user", "add", "root", "--admin", "--password-stdin", "--data"]).arg(&data);
            let mut add = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            writeln!(add.stdin.take().unwrap(), "{PASSWORD}").unwrap();
            assert!(add.wait().unwrap().success());
        }
        let mut child = zlh()
            .args(["gateway", "--listen", "127.0.0.1:0", "--ide-listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .env("ZLH_TEST_ID", sandbox.marker())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening gateway ").expect("no listening line").to_owned();
        Gateway { child, url, data, http: client() }
    }

    async fn login(&self) -> String {
        let body = json!({"username": "root", "password": PASSWORD});
        let answer = self.http.post(format!("{}/api/auth/login", self.url)).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
    }

    fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(token).timeout(SOON)
    }

    async fn status(&self, method: Method, path: &str, token: &str) -> u16 {
        self.request(method, path, token).send().await.unwrap().status().as_u16()
    }

    fn terminate(mut self) -> i32 {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn token_file(folder: &Path) -> PathBuf {
    let path = folder.join("agent.token");
    std::fs::write(&path, AGENT_TOKEN).unwrap();
    path
}

#[tokio::test]
async fn a_game_is_provisioned_started_watched_and_stopped_through_the_gateway() {
    let sandbox = Sandbox::new();
    let file = token_file(sandbox.root().parent().unwrap());
    let agent = sandbox.agent(&["--token-file", file.to_str().unwrap(), "--set", "game.min_disk_free_bytes=1"]);
    let gateway = Gateway::start(&sandbox);
    let token = gateway.login().await;
    let port: u16 = agent.url("").rsplit(':').next().unwrap().parse().unwrap();
    let server = json!({"vmid": 5100, "containerType": "game", "address": "127.0.0.1", "agentPort": port, "agentToken": AGENT_TOKEN});
    let added = gateway.request(Method::POST, "/api/servers", &token).json(&server).send().await.unwrap();
    assert_eq!(added.status(), 201);
    let mut config = sandbox.fake_game_config(&[]);
    config.as_object_mut().unwrap().remove("vmid");
    let provision = || {
        gateway
            .request(Method::POST, "/api/servers/5100/provision", &token)
            .header("idempotency-key", "k")
            .json(&config)
    };
    let first = provision().send().await.unwrap();
    assert_eq!(first.status(), 202);
    let first: Value = first.json().await.unwrap();
    assert_eq!(provision().send().await.unwrap().json::<Value>().await.unwrap(), first, "the same operation");
    let running = async || gateway.status(Method::GET, "/api/servers/5100/ready", &token).await == 200;
    eventually("ready through the gateway", SOON, async || running().await.then_some(())).await;
    assert_eq!(gateway.status(Method::POST, "/api/servers/5100/game/start", &token).await, 200, "already up");
    let log = gateway.request(Method::GET, "/api/servers/5100/console/log?from=0", &token).send().await.unwrap();
    assert!(log.headers().contains_key("log-end") && log.text().await.unwrap().contains("Done"));
    assert_eq!(gateway.status(Method::POST, "/api/servers/5100/stop?wait=120s", &token).await, 204);
    assert_eq!(gateway.status(Method::GET, "/api/servers/5100/ready", &token).await, 503, "the agent's own answer");
    agent.finish().await;
    assert_eq!(gateway.status(Method::POST, "/api/servers/5100/start", &token).await, 502);
    assert_eq!(gateway.terminate(), 0);
}

#[tokio::test]
async fn what_the_command_line_revokes_ends_in_a_running_gateway_and_a_restart_forgets_nothing() {
    let sandbox = Sandbox::new();
    let gateway = Gateway::start(&sandbox);
    let session = gateway.login().await;
    let desk = |words: &[&str]| {
        let out = zlh().arg("gateway").args(words).arg("--data").arg(&gateway.data).output().unwrap();
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let token = desk(&["token", "create", "--user", "root", "--scopes", "read"]);
    assert_eq!(gateway.status(Method::GET, "/api/auth/me", &token).await, 200, "known at once");
    assert_eq!(gateway.status(Method::POST, "/api/servers", &token).await, 403);
    desk(&["user", "revoke", "root"]);
    let over = async || (gateway.status(Method::GET, "/api/auth/me", &token).await == 401).then_some(());
    eventually("revoked in the running gateway", SOON, over).await;
    assert_eq!(gateway.status(Method::GET, "/api/auth/me", &session).await, 401);
    let session = gateway.login().await;
    desk(&["key", "rotate"]);
    assert!(desk(&["audit", "verify"]).starts_with("sound: "));
    assert_eq!(gateway.terminate(), 0);
    let gateway = Gateway::start(&sandbox);
    assert_eq!(gateway.status(Method::GET, "/api/auth/me", &session).await, 200);
}

#[tokio::test]
async fn up_is_one_machine_with_a_first_login_that_holds() {
    let sandbox = Sandbox::new();
    let data = sandbox.root().with_file_name("up");
    let up = |lines: usize| {
        let mut child = zlh()
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .env("ZLH_TEST_ID", sandbox.marker())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<String> = said.take(lines).collect();
        (child, said)
    };
    let (child, lines) = up(5);
    let url = lines[0].strip_prefix("listening gateway ").unwrap().to_owned();
    assert_eq!(lines[2], format!("portal {url}/"));
    assert_eq!(
        lines[4],
        format!("this machine is server 1; all state is in {}; Ctrl-C ends everything", data.display())
    );
    let words: Vec<&str> = lines[3].strip_prefix("first login: ").unwrap().split(' ').collect();
    let mut gateway = Gateway { child, url, data: data.join("gateway"), http: client() };
    let body = json!({"username": words[0], "password": words[1]});
    let login = gateway.http.post(format!("{}/api/auth/login", gateway.url)).json(&body).send().await.unwrap();
    let token = login.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let list =
        gateway.request(Method::GET, "/api/servers", &token).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!((&list["servers"][0]["vmid"], list["servers"].as_array().unwrap().len()), (&1.into(), 1));
    let started = gateway.request(Method::POST, "/api/servers/1/start", &token).send().await.unwrap();
    assert_eq!(started.json::<Value>().await.unwrap()["code"], "no_config", "the agent's own verdict");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(gateway.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    let (child, lines) = up(4);
    assert!(lines[3].starts_with("this machine"), "nobody needs a first login twice: {lines:?}");
    gateway.child = child;
    gateway.url = lines[0].strip_prefix("listening gateway ").unwrap().to_owned();
    assert_eq!(
        gateway.status(Method::POST, "/api/servers/1/start", &token).await,
        409,
        "the session and the agent's new port"
    );
    let page = gateway.http.get(format!("{}/", gateway.url)).send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(page.text().await.unwrap().contains("/api/auth/login"), "how to go on");
    assert_eq!(strays(sandbox.marker()).len(), 3, "gateway, artifact server, agent");
    // Ctrl-C reaches the whole group at once.
    let group = nix::unistd::Pid::from_raw(i32::try_from(gateway.child.id()).unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(gateway.child.wait().unwrap().code(), Some(0));
    let left = async || strays(sandbox.marker()).is_empty().then_some(());
    eventually("all three have ended", SOON, left).await;
}
