//! Backups by the real agent: of a workspace in which people work, and of a game that goes on.
mod deaths;
mod dev;
mod game;

use crate::{
    installs::rig::{Rig, end_of},
    support::{Agent, Reply},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

/// Longer than anything here takes on a busy machine; nothing waits this long when all is well.
const SOON: Duration = Duration::from_secs(60);

/// A dev container, and a workspace as people leave it.
async fn furnished(rig: &Rig, flags: &[&str]) -> Agent {
    let agent = rig.agent(flags);
    let body = json!({"container_type": "dev", "vmid": 6001, "runtime": "node", "version": "22"});
    agent.configure(&body).await;
    agent.until_state("running", SOON).await;
    let place = workspace(rig);
    for (path, text) in [("src/main.rs", "fn main() {}"), ("README.md", "read me"), ("bin/run", "#!/bin/sh\n")] {
        write(rig, path, text);
    }
    fs::set_permissions(place.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
    write(rig, "node_modules/x/index.js", "made by a tool");
    symlink("src/main.rs", place.join("link")).unwrap();
    let owner = fs::metadata(&place).unwrap();
    std::os::unix::fs::lchown(place.join("link"), Some(owner.uid()), Some(owner.gid())).unwrap();
    agent
}

fn workspace(rig: &Rig) -> PathBuf {
    rig.sandbox.root().join("home/dev/workspace")
}

/// As the workspace's owner would.
fn write(rig: &Rig, path: &str, text: &str) {
    let top = workspace(rig);
    let owner = fs::metadata(&top).unwrap();
    let path = top.join(path);
    let mut missing: Vec<&Path> = path.parent().unwrap().ancestors().take_while(|folder| !folder.exists()).collect();
    missing.reverse();
    for folder in missing {
        fs::create_dir(folder).unwrap();
        chown(folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    fs::write(&path, text).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Kind, mode, owner, time and content of each name that is not left out.
fn look(top: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            if name == "node_modules" {
                continue;
            }
            let content = match about.file_type() {
                kind if kind.is_symlink() => format!("-> {:?}", fs::read_link(&path).unwrap()),
                kind if kind.is_file() => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
                _ => String::new(),
            };
            if about.is_dir() {
                folders.push(path);
            }
            let (mode, at) = (about.mode(), (about.mtime(), about.mtime_nsec()));
            seen.insert(name, format!("{mode:o} {}:{} {at:?} {content}", about.uid(), about.gid()));
        }
    }
    seen
}

/// The workspace after somebody went wild in it.
fn spoil(rig: &Rig) {
    write(rig, "src/main.rs", "spoilt");
    write(rig, "new/deep/file", "new");
    write(rig, "another", "new, too");
    fs::remove_file(workspace(rig).join("README.md")).unwrap();
    fs::remove_dir_all(workspace(rig).join("bin")).unwrap();
    write(rig, "bin", "a file where a folder was");
}

/// Made, and its record.
async fn create(agent: &Agent, kind: &str) -> Value {
    let made = agent.post(&format!("/{kind}/backups?wait=60s")).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["backup"].clone()
}

fn id(backup: &Value) -> String {
    backup["id"].as_str().unwrap_or_else(|| panic!("no id: {backup}")).to_owned()
}

async fn list(agent: &Agent, kind: &str) -> Vec<Value> {
    agent.get(&format!("/{kind}/backups")).await.json()["backups"].as_array().unwrap().clone()
}

async fn ended(agent: &Agent, reply: &Reply) -> Value {
    assert_eq!(reply.status, 202, "{reply:?}");
    end_of(agent, reply.json()["operationId"].as_str().unwrap()).await
}
