//! An editor that runs out of the memory that `/config` gives the container: a program of code-server's shape under a real
//! limit of the kernel's. The real one, given 64 MiB, came to no verdict within minutes.
use super::{SOON, config};
use crate::{
    installs::rig::{Rig, node},
    support::{Agent, free_port},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::fs;

/// Answers at `/healthz`, and eats once a file tells it to. Started as code-server's parent process is: its own folder is
/// the first argument, which Python takes for a program.
const EDITOR: &str = r#"
import http.server, os, sys, threading, time
address, port = sys.argv[sys.argv.index("--bind-addr") + 1].rsplit(":", 1)
hungry = os.path.join(os.environ["HOME"], "hungry")

def wait_and_eat():
    held = []
    while not os.path.exists(hungry):
        time.sleep(0.02)
    os.unlink(hungry)
    while True:
        held.append(b"x" * (4 << 20))

class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass

threading.Thread(target=wait_and_eat, daemon=True).start()
http.server.ThreadingHTTPServer((address, int(port)), Healthy).serve_forever()
"#;

const LAUNCHER: &str = r#"#!/bin/sh
[ "$1" = --version ] && echo 4.0.0 && exit
here=$(cd "$(dirname "$0")/.." && pwd -P)
exec "$here/lib/node" "$here" "$@"
"#;

/// The archive of a program that looks like code-server to whoever reads `/proc`.
pub fn editor() -> Vec<u8> {
    let python = fs::read("/usr/bin/python3").unwrap();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let files: [(&str, &[u8], u32); 6] = [
        ("bin/code-server", LAUNCHER.as_bytes(), 0o755),
        ("lib/node", &python, 0o755),
        ("out/node/entry.js", b"", 0o644),
        ("package.json", b"{}", 0o644),
        ("node_modules/argon2/package.json", b"{}", 0o644),
        ("__main__.py", EDITOR.as_bytes(), 0o644),
    ];
    for (name, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, format!("code-server-4.0.0-linux-amd64/{name}"), content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Puts it and a node into the catalog.
pub fn publish(rig: &Rig) {
    rig.artifacts.put("devcontainer/node/node-22.tar.gz", &node("22"));
    rig.artifacts.put("addons/code-server/code-server-4.0.0-linux-amd64.tar.gz", &editor());
    let catalog = json!({
        "serial": 99,
        "runtimes": [{"id": "node", "versions": ["22"]}],
        "addons": [{"id": "code-server", "versions": ["4.0.0"]}],
    });
    rig.artifacts.put("devcontainer/_catalog.json", catalog.to_string().as_bytes());
}

async fn stop(agent: &Agent) {
    agent.post("/dev/codeserver/stop").await;
    agent.until("no editor", SOON, |s| s["processRunning"] == false && s["operationInProgress"] == false).await;
}

#[tokio::test]
async fn an_editor_that_runs_out_of_memory_is_told_as_that_and_comes_back() {
    let rig = Rig::new();
    publish(&rig);
    let port = free_port();
    let set = format!("codeserver.port={port}");
    let agent = rig.agent(&["--set", &set, "--set", "restart.backoff=300ms,300ms"]);
    let mut body = config("22");
    (body["enable_code_server"], body["memory_mb"]) = (json!(true), json!(128));
    agent.configure(&body).await;
    let is_set_up = |s: &Value| s["operationInProgress"] == false && (s["state"] == "running" || s["state"] == "error");
    let status = agent.until("set up", SOON, is_set_up).await;
    assert_eq!(status["codeServerRunning"], true, "{status:#}");

    fs::write(rig.sandbox.root().join("home/dev/hungry"), "").unwrap();
    let crashed = |s: &Value| s["crashCount"] == 1 && s["lastCrashClassification"] != Value::Null;
    let told = agent.until("a crash", SOON, crashed).await;
    assert_eq!((&told["lastCrashClassification"], &told["lastCrashSignal"]), (&json!("oom"), &json!(9)), "{told:#}");
    assert!(told["restartAttempt"].as_u64() >= Some(1), "after a pause: {told:#}");
    let back = |s: &Value| s["codeServerRunning"] == true && s["pid"] != status["pid"];
    agent.until("back", SOON, back).await;
    stop(&agent).await;

    // A shell has the same limit, and the kernel ends what is too large in it, not the shell.
    let mut console = super::shell(&agent, "").await;
    console
        .type_line(
            "/usr/bin/python3 -c 'x = [b\"x\" * (4 << 20) for _ in range(100)]; print(\"a\" + \"te\")'; echo rc=$?",
        )
        .await;
    console.until("rc=137", SOON).await;
    assert!(!console.text().contains("ate\r\n"), "{}", console.text());
    super::finish(&rig, agent).await;
}
