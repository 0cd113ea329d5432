//! Of a workspace.
use super::{SOON, create, ended, furnished, id, list, look, spoil, workspace, write};
use crate::{
    installs::rig::Rig,
    support::{Agent, eventually},
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::Command,
};

async fn finish(agent: Agent) {
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_spoilt_workspace_comes_back_byte_for_byte_and_the_spoilt_one_too() {
    let rig = Rig::new();
    let agent = furnished(&rig, &[]).await;
    let before = look(&workspace(&rig));
    let backup = create(&agent, "dev").await;
    assert_eq!((&backup["kind"], &backup["reason"]), (&json!("dev"), &json!("manual")));
    assert_eq!((&backup["source"], &backup["warningCount"]), (&json!("home/dev/workspace"), &json!(0)));
    spoil(&rig);
    write(&rig, "node_modules/x/index.js", "made again");
    let spoilt = look(&workspace(&rig));
    // A shell that stands in a folder, and one in the workspace itself.
    let stands = File::open(workspace(&rig).join("src")).unwrap();
    let restored = agent.post(&format!("/dev/backups/restore?id={}&wait=60s", id(&backup))).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    let answer = restored.json();
    assert_eq!(answer["backup"], backup);
    assert_eq!(
        (&answer["checkpoint"]["reason"], answer["checkpoint"]["entries"].as_u64()),
        (&json!("checkpoint"), Some(8))
    );
    assert_eq!(look(&workspace(&rig)), before);
    assert_eq!(fs::metadata(workspace(&rig).join("src")).unwrap().ino(), stands.metadata().unwrap().ino());
    let left_out = fs::read_to_string(workspace(&rig).join("node_modules/x/index.js")).unwrap();
    assert_eq!(left_out, "made again", "what is left out is left alone");
    let back = agent.post(&format!("/dev/backups/restore?id={}&wait=60s", id(&answer["checkpoint"]))).await;
    assert_eq!((back.status.as_u16(), look(&workspace(&rig))), (200, spoilt));
    let operations = agent.get("/operations").await.json()["operations"].clone();
    let kinds: Vec<&str> = operations.as_array().unwrap().iter().filter_map(|o| o["kind"].as_str()).collect();
    assert_eq!(&kinds[..3], ["restore", "restore", "backup"], "{operations}");
    let folder = fs::metadata(rig.sandbox.root().join("opt/zlh-agent/backups")).unwrap();
    assert_eq!((folder.mode() & 0o777, folder.uid()), (0o700, nix::unistd::geteuid().as_raw()));
    finish(agent).await;
}

#[tokio::test]
async fn the_list_survives_the_agent_and_old_ones_go() {
    let rig = Rig::new();
    let agent = furnished(&rig, &["--set", "backups.keep=2"]).await;
    let mut made = Vec::new();
    for n in 0..4 {
        write(&rig, "n", &n.to_string());
        made.push(id(&create(&agent, "dev").await));
    }
    let kept: Vec<String> = list(&agent, "dev").await.iter().map(id).collect();
    assert_eq!(kept, [made[3].clone(), made[2].clone()]);
    agent.kill_9();
    let agent = rig.agent(&["--set", "backups.keep=2"]);
    assert_eq!(list(&agent, "dev").await.iter().map(id).collect::<Vec<_>>(), kept);
    assert_eq!(agent.delete(&format!("/dev/backups/{}", made[3])).await.status, 204);
    assert_eq!(agent.delete(&format!("/dev/backups/{}", made[3])).await.code(), "no_such_backup");
    assert_eq!(list(&agent, "dev").await.len(), 1);
    let on_disk = fs::read_dir(rig.sandbox.root().join("opt/zlh-agent/backups/dev")).unwrap();
    assert_eq!(on_disk.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 1);
    finish(agent).await;
}

#[tokio::test]
async fn verifying_finds_a_flipped_byte_and_such_a_backup_is_not_restored() {
    let rig = Rig::new();
    let agent = furnished(&rig, &[]).await;
    let backup = create(&agent, "dev").await;
    let verify = format!("/dev/backups/{}/verify?wait=60s", id(&backup));
    let sound = agent.post(&verify).await;
    assert_eq!((sound.status.as_u16(), &sound.json()["backup"]["verified"]["sound"]), (200, &json!(true)));
    let archive = rig.sandbox.root().join(format!("opt/zlh-agent/backups/dev/{}/archive.tar.zst", id(&backup)));
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&archive, bytes).unwrap();
    let before = look(&workspace(&rig));
    let failed = agent.post(&format!("/dev/backups/restore?id={}&wait=60s", id(&backup))).await;
    assert_eq!((failed.status.as_u16(), failed.code().as_str()), (500, "operation_failed"), "{failed:?}");
    assert_eq!(look(&workspace(&rig)), before, "nothing was touched");
    let damaged = agent.post(&verify).await;
    assert!(damaged.json()["detail"].as_str().unwrap().contains("damaged"), "{damaged:?}");
    assert_eq!(list(&agent, "dev").await.last().unwrap()["verified"]["sound"], false);
    let refused = agent.post(&format!("/dev/backups/restore?id={}", id(&backup))).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "backup_damaged"));
    finish(agent).await;
}

