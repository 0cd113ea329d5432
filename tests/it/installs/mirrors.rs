//! Mirrors: the artifact server fails in each way it can, and the next one is asked; where all fail, all are named.
use super::{
    Rig,
    rig::{archive, damage, ended, install, outcome},
};
use crate::support::{Agent, Artifacts, Wrong};
use serde_json::json;

const FILE: &str = "devcontainer/node/node-22.tar.gz";

/// Large enough to be broken in the middle.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.publish("22", &archive("22", &[("lib/bulk".into(), noise(400_000))]));
    rig
}

fn noise(bytes: usize) -> Vec<u8> {
    let next = |seed: &u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(7_u64), next).map(|seed| (seed >> 33) as u8).take(bytes).collect()
}

fn agent(rig: &Rig, mirrors: &[&Artifacts]) -> Agent {
    let urls: Vec<String> = mirrors.iter().map(|mirror| mirror.url()).collect();
    rig.agent(&["--set", &format!("install.mirrors={}", urls.join(","))])
}

#[tokio::test]
async fn whatever_the_server_does_to_a_file_the_next_mirror_is_asked() {
    let faults = [
        Wrong::Status(500),
        Wrong::Status(404),
        Wrong::Stall(0),
        Wrong::Stall(200_000),
        Wrong::Cut(200_000),
        Wrong::Page,
        Wrong::Elsewhere,
        Wrong::Loop,
        Wrong::Longer(9),
        // Where gzip notices at once, where only the hash does, and in the checksum of gzip.
        Wrong::Flip(0),
        Wrong::Flip(200_000),
        Wrong::Changes(100_000),
    ];
    for wrong in faults {
        let rig = rig();
        let (broken, good) = (rig.artifacts.mirror(), rig.artifacts.mirror());
        rig.artifacts.spoil(FILE, Some(wrong));
        broken.spoil(FILE, Some(wrong));
        let agent = agent(&rig, &[&broken, &good]);
        assert_eq!(outcome(&install(&agent, "22").await), Ok(()), "{wrong:?}");
        assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v22", true), "{wrong:?}");
        agent.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_replaced_for_catalogs_files_and_repairs() {
    let rig = rig();
    let mirror = rig.artifacts.mirror();
    let agent = agent(&rig, &[&mirror]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    let place = rig.place("20").join("lib/a.js");
    let Rig { artifacts, sandbox, .. } = rig;
    drop(artifacts);
    assert_eq!(outcome(&install(&agent, "22").await), Ok(()));
    // Without the cache it must be fetched again, from where it never came.
    std::fs::remove_dir_all(sandbox.root().join("opt/zlh-agent/cache")).unwrap();
    damage(&place);
    let repaired = agent.post_json("/dev/runtimes/node/repair", &json!({"version": "20"})).await;
    assert_eq!(outcome(&ended(&agent, repaired).await), Ok(()));
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "module.exports = 1\n");
    agent.finish().await;
}

#[tokio::test]
async fn where_all_fail_each_is_named_with_what_was_wrong_there() {
    let rig = rig();
    let (second, third) = (rig.artifacts.mirror(), rig.artifacts.mirror());
    let agent = agent(&rig, &[&second, &third]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    let urls = [rig.artifacts.url(), second.url(), third.url()].map(|url| format!("{url}/{FILE}"));
    let table = [
        ([Wrong::Status(503), Wrong::Page, Wrong::Cut(99)], ["answered 503", "web page", "ended after"]),
        ([Wrong::Flip(200_000); 3], ["publish the file again"; 3]),
        ([Wrong::Page, Wrong::Flip(200_000), Wrong::Elsewhere], ["web page", "publish the file again", "redirects to"]),
    ];
    for (wrong, said) in table {
        for (server, wrong) in [&rig.artifacts, &second, &third].into_iter().zip(wrong) {
            server.spoil(FILE, Some(wrong));
        }
        let why = outcome(&install(&agent, "22").await).unwrap_err();
        assert!(urls.iter().all(|url| why.contains(url.as_str())), "{wrong:?}: {why}");
        assert!(said.iter().all(|said| why.to_lowercase().contains(said)), "{wrong:?}: {why}");
        assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v20", true), "{wrong:?}");
    }
    for server in [&rig.artifacts, &second, &third] {
        server.spoil("devcontainer/_catalog.json", Some(Wrong::Status(500)));
    }
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    assert!([rig.artifacts.url(), second.url(), third.url()].iter().all(|url| why.contains(url.as_str())), "{why}");
    agent.finish().await;
}
