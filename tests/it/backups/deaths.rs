//! The agent is killed at each step of a copy and of a restore: afterwards the workspace is the old one or the restored
//! one, whole, and the operation has the outcome that is true.
#![cfg(feature = "failpoints")]
use super::{SOON, create, furnished, id, list, look, spoil, workspace};
use crate::{
    installs::rig::{Rig, end_of},
    support::{Agent, eventually, eventually_now},
};
use reqwest::Method;
use serde_json::Value;
use std::{fs, path::Path};

/// Another life that dies at `point` over this order.
async fn dies_at(rig: &Rig, point: &str, order: &str) {
    let flags = rig.flags(&["--allow-unauthenticated"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_zlh"));
    let mut agent = Agent::spawn(program, &rig.sandbox, &flags, &[("ZLH_FAIL", point)]);
    assert!(agent.listens(), "{point}");
    // The last life may have died before its set-up was written down as done.
    agent.until("a set-up that is over", SOON, |s| s["state"] == "running" && s["operationInProgress"] == false).await;
    // It may die before it has answered.
    let answer = agent.try_call(Method::POST, order, None).await;
    let ended = eventually_now(SOON, || agent.ended());
    assert!(ended.is_some_and(|status| !status.success()), "{point} never struck: {answer:?}");
}

/// The newest operation on backups, ended.
async fn newest(agent: &Agent) -> Option<Value> {
    let operations = agent.get("/operations").await.json()["operations"].clone();
    let on_backups = |o: &&Value| matches!(o["kind"].as_str(), Some("backup" | "restore"));
    let id = operations.as_array().unwrap().iter().find(on_backups)?["id"].as_str()?.to_owned();
    Some(end_of(agent, &id).await)
}

#[tokio::test]
async fn killed_at_any_step_of_a_copy_it_is_whole_or_not_there() {
    let rig = Rig::new();
    let agent = furnished(&rig, &[]).await;
    agent.kill_9();
    let points = ["backup.before_save@1", "backup.after_save@1", "backup.begun", "backup.copied", "backup.recorded"];
    for point in points.iter().chain(&["backup.kept", "backup.before_save@2", "backup.after_save@2"]) {
        dies_at(&rig, point, "/dev/backups").await;
        let agent = rig.agent(&[]);
        let there = list(&agent, "dev").await;
        agent.until("a set-up that is over", SOON, |s| s["state"] == "running").await;
        match newest(&agent).await {
            Some(end) if end["state"] == "done" => assert_eq!(there.len(), 1, "{point}"),
            Some(end) => {
                assert!(there.is_empty() && end["error"].as_str().unwrap().contains("make it again"), "{point}: {end}")
            }
            None => assert_eq!(*point, "backup.before_save@1"),
        }
        for backup in &there {
            assert_eq!(
                agent.post(&format!("/dev/backups/{}/verify?wait=60s", id(backup))).await.status,
                200,
                "{point}"
            );
            assert_eq!(agent.delete(&format!("/dev/backups/{}", id(backup))).await.status, 204, "{point}");
        }
        // A life that died at once has not even made the folder.
        let left = fs::read_dir(rig.sandbox.root().join("opt/zlh-agent/backups/dev")).into_iter().flatten();
        assert_eq!(left.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0, "{point}");
        assert!(agent.terminate().success());
    }
}

#[tokio::test]
async fn killed_at_any_step_of_a_restore_it_is_finished_or_nothing_happened() {
    let points = [
        "restore.begun",
        "restore.staged",
        "restore.clearing",
        "restore.clears@1",
        "restore.clears@2",
        "restore.filling",
        "restore.fills@1",
        "restore.fills@2",
        "restore.fills@3",
        "restore.filled",
        "restore.done",
    ];
    for point in points {
        let rig = Rig::new();
        let agent = furnished(&rig, &[]).await;
        let wanted = look(&workspace(&rig));
        let backup = create(&agent, "dev").await;
        agent.kill_9();
        spoil(&rig);
        let spoilt = look(&workspace(&rig));
        dies_at(&rig, point, &format!("/dev/backups/restore?id={}", id(&backup))).await;
        let agent = rig.agent(&[]);
        let end = eventually("the restore among the operations", SOON, async || newest(&agent).await).await;
        let now = look(&workspace(&rig));
        match end["state"].as_str() {
            Some("done") => assert_eq!(now, wanted, "{point}"),
            _ => assert_eq!(now, spoilt, "{point}: {end}"),
        }
        let before_exchange = matches!(point, "restore.begun" | "restore.staged");
        assert_eq!(end["state"] == "failed", before_exchange, "{point}: {end}");
        let checkpoints = list(&agent, "dev").await.iter().filter(|b| b["reason"] == "checkpoint").count();
        assert_eq!(checkpoints, 1, "{point}");
        let beside: Vec<_> = fs::read_dir(workspace(&rig).parent().unwrap())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with(".zlh-restore"))
            .collect();
        assert_eq!(beside, [""; 0], "{point}: nothing is left beside the workspace");
        // What was there before can still be had.
        let again = agent.post(&format!("/dev/backups/restore?id={}&wait=60s", id(&backup))).await;
        assert_eq!((again.status.as_u16(), look(&workspace(&rig))), (200, wanted), "{point}");
        assert!(agent.terminate().success());
    }
}
