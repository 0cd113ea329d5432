//! The agent is killed while it installs, at every named point and at random moments: the old state or the new one, and
//! the next agent brings what was accepted to its end.
use super::{
    Rig,
    rig::{WITHIN, end_of, ended, install, outcome, stored},
};
use crate::support::{Agent, eventually_now};
use serde_json::{Value, json};
use std::{path::Path, time::Instant};

/// Of the archive that is being installed while agents die.
const BULK: usize = 100 << 20;
const KILLS: u32 = 50;

fn node(version: &str) -> Value {
    json!({"runtime": "node", "version": version})
}

/// Whatever happened: what is active runs, and a version's folder is whole or not there.
fn never_half(rig: &Rig, what: &str) {
    assert!(matches!(rig.runs().as_str(), "v20" | "v22"), "{what}: {}", rig.runs());
    let there = rig.place("22").exists();
    assert!(!there || rig.place("22").join(".zlh-manifest.json").is_file(), "{what}: a half install looks installed");
}

/// The next agent, and the end of what the last one had accepted.
async fn recovered(rig: &Rig, what: &str) {
    let agent = rig.agent(&[]);
    let operations = agent.get("/operations").await.json()["operations"].clone();
    for operation in operations.as_array().unwrap() {
        let ended = end_of(&agent, operation["id"].as_str().unwrap()).await;
        assert_eq!(outcome(&ended), Ok(()), "{what}: {ended}");
    }
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()), "{what}");
    let verified = agent.post_json("/dev/runtimes/node/verify", &json!({"version": "22"})).await;
    assert_eq!(outcome(&ended(&agent, verified).await), Ok(()), "{what}");
    assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v22", true), "{what}");
    assert_eq!(outcome(&ended(&agent, agent.post("/dev/runtimes/node/rollback").await).await), Ok(()), "{what}");
    assert_eq!(rig.runs(), "v20", "{what}");
    agent.finish().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn killed_at_any_point_of_an_install_it_is_the_old_or_the_new_version() {
    let points = [
        "installer.before_save@1",
        "installer.after_save@1",
        "install.staging",
        "install.fetched",
        "install.unpacked",
        "install.recorded",
        "installer.stepped@1",
        "install.synced",
        "install.renamed",
        "install.activated",
        "installer.stepped@2",
        "installer.before_save@2",
        "installer.after_save@2",
        "install.linked",
        "installer.stepped@3",
        "installer.before_save@3",
        "installer.after_save@3",
        "installer.before_save@4",
        "installer.after_save@4",
    ];
    for point in points {
        let rig = Rig::new();
        let agent = rig.agent(&[]);
        assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
        agent.finish().await;
        let flags = rig.flags(&["--allow-unauthenticated"]);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let program = Path::new(env!("CARGO_BIN_EXE_zlh"));
        let mut agent = Agent::spawn(program, &rig.sandbox, &flags, &[("ZLH_FAIL", point)]);
        assert!(agent.listens(), "{point}");
        // It may die before it has answered.
        _ = agent.try_call(reqwest::Method::POST, "/dev/runtimes", Some(&node("22"))).await;
        let died = eventually_now(WITHIN, || agent.ended());
        assert!(died.is_some(), "{point} was never reached");
        never_half(&rig, point);
        recovered(&rig, point).await;
    }
}

#[tokio::test]
async fn fifty_kills_at_random_moments_of_an_install_end_in_a_correct_one() {
    let mut rig = Rig::new();
    let mut dice = Dice(0x5EED);
    let bulk: Vec<(String, Vec<u8>)> = (0..BULK >> 20).map(|n| (format!("lib/{n}.bin"), dice.bytes(1 << 20))).collect();
    rig.publish("22", &stored("22", &bulk));
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    let began = Instant::now();
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()));
    let whole = began.elapsed();
    let reply = agent.post_json("/dev/runtimes/node/activate", &json!({"version": "20"})).await;
    assert_eq!(outcome(&ended(&agent, reply).await), Ok(()));
    agent.finish().await;
    for kill in 0..KILLS {
        // Anew from nothing, every tenth time: else a short moment would only ever see the end of it.
        if kill % 10 == 0 {
            std::fs::remove_file(rig.place("current")).unwrap();
            std::os::unix::fs::symlink("20", rig.place("current")).unwrap();
            for name in ["opt/zlh/runtimes/node/22", "opt/zlh-agent/cache"] {
                if let Err(e) = std::fs::remove_dir_all(rig.sandbox.root().join(name)) {
                    assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{name}");
                }
            }
        }
        let agent = rig.agent(&[]);
        // A kill in the midst of recovering is as good as any.
        _ = agent.try_call(reqwest::Method::POST, "/dev/runtimes", Some(&node("22"))).await;
        // Squared: more of them early, where most of the steps are; so the test is no longer than it must be.
        let part = (dice.next() >> 11) as f64 / (1u64 << 53) as f64;
        let moment = whole.mul_f64(part * part);
        tokio::time::timeout(moment, std::future::pending::<()>()).await.unwrap_err();
        agent.kill_9();
        never_half(&rig, &format!("kill {kill} after {moment:?}"));
    }
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()));
    let verified = agent.post_json("/dev/runtimes/node/verify", &json!({"version": "22"})).await;
    assert_eq!(outcome(&ended(&agent, verified).await), Ok(()));
    assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v22", true));
    agent.finish().await;
}

/// xorshift64*: the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n / 8).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}
