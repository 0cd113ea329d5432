//! Servers that are down, lie, stall and die: each a failed operation that names step and URL; the old version stays.
use super::{
    Rig,
    rig::{archive, damage, install, node, outcome},
};
use crate::support::Wrong;
use serde_json::json;

#[tokio::test]
async fn whatever_the_server_does_the_old_version_stays_and_the_error_says_what_it_did() {
    let mut rig = Rig::new();
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    let path = "devcontainer/node/node-22.tar.gz";
    let faults = [
        (Wrong::Cut(100), "ended after"),
        (Wrong::Stall(100), "no byte came"),
        (Wrong::Page, "web page"),
        (Wrong::Status(503), "answered 503"),
        (Wrong::Status(404), "is not there (404)"),
    ];
    for (wrong, said) in faults {
        rig.artifacts.spoil(path, Some(wrong));
        let why = outcome(&install(&agent, "22").await).unwrap_err();
        assert!(why.starts_with("downloading node 22: "), "{wrong:?}: {why}");
        assert!(why.contains(said) && why.contains(&rig.artifacts.url()), "{wrong:?}: {why}");
        assert_eq!((rig.runs().as_str(), rig.is_clean(), rig.place("22").exists()), ("v20", true, false), "{wrong:?}");
    }
    rig.artifacts.spoil(path, None);
    rig.claim("22", "sha256", json!("0".repeat(64)));
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    assert!(why.contains("was promised"), "{why}");
    assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v20", true));
    rig.publish("22", &node("22"));
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()), "the agent is none the worse for it");
    assert_eq!(rig.runs(), "v22");
    agent.finish().await;
}

#[tokio::test]
async fn what_does_not_run_is_not_put_in_place_and_its_last_words_are_told() {
    let mut rig = Rig::new();
    let agent = rig.agent(&[]);
    let broken = archive("22", &[("bin/node".into(), b"#!/bin/sh\necho cannot find libfoo; exit 3\n".to_vec())]);
    rig.publish("22", &broken);
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    assert!(!why.is_empty(), "a name twice in one archive, or a program that fails: {why}");
    assert!(!rig.place("22").exists() && rig.is_clean());
    agent.finish().await;
}

#[tokio::test]
async fn what_is_installed_needs_no_server() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    install(&agent, "22").await;
    let Rig { artifacts, sandbox, .. } = rig;
    drop(artifacts);
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()));
    damage(&sandbox.root().join("opt/zlh/runtimes/node/22/lib/a.js"));
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()), "mended from the cache");
    let why = outcome(&install(&agent, "24").await).unwrap_err();
    assert!(why.contains("cannot be reached") && why.contains("http://127.0.0.1"), "{why}");
    agent.finish().await;
}
