//! The table of shells and ways in: with `/` as root, on private copies of `/etc` and the folders that the agent writes.
use crate::{
    installs::rig::node,
    support::{Artifacts, Sandbox, free_port},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, process::Command};

const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games";
const RUNTIMES: &str = "/opt/zlh/runtimes/java/current/bin:/opt/zlh/runtimes/node/current/bin";
const OWN: &str = "/home/dev/.local/bin:/home/dev/.npm-global/bin:/home/dev/go/bin:/home/dev/.dotnet/tools";

/// A java that says its version.
fn java() -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let script = b"#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n";
    for (name, content) in [("jdk-21/bin/java", &script[..]), ("jdk-21/lib/modules", &b"x"[..])] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// By name: PATH, JAVA_HOME, node, HOME, USER, LOGNAME, LANG.
type Ways = BTreeMap<String, Vec<String>>;

fn artifacts() -> Artifacts {
    let artifacts = Artifacts::serve();
    for version in ["20", "22"] {
        artifacts.put(&format!("devcontainer/node/node-{version}.tar.gz"), &node(version));
    }
    artifacts.put("devcontainer/java/jdk-21.tar.gz", &java());
    let catalog = json!({"runtimes": [{"id": "node", "versions": ["20", "22"]}, {"id": "java", "versions": ["21"]}]});
    artifacts.put("devcontainer/_catalog.json", catalog.to_string().as_bytes());
    artifacts
}

fn table(text: &str) -> Ways {
    let row = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        (fields.next().unwrap(), fields.collect())
    };
    text.lines().map(row).collect()
}

fn check(ways: &Ways, node: &str) {
    let whole = format!("{OWN}:{RUNTIMES}:{SYSTEM}");
    assert_eq!(ways.len(), 31, "{:?}", ways.keys());
    for (way, found) in ways {
        // What reads no file of a shell has what PAM gives to everybody: no folder that dev can write to.
        let path = match way.as_str() {
            "pam bash command" | "pam dash command" => format!("{RUNTIMES}:{SYSTEM}"),
            "venv" => format!("/home/dev/venv/bin:{whole}:/opt/mine"),
            "root bash" => {
                assert_eq!(found[0], "/usr/bin:/bin", "root is not touched");
                continue;
            }
            _ => whole.clone(),
        };
        let want = [&path, "/opt/zlh/runtimes/java/current", node, "/home/dev", "dev", "dev", "C.UTF-8"];
        assert_eq!(found, &want.map(str::to_owned), "{way}");
    }
}

#[test]
fn every_way_in_finds_the_same_and_follows_the_active_version() {
    for shell in ["/usr/bin/zsh", "/usr/bin/fish", "/usr/bin/dash"] {
        assert!(fs::exists(shell).unwrap(), "{shell} is missing: run `make realparts`");
    }
    let (artifacts, sandbox) = (artifacts(), Sandbox::new());
    let work = sandbox.root().join("work");
    fs::create_dir(&work).unwrap();
    let script = work.join("ways.sh");
    fs::write(&script, include_str!("ways.sh")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let port = free_port().to_string();
    let out = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "bash"])
        .args([script.to_str().unwrap(), env!("CARGO_BIN_EXE_zlh"), work.to_str().unwrap(), &artifacts.url(), &port])
        .env("ZLH_TEST_ID", sandbox.marker())
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{errors}\n{text}");
    let refused = fs::read_to_string(work.join("refused")).unwrap();
    for words in ["openssh-server could not be installed", "Unable to fetch some archives", "in its template"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let apt = fs::read_to_string(work.join("apt.log")).unwrap();
    assert_eq!(apt, "policy 101\n/dev/null\n", "the package's own server was kept from starting");
    assert!(!work.join("sbin/policy-rc.d").exists());
    let (first, rest) = text.split_once("switched\n").unwrap();
    let (second, marks) = rest.split_once("untouched\n").unwrap();
    check(&table(first), "v22");
    check(&table(second), "v20");
    assert_eq!(marks, "yes\nonce\n", "the rest of everybody's files is as it was");
}
