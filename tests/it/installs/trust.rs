//! Hashes, signatures, age and serials: what is believed, and what is refused.
use super::{
    Rig,
    rig::{ended, install, node, outcome},
};
use data_encoding::BASE64;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;

#[tokio::test]
async fn a_hash_comes_from_the_catalog_or_from_beside_the_file_or_there_is_a_warning() {
    let mut rig = Rig::new();
    rig.claim("20", "sha256", Value::Null);
    rig.claim("22", "sha256", Value::Null);
    let beside = rig.artifacts.root().join("devcontainer/node/node-22.tar.gz");
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(fs::read(&beside).unwrap()));
    rig.artifacts.put("devcontainer/node/node-22.tar.gz.sha256", format!("{hash}  node-22.tar.gz\n").as_bytes());
    let agent = rig.agent(&[]);
    install(&agent, "22").await;
    install(&agent, "20").await;
    let status = agent.status().await;
    let verified: Vec<_> = status["runtimes"].as_array().unwrap().iter().map(|r| r["verified"].clone()).collect();
    assert_eq!(verified, [json!(false), json!(true)]);
    let warnings: Vec<_> = status["warnings"].as_array().unwrap().iter().map(|w| w["code"].clone()).collect();
    assert!(warnings.contains(&json!("install_unverified")), "{warnings:?}");
    agent.finish().await;
    fs::remove_file(rig.place("current")).unwrap();
    fs::remove_dir_all(rig.place("20")).unwrap();
    let agent = rig.agent(&["--set", "require_hashes=true"]);
    let reply = agent.post_json("/dev/runtimes", &json!({"runtime": "node", "version": "20"})).await;
    let why = outcome(&ended(&agent, reply).await).unwrap_err();
    assert!(why.contains("require_hashes"), "{why}");
    agent.finish().await;
}

#[tokio::test]
async fn with_trusted_keys_only_a_signed_catalog_counts() {
    let rig = Rig::new();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = format!("ed25519:{}", BASE64.encode(pair.public_key().as_ref()));
    let agent = rig.agent(&["--set", &format!("trusted_keys={key}")]);
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    assert!(why.contains("no signature beside it") && why.contains("_catalog.json"), "{why}");
    let bytes = fs::read(rig.artifacts.root().join("devcontainer/_catalog.json")).unwrap();
    let id = data_encoding::HEXLOWER.encode(&Sha256::digest(pair.public_key().as_ref())[..8]);
    let signed = json!({"signatures": [{"key": id, "signature": BASE64.encode(pair.sign(&bytes).as_ref())}]});
    rig.artifacts.put("devcontainer/_catalog.json.sig", signed.to_string().as_bytes());
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()));
    rig.artifacts.put("devcontainer/_catalog.json", &[&bytes[..], b" "].concat());
    let why = outcome(&install(&agent, "20").await).unwrap_err();
    assert!(why.contains("changed after it was signed"), "{why}");
    agent.finish().await;
}

/// `zlh artifacts` over the rig's own folder.
fn publisher(rig: &Rig, words: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.args(["artifacts", "--store"]).arg(rig.artifacts.root()).args(words).env_remove("ZLH_ARTIFACTS_KEY");
    let done = command.output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// From the key that agents were given to another one, without touching an agent.
#[tokio::test]
async fn a_signed_statement_replaces_the_key_and_revokes_the_old_one() {
    let mut rig = Rig::new();
    rig.write_clean_catalog();
    let secret = |name: &str| rig.sandbox.root().with_file_name(name).display().to_string();
    let (old, new, foreign) = (secret("old.key"), secret("new.key"), secret("foreign.key"));
    let [old_key, new_key, foreign_key] = [&old, &new, &foreign].map(|file| publisher(&rig, &["keygen", file]));
    let trusted = format!("trusted_keys={old_key}");
    let agent = rig.agent(&["--set", &trusted]);
    publisher(&rig, &["sign", "--key", &old]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));

    publisher(&rig, &["sign", "--key", &new]);
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    assert!(why.contains("none of these is in trusted_keys") && why.contains("_catalog.json"), "{why}");
    publisher(&rig, &["trust", &foreign_key, "--key", &foreign]);
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    assert!(why.contains("_keys.json") && why.contains("none of these is in trusted_keys"), "{why}");
    fs::remove_file(rig.artifacts.root().join("_keys.json")).unwrap();
    fs::remove_file(rig.artifacts.root().join("_keys.json.sig")).unwrap();

    publisher(&rig, &["trust", &new_key, "--key", &old]);
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()), "the old key speaks for the new one");
    let first = ["_keys.json", "_keys.json.sig"].map(|name| fs::read(rig.artifacts.root().join(name)).unwrap());
    let said = publisher(&rig, &["trust", "--revoke", &old_key, "--key", &old, "--key", &new]);
    assert!(said.contains("no longer"), "{said}");
    let publish = |rig: &mut Rig, version: &str, key: &str| {
        rig.publish(version, &node(version));
        rig.write_clean_catalog();
        publisher(rig, &["sign", "--key", key]);
    };
    publish(&mut rig, "24", &new);
    assert_eq!(outcome(&install(&agent, "24").await), Ok(()));
    agent.finish().await;

    // Remembered in the next life, and what the revoked key signs counts no more, even with the old statement.
    let agent = rig.agent(&["--set", &trusted]);
    publish(&mut rig, "26", &old);
    for (name, bytes) in ["_keys.json", "_keys.json.sig"].into_iter().zip(&first) {
        rig.artifacts.put(name, bytes);
    }
    let why = outcome(&install(&agent, "26").await).unwrap_err();
    assert!(why.contains("none of these is in trusted_keys"), "{why}");
    publisher(&rig, &["sign", "--key", &new]);
    assert_eq!(outcome(&install(&agent, "26").await), Ok(()));

    // An older catalog brings back what is gone from it, whoever signed it.
    rig.serial = 0;
    publish(&mut rig, "28", &new);
    let why = outcome(&install(&agent, "28").await).unwrap_err();
    assert!(why.contains("this is an older catalog"), "{why}");
    assert_eq!(rig.runs(), "v26");
    agent.finish().await;
}

#[tokio::test]
async fn an_older_catalog_is_not_believed_also_after_a_restart() {
    let mut rig = Rig::new();
    let agent = rig.agent(&[]);
    install(&agent, "22").await;
    agent.finish().await;
    rig.serial = 0;
    rig.write_catalog();
    let agent = rig.agent(&[]);
    let why = outcome(&install(&agent, "20").await).unwrap_err();
    assert!(why.contains("this is an older catalog"), "{why}");
    assert_eq!(rig.runs(), "v22");
    agent.finish().await;
}

#[tokio::test]
async fn a_release_that_is_too_young_waits() {
    let mut rig = Rig::new();
    rig.claim("22", "releasedAt", json!("2999-01-01T00:00:00Z"));
    let agent = rig.agent(&["--set", "install.min_release_age=7days"]);
    let reply = agent.post_json("/dev/runtimes", &json!({"runtime": "node", "version": "22"})).await;
    assert_eq!(reply.status, 422);
    assert!(reply.json()["detail"].as_str().unwrap().contains("too new"), "{reply:?}");
    agent.finish().await;
}
