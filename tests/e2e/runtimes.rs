//! Real archives of real runtimes, from two web servers onto the disk: with and without a top folder, as upstream ships
//! them, and each runs afterwards.
use crate::{
    it::support::{Agent, Artifacts, Sandbox, eventually, free_port},
    parts::runtime,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const WITHIN: Duration = Duration::from_secs(600);

/// Part, runtime, version, where it lies, and what proves that it runs.
const SHELF: [(&str, &str, &str, &str, &[&str]); 5] = [
    ("NODE_22", "node", "22", "node/node-22.tar.gz", &["bin/node", "-e", "process.exit(6 * 7 - 42)"]),
    ("GO_1_25", "go", "1.25", "go/go-1.25.tar.gz", &["bin/go", "version"]),
    ("JRE_21", "java", "21", "java/jdk-21.tar.gz", &["bin/java", "-version"]),
    ("PYTHON_3_11", "python", "3.11", "python/python-3.11.tar.gz", &["bin/python3", "-c", "import json, zlib"]),
    ("DOTNET_8_0", "dotnet", "8.0", "dotnet/dotnet-8.0.tar.gz", &["dotnet", "--list-runtimes"]),
];

/// The bare catalog that other publishers write, and a `.sha256` beside each file.
fn publish(root: &Path) {
    let mut runtimes = Vec::new();
    for (part, id, version, path, _) in SHELF {
        let (from, to) = (runtime(part), root.join("devcontainer").join(path));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).unwrap();
        }
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(fs::read(&from).unwrap()));
        fs::write(format!("{}.sha256", to.display()), format!("{hash}  {}\n", to.file_name().unwrap().display()))
            .unwrap();
        runtimes.push(json!({"id": id, "versions": [version]}));
    }
    fs::write(root.join("devcontainer/_catalog.json"), json!({ "runtimes": runtimes }).to_string()).unwrap();
}

async fn install_all(sandbox: &Sandbox, agent: &Agent) {
    for (_, id, version, _, proof) in SHELF {
        let began = Instant::now();
        let reply = agent.post_json("/dev/runtimes", &json!({"runtime": id, "version": version})).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let path = format!("/operations/{}", reply.json()["operationId"].as_str().unwrap());
        let ended: Value = eventually(id, WITHIN, async || {
            let operation = agent.get(&path).await.json();
            (!matches!(operation["state"].as_str(), Some("queued" | "running"))).then_some(operation)
        })
        .await;
        assert_eq!(ended["state"], "done", "{ended}");
        println!("{id} {version}: {:?}", began.elapsed());
        let tree = sandbox.root().join("opt/zlh/runtimes").join(id).join("current");
        let ran = Command::new(tree.join(proof[0]))
            .args(&proof[1..])
            .env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1")
            .output()
            .unwrap();
        assert!(ran.status.success(), "{id}: {ran:?}");
    }
    let status = agent.status().await;
    let verified = status["runtimes"].as_array().unwrap().iter().filter(|r| r["verified"] == true).count();
    assert_eq!(verified, SHELF.len(), "{:#}", status["runtimes"]);
}

#[tokio::test]
async fn real_runtimes_install_and_run() {
    let (artifacts, sandbox) = (Artifacts::serve(), Sandbox::new());
    publish(artifacts.root());
    let agent = sandbox.agent(&["--artifacts-url", &artifacts.url()]);
    install_all(&sandbox, &agent).await;
    agent.finish().await;
}

#[tokio::test]
async fn real_runtimes_install_from_nginx_too() {
    let (folder, sandbox) = (tempfile::tempdir().unwrap(), Sandbox::new());
    publish(folder.path());
    let nginx = Nginx::serve(folder.path());
    let agent = sandbox.agent(&["--artifacts-url", &nginx.url]);
    install_all(&sandbox, &agent).await;
    agent.finish().await;
}

/// Ends with the test.
struct Nginx {
    process: Child,
    url: String,
}

impl Nginx {
    fn serve(root: &Path) -> Nginx {
        let port = free_port();
        let prefix = root.join("nginx");
        fs::create_dir(&prefix).unwrap();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind}; ", prefix.display()))
            .concat();
        let mut config = fs::File::create(prefix.join("nginx.conf")).unwrap();
        write!(
            config,
            "user root; daemon off; master_process off; pid {0}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; {paths}\n\
             server {{ listen 127.0.0.1:{port}; root {1}; }} }}\n",
            prefix.display(),
            root.display()
        )
        .unwrap();
        let process = Command::new(runtime("NGINX"))
            .arg("-p")
            .arg(&prefix)
            .arg("-c")
            .arg(prefix.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Nginx { process, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
