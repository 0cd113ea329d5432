//! The set-up as the platform's API sees it.
use super::{SOON, config, finish, running};
use crate::installs::rig::Rig;
use serde_json::json;
use std::{fs, os::unix::fs::MetadataExt, path::Path};

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

#[tokio::test]
async fn a_bare_root_becomes_a_dev_container_and_stays_one() {
    let rig = Rig::new();
    let agent = running(&rig, &[]).await;
    let status = agent.status().await;
    for field in ["devProvisioned", "provisioningComplete", "runtimeInstalled", "ready"] {
        assert_eq!(status[field], true, "{field}: {status:#}");
    }
    let workspace = rig.sandbox.root().join("home/dev/workspace");
    assert_eq!(status["workspaceRoot"], workspace.to_str().unwrap());
    assert!(status["devReadyAt"].is_string() && status["error"].is_null() && status["containerType"] == "dev");
    assert_ne!(owner(&workspace), 0);
    for path in ["/start", "/stop", "/restart", "/kill"] {
        assert_eq!(agent.post(path).await.code(), "not_a_game", "{path}");
    }
    assert_eq!(agent.get("/game/players").await.code(), "not_a_game");
    assert_eq!(agent.get("/ready").await.status, 200);
    let game = agent.post_json("/config", &json!({"vmid": 6001, "game": "minecraft", "variant": "paper"})).await;
    assert_eq!((game.status.as_u16(), game.json()["field"].clone()), (422, json!("container_type")));
    // The same again: a look around, no second install.
    let requests = rig.artifacts.requests();
    fs::write(workspace.join("roots"), "").unwrap();
    agent.configure(&config("22")).await;
    agent.until("done again", SOON, |s| s["state"] == "running" && s["operationInProgress"] == false).await;
    assert!(rig.artifacts.requests() - requests <= 2, "only the catalog was read");
    assert_eq!(owner(&workspace.join("roots")), owner(&workspace), "given back");
    agent.kill_9();
    let agent = rig.agent(&[]);
    let again = agent.until_state("running", SOON).await;
    assert_eq!(again["devReadyAt"].as_str().map(str::len), Some(24));
    assert_eq!(agent.post("/start").await.code(), "not_a_game");
    finish(&rig, agent).await;
}

#[tokio::test]
async fn what_is_not_in_the_catalog_changes_nothing() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    for (body, field, allowed) in [
        (config("19"), "version", "20, 22"),
        (json!({"ctype": "dev", "vmid": 1, "runtime": "cobol", "version": "1"}), "runtime", "node"),
        (json!({"container_type": "dev", "vmid": 1}), "runtime", "node"),
    ] {
        let reply = agent.post_json("/config", &body).await;
        let problem = reply.json();
        assert_eq!((reply.status.as_u16(), &problem["field"]), (422, &json!(field)), "{problem:#}");
        assert!(problem["detail"].as_str().unwrap().contains(allowed), "{problem:#}");
    }
    assert!(!rig.sandbox.root().join("home").exists() && !rig.sandbox.root().join("etc").exists());
    assert_eq!(agent.status().await["containerType"], "game");
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_runtime_that_lies_fails_the_set_up_with_its_words() {
    let mut rig = Rig::new();
    rig.publish("22", &crate::installs::rig::node("18"));
    let agent = rig.agent(&[]);
    agent.configure(&config("22")).await;
    let status = agent.until_state("error", SOON).await;
    let error = status["provisioningError"].as_str().unwrap();
    assert!(error.contains("node 22"), "{error}");
    assert_eq!((&status["devProvisioned"], &status["ready"]), (&json!(false), &json!(false)));
    // The same version, right this time.
    fs::remove_dir_all(rig.sandbox.root().join("opt/zlh/runtimes/node")).unwrap();
    rig.publish("22", &crate::installs::rig::node("22"));
    agent.configure(&config("22")).await;
    agent.until_state("running", SOON).await;
    finish(&rig, agent).await;
}
