//! Servers that are down, lie, stall and die: each a failed operation that names step and URL; the old version stays.
use super::{
    Rig,
    rig::{archive_of, damage, install, node, outcome},
};
use crate::support::{
    Wrong,
    web::{Web, file, tls},
};
use serde_json::json;
use std::fs;

#[tokio::test]
async fn whatever_the_server_does_the_old_version_stays_and_the_error_says_what_it_did() {
    let mut rig = Rig::new();
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    let path = "devcontainer/node/node-22.tar.gz";
    // What is wrong, and what is said of it and of its cure.
    let faults = [
        (Wrong::Cut(100), "ended after 100 of", "check the artifact server"),
        (Wrong::Stall(100), "no byte came for 4s", "check the network"),
        (Wrong::Page, "web page", "a proxy or login page stands before"),
        (Wrong::Status(503), "answered 503", "log"),
        (Wrong::Status(404), "is not there (404)", "publish the file"),
        (Wrong::Longer(7), "bytes, the catalog says", "correct the catalog"),
        (Wrong::Shorter(7), "bytes, the catalog says", "correct the catalog"),
        (Wrong::Changes(100), "changed on the server", "when publishing is over"),
        (Wrong::Elsewhere, "redirects to http://elsewhere.invalid/x", "install.redirect_hosts"),
        (Wrong::Loop, "redirects too often", "configuration"),
    ];
    for (wrong, said, cure) in faults {
        rig.artifacts.spoil(path, Some(wrong));
        let why = outcome(&install(&agent, "22").await).unwrap_err();
        assert!(why.starts_with("downloading node 22: "), "{wrong:?}: {why}");
        assert!(why.contains(&format!("{}/{path}", rig.artifacts.url())), "{wrong:?}: {why}");
        assert!(why.contains(said) && why.contains(cure), "{wrong:?}: {why}");
        assert_eq!((rig.runs().as_str(), rig.is_clean(), rig.place("22").exists()), ("v20", true, false), "{wrong:?}");
    }
    // The same where no catalog says how long it is: the connection tells, or the hash.
    rig.claim("22", "size", json!(null));
    for (wrong, said) in [(Wrong::Shorter(7), "was promised"), (Wrong::Longer(7), "ended after")] {
        rig.artifacts.spoil(path, Some(wrong));
        let why = outcome(&install(&agent, "22").await).unwrap_err();
        assert!(why.contains(said) && why.contains(&rig.artifacts.url()), "{wrong:?}: {why}");
        assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v20", true), "{wrong:?}");
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

/// A server of the same files, behind a certificate that has expired or that nobody knows.
#[tokio::test]
async fn a_certificate_that_is_no_good_is_told_and_the_old_version_stays() {
    let rig = Rig::new();
    let agent = rig.agent(&[]);
    assert_eq!(outcome(&install(&agent, "20").await), Ok(()));
    agent.finish().await;
    let expired = |of: &mut rcgen::CertificateParams| of.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (is_expired, known, said, cure) in [
        (true, true, "has expired", "renew it"),
        (false, false, "no known authority signed it", "install.ca_file"),
        (false, true, "", ""),
    ] {
        let (config, pem) = tls(&["127.0.0.1"], |of| {
            if is_expired {
                expired(of)
            }
        });
        let ca = rig.sandbox.root().join("ca.pem");
        fs::write(&ca, pem).unwrap();
        let root = rig.artifacts.root().to_owned();
        let web = Web::start_tls(config, move |ask, out| match fs::read(root.join(ask.path.trim_start_matches('/'))) {
            Ok(bytes) => file(ask, out, &bytes, "\"1\""),
            Err(_) => out.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        });
        let trusted = format!("install.ca_file={}", ca.display());
        let flags = ["--set", &trusted];
        let agent = rig.agent_of(&web.url, if known { &flags } else { &[] });
        let done = outcome(&install(&agent, "22").await);
        if said.is_empty() {
            assert_eq!((done, rig.runs().as_str()), (Ok(()), "v22"), "with a good one it works");
        } else {
            let why = done.unwrap_err();
            assert!(why.contains(said) && why.contains(cure) && why.contains(&web.url), "{why}");
            assert_eq!((rig.runs().as_str(), rig.is_clean()), ("v20", true));
        }
        agent.finish().await;
    }
}

#[tokio::test]
async fn what_does_not_run_is_not_put_in_place_and_its_last_words_are_told() {
    let mut rig = Rig::new();
    let agent = rig.agent(&[]);
    rig.publish("22", &archive_of("22", "echo cannot find libfoo; exit 3", &[]));
    let why = outcome(&install(&agent, "22").await).unwrap_err();
    assert!(why.starts_with("trying node 22: ") && why.contains("cannot find libfoo"), "{why}");
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
