//! A person in the browser IDE: real Chromium, the real gateway, real code-server. By path, by host, behind nginx with
//! TLS, and across a restart of the gateway.
use crate::{
    it::support::{client, eventually_now},
    parts::ide_part,
    play::free_port,
    workspace::lay_out,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const VMID: u32 = 7;
/// A browser that starts on a busy machine.
const BROWSES_WITHIN: Duration = Duration::from_secs(600);
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const PASSWORD: &str = "correct horse battery staple";

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// code-server with a workspace, a gateway before it, and somebody who may use both.
struct Rig {
    folder: TempDir,
    ide_port: u16,
    ports: (u16, u16),
    flags: Vec<String>,
    gateway: Option<Running>,
    _code_server: Running,
}

impl Rig {
    async fn start(flags: &[&str]) -> Rig {
        let folder = tempfile::Builder::new().prefix("zlh-ide-").tempdir().unwrap();
        fs::create_dir(folder.path().join("workspace")).unwrap();
        lay_out(&folder.path().join("workspace"));
        let (code_server, ide_port) = code_server(folder.path());
        let mut rig = Rig {
            folder,
            ide_port,
            ports: (free_port(), free_port()),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            gateway: None,
            _code_server: code_server,
        };
        rig.add_person();
        rig.serve();
        rig.register().await;
        rig
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    fn zlh(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
        command.arg("gateway").arg("--data").arg(self.folder.path().join("gateway"));
        command
    }

    fn add_person(&self) {
        let mut adding = self.zlh();
        adding.args(["user", "add", "anna", "--admin", "--password-stdin"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut adding = adding.spawn().unwrap();
        adding.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
        assert!(adding.wait().unwrap().success());
    }

    /// On the same ports each time.
    fn serve(&mut self) {
        self.gateway = None;
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("gateway.log")).unwrap();
        let (api, ide) = self.ports;
        let mut command = self.zlh();
        command.args(["--listen", &format!("127.0.0.1:{api}"), "--ide-listen", &format!("127.0.0.1:{ide}")]);
        command.args(&self.flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        self.gateway = Some(Running(child));
        let said: Vec<String> = stdout.lines().map_while(Result::ok).take(2).collect();
        assert_eq!(said.len(), 2, "the gateway listens; it said {said:?}; its log:\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default()
    }

    async fn ask(&self, path: &str, token: Option<&str>, body: Option<Value>) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.0);
        let mut request = match body {
            Some(body) => client().post(&url).json(&body),
            None => client().get(&url),
        };
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn login(&self) -> String {
        let body = json!({"username": "anna", "password": PASSWORD});
        self.ask("/api/auth/login", None, Some(body)).await["token"].as_str().unwrap().to_owned()
    }

    async fn register(&self) {
        let token = self.login().await;
        let server = json!({"vmid": VMID, "name": "dev-7", "containerType": "dev", "owner": "anna", "address": "127.0.0.1",
            "agentPort": 18888, "idePort": self.ide_port});
        self.ask("/api/servers", Some(&token), Some(server)).await;
    }

    /// What the portal opens in a new tab.
    async fn link(&self) -> String {
        let token = self.login().await;
        let path = format!("/api/dev/{VMID}/ide-token");
        self.ask(&path, Some(&token), Some(json!({}))).await["url"].as_str().unwrap().to_owned()
    }

    fn browse(&self, url: &str, more: &[&str]) -> Running {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/ide-e2e.mjs");
        let output = fs::File::create(self.folder.path().join("browser.log")).unwrap();
        let mut command = Command::new("node");
        command.arg(script).arg(url).arg("--workspace").arg(self.workspace()).args(more);
        command.env("PLAYWRIGHT_CORE", ide_part("PLAYWRIGHT_CORE")).env("CHROMIUM", ide_part("CHROMIUM"));
        Running(command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap())
    }

    fn finished(&self, browser: &mut Running) {
        let ended = eventually_now(BROWSES_WITHIN, || browser.0.try_wait().unwrap());
        let seen = fs::read_to_string(self.folder.path().join("browser.log")).unwrap_or_default();
        let editor = fs::read_to_string(self.folder.path().join("code-server.log")).unwrap_or_default();
        let logs = || format!("{seen}\nthe gateway's log:\n{}\nthe editor's log:\n{editor}", self.log());
        assert!(ended.is_some_and(|status: ExitStatus| status.success()), "{}", logs());
        let secrets = ["token=", "zlh_dev_ide_token="];
        assert!(secrets.iter().all(|secret| !self.log().contains(secret)), "a secret is in the log:\n{}", self.log());
    }
}

fn code_server(folder: &Path) -> (Running, u16) {
    let log = folder.join("code-server.log");
    let output = fs::File::create(&log).unwrap();
    let mut command = Command::new(ide_part("CODE_SERVER").join("bin/code-server"));
    command
        .args(["--bind-addr", "127.0.0.1:0", "--auth", "none", "--disable-telemetry", "--disable-update-check"])
        .arg("--disable-workspace-trust") // its dialog comes whenever it likes and covers what is clicked next
        .arg(folder.join("workspace"))
        .env("HOME", folder)
        .env_remove("PORT")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output);
    let running = Running(command.spawn().unwrap());
    let port = eventually_now(STARTS_WITHIN, || {
        let said = fs::read_to_string(&log).unwrap();
        let (_, rest) = said.split_once("HTTP server listening on http://127.0.0.1:")?;
        rest.split(['/', '\n']).next()?.parse().ok()
    });
    (running, port.expect("code-server listens"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_works_in_the_ide_by_path() {
    let rig = Rig::start(&[]).await;
    let mut browser = rig.browse(&rig.link().await, &[]);
    rig.finished(&mut browser);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_works_in_the_ide_by_host() {
    let rig = Rig::start(&["--ide-host-suffix", "ide.test"]).await;
    let mut browser = rig.browse(&rig.link().await, &["--host-map", "dev-7.ide.test=127.0.0.1"]);
    rig.finished(&mut browser);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_tls_webviews_work_too() {
    let port = free_port();
    let public = format!("https://ide.test:{port}");
    let rig = Rig::start(&["--ide-public-url", &public]).await;
    let _nginx = nginx(rig.folder.path(), port, rig.ports.1);
    let more = ["--host-map", "ide.test=127.0.0.1", "--insecure", "--webview"];
    let mut browser = rig.browse(&rig.link().await, &more);
    rig.finished(&mut browser);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_editor_survives_the_gateways_restart() {
    let mut rig = Rig::start(&[]).await;
    let pause = rig.folder.path().join("pause");
    let mut browser = rig.browse(&rig.link().await, &["--pause", pause.to_str().unwrap()]);
    let paused = eventually_now(BROWSES_WITHIN, || {
        let ended = browser.0.try_wait().unwrap();
        (pause.exists() || ended.is_some()).then_some(ended)
    });
    assert_eq!(paused, Some(None), "{}", fs::read_to_string(rig.folder.path().join("browser.log")).unwrap());
    rig.serve();
    fs::remove_file(&pause).unwrap();
    rig.finished(&mut browser);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_goes_the_whole_way_and_names_what_fails() {
    let rig = Rig::start(&[]).await;
    let token = rig.login().await;
    let path = format!("/api/dev/{VMID}/ide/doctor");
    let well = rig.ask(&path, Some(&token), None).await;
    assert_eq!((&well["ok"], well["hops"].as_array().unwrap().len()), (&json!(true), 7), "{well:#}");
    drop(rig._code_server);
    let rig = Rig { _code_server: Running(Command::new("true").spawn().unwrap()), ..rig };
    let ill = eventually_now(STARTS_WITHIN, || {
        let answer = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(rig.ask(&path, Some(&token), None))
        });
        // One that dies in the middle of a look fails a later hop once.
        let at_page = answer["hops"].as_array().and_then(|hops| hops.last()).is_some_and(|last| last["name"] == "page");
        (answer["ok"] == false && at_page).then_some(answer)
    });
    let ill = ill.expect("a dead IDE is noticed");
    let last = ill["hops"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["name"], "page", "{ill:#}");
    assert!(last["cure"].as_str().unwrap().starts_with("Start the IDE"), "{ill:#}");
}

/// nginx as people put it before the gateway: TLS, and the browser's Host with its port.
fn nginx(folder: &Path, port: u16, ide: u16) -> Running {
    let at = folder.join("nginx");
    fs::create_dir(&at).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"])
        .args([
            "-subj",
            "/CN=ide.test",
            "-addext",
            "subjectAltName=DNS:ide.test",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(&at)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let configuration = format!(
        "daemon off; worker_processes 1; pid pid; error_log error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n\
         map $http_upgrade $conn {{ default upgrade; '' close; }}\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem;\n\
         location / {{ proxy_pass http://127.0.0.1:{ide}; proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $conn; proxy_read_timeout 3600s; proxy_buffering off; }} }} }}\n"
    );
    fs::write(at.join("nginx.conf"), configuration).unwrap();
    let nginx = Command::new("/usr/sbin/nginx").arg("-p").arg(&at).args(["-c", "nginx.conf"]).spawn().unwrap();
    let listens = eventually_now(STARTS_WITHIN, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    assert!(listens.is_some(), "nginx listens");
    Running(nginx)
}
