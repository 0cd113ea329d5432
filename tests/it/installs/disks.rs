//! The disk that runtimes lie on is full, or may not be written: the error names archive, folder and cure, and the old version
//! runs on.
use super::{
    Rig,
    rig::{archive, install, outcome},
};
use crate::support::SmallDisk;

fn bulk() -> Vec<u8> {
    let next = |seed: &u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(3_u64), next).map(|seed| (seed >> 33) as u8).take(4 << 20).collect()
}

#[tokio::test]
async fn a_disk_that_is_full_or_read_only_is_told_and_the_old_version_stays() {
    let mut rig = Rig::new();
    rig.publish("22", &archive("22", &[("lib/bulk".into(), bulk())]));
    let disk = SmallDisk::new(rig.sandbox.root().join("opt/zlh/runtimes"), "2m");
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    let url = format!("{}/devcontainer/node/node-22.tar.gz", rig.artifacts.url());

    let why = outcome(&install(&agent, "22").await).unwrap_err();
    for part in ["downloading node 22", &url, "opt/zlh/runtimes/node", "No space left", "free some space"] {
        assert!(why.contains(part), "{part:?} is not in: {why}");
    }
    assert_eq!((rig.runs().as_str(), rig.is_clean(), rig.place("22").exists()), ("v20", true, false));

    disk.resize("32m");
    disk.write_protect(true);
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    for part in ["downloading node 22", &url, "opt/zlh/runtimes/node", "Read-only file system", "remount,rw"] {
        assert!(why.contains(part), "{part:?} is not in: {why}");
    }
    assert_eq!((rig.runs().as_str(), rig.place("22").exists()), ("v20", false));

    disk.write_protect(false);
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()), "the agent is none the worse for it");
    assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v22", true));
    agent.finish().await;
}

#[tokio::test]
async fn a_full_cache_hinders_no_install() {
    let mut rig = Rig::new();
    rig.publish("22", &archive("22", &[("lib/bulk".into(), bulk())]));
    let _disk = SmallDisk::new(rig.sandbox.root().join("opt/zlh-agent/cache"), "1m");
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()));
    assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v22", true));
    agent.finish().await;
}
