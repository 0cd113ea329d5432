//! The whole life of runtimes: installed, active, rolled back, verified, mended, in use, removed.
use super::{
    Rig,
    rig::{WITHIN, archive, damage, ended, install, outcome},
};
use serde_json::json;
use std::{
    fs,
    process::{Command, Stdio},
};

#[tokio::test]
async fn versions_stand_side_by_side_and_the_active_one_can_be_changed_back() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    assert_eq!((rig.current().as_deref(), rig.runs().as_str()), (Some("20"), "v20"));
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()));
    assert_eq!((rig.runs().as_str(), rig.place("20").join("bin/node").is_file()), ("v22", true));
    let list = agent.get("/dev/runtimes").await.json();
    let installed: Vec<_> =
        list["installed"].as_array().unwrap().iter().map(|r| (r["version"].clone(), r["active"].clone())).collect();
    assert_eq!(installed, [(json!("20"), json!(false)), (json!("22"), json!(true))]);
    assert_eq!(list["installed"][1]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(list["available"], json!([{"id": "node", "versions": ["20", "22"]}]));
    let status = agent.until("runtimes in the status", WITHIN, |s| s["runtimes"].as_array().unwrap().len() == 2).await;
    assert_eq!(status["runtimes"][1], json!({"id": "node", "version": "22", "active": true, "verified": true}));
    let dirty = status["warnings"].as_array().unwrap().iter().any(|w| w["code"] == "catalog_dirty");
    assert!(dirty, "{:#}", status["warnings"]);
    assert_eq!(outcome(&ended(&agent, agent.post("/dev/runtimes/node/rollback").await).await), Ok(()));
    assert_eq!(rig.runs(), "v20");
    let reply = agent.post("/dev/runtimes/node/rollback").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "no_previous"));
    let activated = agent.post_json("/dev/runtimes/node/activate", &json!({"version": "22"})).await;
    assert_eq!(outcome(&ended(&agent, activated).await), Ok(()));
    assert_eq!(rig.runs(), "v22");
    let again = agent.post_json("/dev/runtimes/node/activate", &json!({"version": "22"})).await;
    assert_eq!(again.status, 200, "nothing to do");
    agent.finish().await;
}

#[tokio::test]
async fn what_is_damaged_is_found_named_and_mended() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    install(&agent, "22").await;
    let file = rig.place("22").join("lib/a.js");
    damage(&file);
    let why = outcome(&ended(&agent, agent.post("/dev/runtimes/node/verify").await).await).unwrap_err();
    assert!(why.contains("lib/a.js"), "{why}");
    assert_eq!(outcome(&ended(&agent, agent.post("/dev/runtimes/node/repair").await).await), Ok(()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "module.exports = 1\n");
    damage(&file);
    let before = rig.artifacts.requests();
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()), "who wants it wants it whole");
    assert_eq!(fs::read_to_string(&file).unwrap(), "module.exports = 1\n");
    assert_eq!(rig.artifacts.requests(), before, "mended from the cache");
    agent.finish().await;
}

#[tokio::test]
async fn what_somebody_runs_stays_until_he_is_done() {
    let mut rig = Rig::new();
    let cat = fs::read("/bin/cat").unwrap();
    rig.publish("24", &archive("24", &[("bin/cat".into(), cat)]));
    let agent = rig.agent(&[]);
    install(&agent, "24").await;
    install(&agent, "22").await;
    let mut user = Command::new(rig.place("24").join("bin/cat")).stdin(Stdio::piped()).spawn().unwrap();
    let refused = agent.delete("/dev/runtimes/node/24").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "in_use"), "{refused:?}");
    assert_eq!(refused.json()["users"], json!([{"pid": user.id(), "name": "cat"}]));
    let list = agent.get("/dev/runtimes").await.json();
    assert_eq!(list["installed"][1]["inUseBy"][0]["pid"], user.id());
    user.kill().unwrap();
    user.wait().unwrap();
    assert_eq!(outcome(&ended(&agent, agent.delete("/dev/runtimes/node/24").await).await), Ok(()));
    assert!(!rig.place("24").exists());
    let gone = agent.delete("/dev/runtimes/node/24").await;
    assert_eq!((gone.status.as_u16(), gone.code().as_str()), (404, "not_installed"));
    assert_eq!(outcome(&ended(&agent, agent.post("/dev/runtimes/gc").await).await), Ok(()));
    assert_eq!(rig.runs(), "v22");
    agent.finish().await;
}

#[tokio::test]
async fn wishes_the_catalog_cannot_meet_are_refused_with_what_it_has() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    for (runtime, version, field, allowed) in
        [("node", "19", "version", "allowed: 20, 22"), ("ruby", "3", "runtime", "allowed: node")]
    {
        let reply = agent.post_json("/dev/runtimes", &json!({"runtime": runtime, "version": version})).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (422, "unusable"), "{reply:?}");
        assert_eq!(reply.json()["field"], field);
        assert!(reply.json()["detail"].as_str().unwrap().ends_with(allowed), "{reply:?}");
    }
    assert!(!rig.place("19").exists());
    agent.finish().await;
}

#[tokio::test]
async fn a_terminal_can_do_all_of_it() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    let zlh = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_zlh"));
        command.env_clear().env("ZLH_URL", agent.url("")).arg("runtimes").args(words).kill_on_drop(true);
        let out = tokio::time::timeout(WITHIN, command.output()).await.unwrap().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, said, steps) = zlh(&["install", "node", "22"]).await;
    assert_eq!(code, Some(0), "{said} {steps}");
    assert!(said.starts_with("✓ install done"), "{said}");
    zlh(&["install", "node", "20", "--keep-active"]).await;
    let (_, list, _) = zlh(&["list"]).await;
    assert!(list.contains("node") && list.contains("available:\n  node  20 22\n"), "{list}");
    assert_eq!(zlh(&["use", "node", "20"]).await.0, Some(0));
    assert_eq!(zlh(&["use", "node", "20"]).await.1, "nothing to do: it is the active version already\n");
    assert_eq!(zlh(&["rollback", "node"]).await.0, Some(0));
    assert_eq!(rig.runs(), "v22");
    assert_eq!(zlh(&["verify", "node", "20"]).await.0, Some(0));
    assert_eq!(zlh(&["remove", "node", "20"]).await.0, Some(0));
    assert_eq!(zlh(&["gc"]).await.0, Some(0));
    let (code, _, why) = zlh(&["install", "node", "19"]).await;
    assert_eq!(code, Some(4));
    assert!(why.contains("allowed: 20, 22"), "{why}");
    agent.finish().await;
}
