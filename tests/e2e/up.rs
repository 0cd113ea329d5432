//! `zlh up` as a newcomer uses it: one machine that becomes a dev environment with the real code-server behind the gateway.
use crate::{
    codeserver::{self, INSTALLED, SOON},
    it::support::{Sandbox, client, eventually, free_port, strays},
    parts::runtime,
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

fn zlh() -> Command {
    Command::new(env!("CARGO_BIN_EXE_zlh"))
}

/// Three ports in a row: API, IDEs, editor.
fn first_of_three() -> u16 {
    loop {
        let port = free_port();
        if free_port() == port + 2 {
            return port;
        }
    }
}

struct Up {
    child: Child,
    url: String,
    token: String,
}

impl Up {
    /// Its first start in this folder.
    async fn start(data: &Path, sandbox: &Sandbox) -> Up {
        let mut command = zlh();
        command.args(["up", "--listen", &format!("127.0.0.1:{}", first_of_three()), "--data"]).arg(data);
        command.env("ZLH_TEST_ID", sandbox.marker()).process_group(0);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let said: Vec<String> =
            BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).take(5).collect();
        let after =
            |start: &str| said.iter().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{said:?}"));
        let (url, login) = (after("listening gateway ").to_owned(), after("first login: "));
        let [name, password, ..] = login.split(' ').collect::<Vec<_>>()[..] else { panic!("{login}") };
        let body = json!({"username": name, "password": password});
        let mut up = Up { child, url, token: String::new() };
        up.token = up.ask(Method::POST, "/api/auth/login", Some(body)).await.1["token"].as_str().unwrap().to_owned();
        up
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = client().request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|e| panic!("{path}: {e:?}"));
        (answer.status(), answer.json().await.unwrap())
    }
}

fn publish(data: &Path, what: &[&str], file: PathBuf) {
    let mut command = zlh();
    command.arg("artifacts").arg("--store").arg(data.join("artifacts")).arg("add").args(what).arg(file);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn one_command_and_one_configuration_are_an_editor_in_the_browser() {
    let sandbox = Sandbox::new();
    let data = sandbox.root().with_file_name("up");
    let mut up = Up::start(&data, &sandbox).await;
    publish(&data, &["node", "22"], runtime("NODE_22"));
    publish(&data, &["code-server", &codeserver::version()], codeserver::tarball());
    let wish = json!({"container_type": "dev", "runtime": "node", "version": "22", "enable_code_server": true});
    let provision = || up.ask(Method::POST, "/api/servers/1/provision", Some(wish.clone()));

    let (status, refused) = provision().await;
    assert_eq!((status.as_u16(), refused["code"].as_str()), (422, Some("unusable")), "it is a game server yet");
    let cure = "PATCH /api/servers/1";
    assert!(refused["detail"].as_str().unwrap().contains(cure), "{refused}");
    let (status, _) = up.ask(Method::PATCH, "/api/servers/1", Some(json!({"containerType": "dev"}))).await;
    assert_eq!(status, 200);
    assert_eq!(provision().await.0, 202);

    let healthy = async || {
        let (_, doctor) = up.ask(Method::GET, "/api/dev/1/ide/doctor", None).await;
        (doctor["ok"] == true).then_some(doctor)
    };
    let doctor = eventually("the doctor's word that a browser gets in", INSTALLED, healthy).await;
    let hops: Vec<&str> = doctor["hops"].as_array().unwrap().iter().map(|hop| hop["name"].as_str().unwrap()).collect();
    assert_eq!(hops.last(), Some(&"first frame"), "{doctor}");

    let server = up.ask(Method::GET, "/api/servers/1", None).await.1;
    let editor = u16::try_from(server["idePort"].as_u64().unwrap()).unwrap();
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, editor)).is_err(), "it listens there");
    let elsewhere = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), editor));
    assert!(elsewhere.is_ok(), "and on no other address: it asks for no password");

    // Where it is not: the doctor says so.
    assert_eq!(up.ask(Method::PATCH, "/api/servers/1", Some(json!({"idePort": 9}))).await.0, 200);
    let told = async || {
        let (_, doctor) = up.ask(Method::GET, "/api/dev/1/ide/doctor", None).await;
        doctor["hops"][0]["detail"].as_str().unwrap().contains("The registry's idePort is another").then_some(())
    };
    eventually("the doctor's word that it is elsewhere", SOON, told).await;

    // Ctrl-C reaches the whole group at once.
    killpg(Pid::from_raw(i32::try_from(up.child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(up.child.wait().unwrap().code(), Some(0));
    eventually("all have ended", SOON, async || strays(sandbox.marker()).is_empty().then_some(())).await;
}