#[tokio::test]
async fn a_second_order_is_told_of_the_first_which_can_be_cancelled() {
    let rig = Rig::new();
    let agent = furnished(&rig, &[]).await;
    // More than is copied in the blink of an eye; holes cost no disk.
    let bulk = File::create(workspace(&rig).join("bulk")).unwrap();
    bulk.set_len(8 << 30).unwrap();
    let first = agent.post("/dev/backups").await;
    assert_eq!((first.status.as_u16(), &first.json()["backup"]["state"]), (202, &json!("creating")));
    let second = agent.post("/dev/backups").await;
    assert_eq!((second.status.as_u16(), second.code().as_str()), (409, "operation_in_progress"));
    assert_eq!(
        (second.json()["holder"].clone(), second.json()["operation"].clone()),
        (json!("backup"), first.json()["operationId"].clone())
    );
    let body = json!({"container_type": "dev", "vmid": 6001, "runtime": "node", "version": "22"});
    assert_eq!(agent.post_json("/config", &body).await.code(), "operation_in_progress", "one lock for all");
    let operation = first.json()["operationId"].as_str().unwrap().to_owned();
    eventually("a hundred megabytes that are copied", SOON, async || {
        let row = agent.get(&format!("/operations/{operation}")).await.json();
        (row["step"] == "copying" && row["progress"].as_f64()? > 0.0125).then_some(())
    })
    .await;
    assert_eq!(agent.status().await["operationType"], "backup");
    assert_eq!(agent.delete(&format!("/operations/{operation}")).await.status, 202);
    let end = ended(&agent, &first).await;
    assert_eq!((&end["state"], &end["error"]), (&json!("failed"), &json!("it was cancelled")));
    assert_eq!(list(&agent, "dev").await.len(), 0);
    // Memory does not grow with what is copied.
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 96 << 10, "{peak} KiB");
    finish(agent).await;
}

#[tokio::test]
async fn a_full_disk_is_a_507_at_the_door_and_costs_nothing() {
    let rig = Rig::new();
    let agent = furnished(&rig, &["--set", "backups.min_free_bytes=1024GiB"]).await;
    let refused = agent.post("/dev/backups").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (507, "disk_full"), "{refused:?}");
    assert!(refused.json()["limit"].as_u64().unwrap() >= 1 << 40);
    finish(agent).await;
}

/// A small file system of its own; gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: PathBuf) -> SmallDisk {
        fs::create_dir_all(&at).unwrap();
        let options = Some("size=24m,mode=755");
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), options).expect("only root can run these tests");
        SmallDisk(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_ends_the_copy_and_leaves_room() {
    let rig = Rig::new();
    let disk = SmallDisk::new(rig.sandbox.root().join("opt/zlh-agent/backups"));
    let agent = furnished(&rig, &["--set", "backups.min_free_bytes=8MiB"]).await;
    let mut bulk = File::create(workspace(&rig).join("bulk")).unwrap();
    let mut noise = vec![0u8; 1 << 20];
    let mut random = File::open("/dev/urandom").unwrap();
    for _ in 0..40 {
        std::io::Read::read_exact(&mut random, &mut noise).unwrap();
        bulk.write_all(&noise).unwrap();
    }
    let end = ended(&agent, &agent.post("/dev/backups").await).await;
    assert!(end["error"].as_str().unwrap().contains("disk is full"), "{end}");
    assert_eq!(fs::read_dir(disk.0.join("dev")).unwrap().count(), 0, "nothing is left of it");
    finish(agent).await;
}

#[tokio::test]
async fn what_there_is_not_cannot_be_asked_for() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    assert_eq!(agent.post("/dev/backups").await.code(), "no_config");
    let none = "0198c0de-7a11-7abc-8def-000000000001";
    assert_eq!(agent.post(&format!("/game/backups/restore?id={none}")).await.code(), "no_such_backup");
    assert_eq!(agent.post("/game/backups").await.code(), "no_config");
    assert_eq!(agent.get("/game/backups").await.json(), json!({"backups": []}));
    finish(agent).await;
}

/// What a person types, and what they read.
#[tokio::test]
async fn the_command_line_makes_lists_restores_verifies_and_deletes() {
    let rig = Rig::new();
    let agent = furnished(&rig, &[]).await;
    let url = agent.url("");
    let zlh = |words: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_zlh")).args(["--url", &url, "backup"]).args(words).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
        (out.status.code(), said)
    };
    assert!(zlh(&["list"]).1.contains("no backups"));
    let (code, said) = zlh(&["create"]);
    assert!(code == Some(0) && said.contains("backup done in"), "{said}");
    let before = look(&workspace(&rig));
    spoil(&rig);
    let (code, said) = zlh(&["restore", "last"]);
    assert!(code == Some(0) && said.contains("restore done in"), "{said}");
    assert_eq!(look(&workspace(&rig)), before);
    let (_, table) = zlh(&["list"]);
    assert!(table.contains("checkpoint") && table.contains("manual") && table.contains("not yet"), "{table}");
    let manual = |table: &str| table.lines().find(|line| line.contains("manual")).unwrap().to_owned();
    let short = manual(&table).split(' ').next().unwrap().to_owned();
    assert_eq!(zlh(&["verify", &short]).0, Some(0));
    let (_, table) = zlh(&["list"]);
    assert!(table.contains("not yet") && !manual(&table).contains("not yet"), "{table}");
    let (code, said) = zlh(&["delete", &short]);
    assert!(code == Some(0) && said.contains("deleted"), "{said}");
    let (code, said) = zlh(&["delete", &short]);
    assert!(code == Some(1) && said.contains("zlh backup list"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&zlh(&["list", "--json"]).1).unwrap();
    assert_eq!(json["backups"].as_array().unwrap().len(), 1);
    finish(agent).await;
}
