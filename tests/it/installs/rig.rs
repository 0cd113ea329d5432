//! An artifact server with runtimes that a test made, and an agent that installs from it.
use crate::support::{Agent, Artifacts, Reply, Sandbox, eventually};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

/// Far more than any install here takes on a slow machine.
pub const WITHIN: Duration = Duration::from_secs(180);

pub struct Rig {
    pub artifacts: Artifacts,
    pub sandbox: Sandbox,
    versions: Vec<Value>,
    pub serial: u64,
}

impl Rig {
    /// With node 20 and 22 in the catalog, hashes and all.
    pub fn new() -> Rig {
        let mut rig = Rig { artifacts: Artifacts::serve(), sandbox: Sandbox::new(), versions: Vec::new(), serial: 0 };
        rig.publish("20", &node("20"));
        rig.publish("22", &node("22"));
        rig
    }

    /// Adds or replaces a version of node.
    pub fn publish(&mut self, version: &str, archive: &[u8]) {
        let path = format!("devcontainer/node/node-{version}.tar.gz");
        let sha256 = self.artifacts.put(&path, archive);
        self.versions.retain(|v| v["version"] != version);
        self.versions.push(json!({"version": version, "path": path, "sha256": sha256, "size": archive.len()}));
        self.write_catalog();
    }

    /// Says something else of a version than the truth.
    pub fn claim(&mut self, version: &str, field: &str, value: Value) {
        let found = self.versions.iter_mut().find(|v| v["version"] == version).unwrap();
        match value {
            Value::Null => _ = found.as_object_mut().unwrap().remove(field),
            value => found[field] = value,
        }
        self.write_catalog();
    }

    pub fn write_catalog(&mut self) {
        self.serial += 1;
        let catalog = json!({
            "serial": self.serial,
            "runtimes": [{"id": "node", "versions": self.versions}, {"id": 7}],
        });
        self.artifacts.put("devcontainer/_catalog.json", catalog.to_string().as_bytes());
    }

    pub fn agent(&self, flags: &[&str]) -> Agent {
        self.sandbox.agent(&self.flags(flags).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Quick about faults that pass: a test has no minute for each.
    pub fn flags(&self, more: &[&str]) -> Vec<String> {
        let url = self.artifacts.url();
        let usual = ["--artifacts-url", &url, "--set", "install.backoff=10ms,20ms", "--set", "install.stall=4s"];
        let quick = ["--set", "install.connect_timeout=20s", "--set", "install.tries=1000"];
        usual.iter().chain(&quick).chain(more).map(|word| (*word).to_owned()).collect()
    }

    pub fn place(&self, version: &str) -> PathBuf {
        self.sandbox.root().join("opt/zlh/runtimes/node").join(version)
    }

    pub fn current(&self) -> Option<String> {
        let link = fs::read_link(self.place("current")).ok()?;
        Some(link.to_str().unwrap().to_owned())
    }

    /// What `current` says of itself.
    pub fn runs(&self) -> String {
        let program = self.place("current").join("bin/node");
        let out = std::process::Command::new(program).arg("--version").output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// No half-done install is left.
    pub fn is_clean(&self) -> bool {
        let left = |name: &str| fs::read_dir(self.place(name)).map(|d| d.count()).unwrap_or(0);
        left(".zlh-staging") == 0
    }
}

/// An order that was accepted, followed to its end.
pub async fn ended(agent: &Agent, reply: Reply) -> Value {
    assert_eq!(reply.status, 202, "{reply:?}");
    let id = reply.json()["operationId"].as_str().unwrap().to_owned();
    end_of(agent, &id).await
}

pub async fn end_of(agent: &Agent, id: &str) -> Value {
    eventually("an outcome", WITHIN, async || {
        let operation = agent.get(&format!("/operations/{id}")).await;
        let json = operation.json();
        (!matches!(json["state"].as_str(), Some("queued" | "running"))).then_some(json)
    })
    .await
}

pub async fn install(agent: &Agent, version: &str) -> Value {
    ended(agent, agent.post_json("/dev/runtimes", &json!({"runtime": "node", "version": version})).await).await
}

/// Done, or the error.
pub fn outcome(operation: &Value) -> Result<(), String> {
    match operation["state"].as_str() {
        Some("done") => Ok(()),
        _ => Err(operation["error"].as_str().unwrap_or_default().to_owned()),
    }
}

/// A node that says its version, wrapped into one folder as upstream does it.
pub fn node(version: &str) -> Vec<u8> {
    archive(version, &[])
}

/// The same with more files.
pub fn archive(version: &str, more: &[(String, Vec<u8>)]) -> Vec<u8> {
    archive_of(version, &format!("echo v{version}"), more)
}

/// With a node that does this.
pub fn archive_of(version: &str, does: &str, more: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let top = format!("node-v{version}-linux-x64");
    let script = format!("#!/bin/sh\n{does}\n");
    add(&mut tar, &format!("{top}/bin/node"), script.as_bytes(), 0o755);
    add(&mut tar, &format!("{top}/lib/a.js"), b"module.exports = 1\n", 0o644);
    for (name, content) in more {
        add(&mut tar, &format!("{top}/{name}"), content, 0o755);
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn add(tar: &mut tar::Builder<GzEncoder<Vec<u8>>>, name: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, name, content).unwrap();
}

/// Spoils a file of an installed tree.
pub fn damage(path: &std::path::Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path, "spoilt").unwrap();
}
