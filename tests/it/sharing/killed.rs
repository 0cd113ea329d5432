//! Two real gateways on one database and one Redis; one is killed without a farewell.
use super::{AGENTS, Agents, Redis};
use crate::support::{Sandbox, client, eventually};
use reqwest::Client;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering::SeqCst,
    time::Duration,
};

const SOON: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse battery";

struct Gateway {
    child: Child,
    url: String,
    http: Client,
    token: String,
}

impl Gateway {
    async fn start(sandbox: &Sandbox, data: &Path, redis: &Redis) -> Gateway {
        let mut child = Command::new(env!("CARGO_BIN_EXE_zlh"))
            .args([
                "gateway",
                "--listen",
                "127.0.0.1:0",
                "--ide-listen",
                "127.0.0.1:0",
                "--set",
                "requests.burst=100000",
            ])
            .args(["--redis", &redis.url().0, "--data"])
            .arg(data)
            .env("ZLH_TEST_ID", sandbox.marker())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening gateway ").expect("no listening line").to_owned();
        let http = client();
        let login = json!({"username": "root", "password": PASSWORD});
        let answer = http.post(format!("{url}/api/auth/login")).json(&login).send().await.unwrap();
        let token = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
        Gateway { child, url, http, token }
    }

    async fn register(&self, agents: &Agents) {
        for server in agents.servers().by_vmid.values() {
            let body = json!({"vmid": server.vmid.0, "containerType": "game", "address": server.address, "agentPort": server.agent_port});
            let add = self.http.post(format!("{}/api/servers", self.url)).bearer_auth(&self.token).json(&body);
            assert_eq!(add.send().await.unwrap().status(), 201);
        }
    }

    /// How many agents it shows as there, at `revision` or later.
    async fn shows(&self, revision: u64) -> usize {
        let mut shown = 0;
        for n in 1..=AGENTS {
            let ask = self.http.get(format!("{}/api/servers/{n}/status", self.url)).bearer_auth(&self.token);
            let status: Value = ask.send().await.unwrap().json().await.unwrap();
            shown += usize::from(status["hostOnline"] == true && status["revision"].as_u64() >= Some(revision));
        }
        shown
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn add_root(data: &Path) {
    let mut add = Command::new(env!("CARGO_BIN_EXE_zlh"));
    add.args(["gateway", "user", "add", "root", "--admin", "--password-stdin", "--data"]).arg(data);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(add.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    assert!(add.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_gateway_listened_to_is_heard_by_another() {
    let (sandbox, redis, agents) = (Sandbox::new(), Redis::start(), Agents::start().await);
    redis.client().await;
    let data = sandbox.root().with_file_name("gateway");
    add_root(&data);
    let survivor = Gateway::start(&sandbox, &data, &redis).await;
    let mut victim = Gateway::start(&sandbox, &data, &redis).await;
    survivor.register(&agents).await;
    let all = AGENTS as usize;
    let both = async || (survivor.shows(1).await == all && victim.shows(1).await == all).then_some(());
    eventually("both show all", SOON, both).await;
    eventually("each agent has one listener", SOON, async || (agents.listeners.load(SeqCst) == all).then_some(()))
        .await;
    victim.kill();
    agents.revision.store(1_000, SeqCst);
    let heard = async || (survivor.shows(1_000).await == all).then_some(());
    eventually("the survivor shows what is new of all", SOON, heard).await;
}
