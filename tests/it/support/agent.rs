//! A real agent as a child process, and plain calls to its API.
use super::{Console, Sandbox, eventually, patiently};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Once, mpsc},
    thread,
    time::Duration,
};

/// Builds are slow and machines are shared; a healthy agent takes a hundredth of this.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Dropped without [`Agent::finish`], [`Agent::terminate`] or [`Agent::kill_9`] it is killed; the [`Sandbox`] then
/// looks after what it left.
pub struct Agent {
    child: Child,
    /// `http://127.0.0.1:PORT`
    url: String,
    http: reqwest::Client,
    token: Option<String>,
    log: PathBuf,
    listening: mpsc::Receiver<String>,
}

/// One answer of the API.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// `None` for a body that is none, such as that of a 204.
    pub fn body_json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// The `code` of a problem+json answer.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}")).to_owned()
    }
}

impl Agent {
    /// Starts `program agent …` and waits for its `listening agent http://…` line.
    pub fn start(program: &Path, sandbox: &Sandbox, flags: &[&str]) -> Agent {
        let mut agent = Agent::spawn(program, sandbox, flags, &[]);
        if !agent.listens() {
            agent.never_listened();
        }
        agent
    }

    /// The same without waiting, and with more in its environment: it may not live to listen.
    pub fn spawn(program: &Path, sandbox: &Sandbox, flags: &[&str], env: &[(&str, &str)]) -> Agent {
        let log = OpenOptions::new().create(true).append(true).open(sandbox.agent_log()).unwrap();
        let listen = if flags.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let mut child = Command::new(program)
            .args(["agent", "--root"])
            .arg(sandbox.root())
            .args(listen)
            .args(flags)
            .env("ZLH_TEST_ID", sandbox.marker())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let listening = lines_of(&mut child);
        let (url, http, token) = (String::new(), client(), token(flags));
        Agent { child, url, http, token, log: sandbox.agent_log(), listening }
    }

    /// Waits for its `listening agent http://…` line; false if it ended before.
    pub fn listens(&mut self) -> bool {
        self.url = self.listening.recv_timeout(STARTS_WITHIN).unwrap_or_default();
        !self.url.is_empty()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    fn never_listened(&mut self) -> ! {
        let ended = self.child.try_wait();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        panic!("the agent did not print its 'listening agent' line (ended: {ended:?}); its log:\n{log}")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await
    }

    /// Without a body and a content type, as the platform's API does.
    pub async fn post(&self, path: &str) -> Reply {
        self.call(Method::POST, path, None).await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        self.try_call(method, path, body).await.unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    /// For an agent that may die before it has answered.
    pub async fn try_call(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Result<Reply> {
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Reply { status, headers, body: response.text().await? })
    }

    pub async fn status(&self) -> Value {
        self.get("/status").await.json()
    }

    /// Polls `/status` until it is as wanted, and returns it.
    pub async fn until(&self, what: &str, within: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let seen = patiently(within, async || {
            last = self.status().await;
            wanted(&last).then_some(())
        });
        assert!(seen.await.is_some(), "{what}: not within {within:?}; the last status: {last:#}");
        last
    }

    pub async fn until_state(&self, state: &str, within: Duration) -> Value {
        self.until(&format!("state {state}"), within, |s| s["state"] == state).await
    }

    /// Posts a `/config` and insists that it is accepted, once the agent has found out what still runs.
    pub async fn configure(&self, body: &Value) -> Reply {
        let reply = eventually("an agent that has recovered", STARTS_WITHIN, async || {
            let reply = self.post_json("/config", body).await;
            (reply.status.is_success() || reply.code() != "recovering").then_some(reply)
        });
        let reply = reply.await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        reply
    }

    /// A console viewer without a subprotocol: raw bytes, the recent scrollback first.
    pub async fn console(&self) -> Console {
        Console::connect(self.address(), "/console/stream", None, self.token.as_deref()).await
    }

    /// A viewer that speaks `zlh.console.v1`; `query` such as `?from=0&epoch=7`, or empty.
    pub async fn console_v1(&self, query: &str) -> Console {
        let path = format!("/console/stream{query}");
        Console::connect(self.address(), &path, Some("zlh.console.v1"), self.token.as_deref()).await
    }

    /// kill -9, and waits for the end.
    pub fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap(); // our own child, not yet waited for
        let ended = super::eventually_now(ENDS_WITHIN, || self.child.try_wait().unwrap());
        ended.expect("the agent ends after SIGTERM")
    }

    /// Kills the workload, ends the agent by SIGTERM and insists that it went well.
    pub async fn finish(self) {
        let reply = self.post("/kill").await;
        assert!(reply.status.is_success() || reply.status == StatusCode::CONFLICT, "{reply:?}");
        self.until("no process", ENDS_WITHIN, |s| s["processRunning"] == false).await;
        let status = self.terminate();
        assert!(status.success(), "the agent ended with {status}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

/// The addresses of `listening agent` lines. The rest of standard output is read too: a full pipe would block the agent.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (found, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("listening agent ") {
                let _nobody_waits = found.send(url.trim().to_owned());
            }
        }
    });
    lines
}

/// The content of the `--token-file` among the flags.
fn token(flags: &[&str]) -> Option<String> {
    let at = flags.iter().position(|f| *f == "--token-file")?;
    Some(fs::read_to_string(flags.get(at + 1)?).unwrap().trim().to_owned())
}

/// An idle connection is not used again once the agent may be closing it (`limits.header_timeout`, 10 s).
const IDLE: Duration = Duration::from_secs(5);

/// For plain calls to anything of ours.
pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
    });
    let client = reqwest::Client::builder().no_proxy().pool_idle_timeout(IDLE);
    client.timeout(Duration::from_secs(180)).build().unwrap()
}
