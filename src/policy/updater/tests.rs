//! Offers as a table; trials as a property over every way a start can go.
use super::*;
use crate::model::catalog::AgentBuild;
use proptest::prelude::*;

fn manifest(stable: &str) -> AgentManifest {
    let build = |version: &str, sha256: Option<Digest>| AgentBuild {
        binary: format!("versions/{version}/zlh-agent-linux-amd64").parse().unwrap(),
        sha256,
        size: Some(3),
        extra: serde_json::Map::new(),
    };
    let versions = ["1.0.8", "1.1.0", "1.2.0-rc.1"];
    let mut artifacts: std::collections::BTreeMap<_, _> = versions
        .map(|version| (version.to_owned(), [(PLATFORM.to_owned(), build(version, Some(Digest([1; 32]))))].into()))
        .into();
    artifacts.insert("1.3.0".into(), [(PLATFORM.to_owned(), build("1.3.0", None))].into());
    artifacts.insert("1.4.0".into(), [("linux_arm64".to_owned(), build("1.4.0", None))].into());
    AgentManifest {
        latest: Some("1.0.8".into()),
        channels: [("stable".to_owned(), stable.to_owned()), ("beta".to_owned(), "1.2.0-rc.1".to_owned())].into(),
        artifacts,
        ..AgentManifest::default()
    }
}

fn version(offer: Result<Offer, Unusable>) -> Option<String> {
    match offer.unwrap() {
        Offer::Update(candidate) => Some(candidate.version),
        Offer::UpToDate | Offer::Held { .. } => None,
    }
}

#[test]
fn only_what_is_newer_is_offered() {
    let none = UpdateRecord::default();
    let table = [
        ("1.1.0", "stable", "v1.0.8", Some("1.1.0")),
        ("1.1.0", "stable", "1.1.0", None),
        ("1.0.8", "stable", "v1.1.0", None), // a rollback of the channel takes nobody back by itself
        ("1.1.0", "beta", "v1.1.0", Some("1.2.0-rc.1")),
        ("1.1.0", "beta", "v1.2.0", None),    // a pre-release comes before its release
        ("1.1.0", "stable", "v1.10.0", None), // numbers, not text
    ];
    for (stable, channel, running, expected) in table {
        let found = version(offered(&manifest(stable), channel, running, &none));
        assert_eq!(found.as_deref(), expected, "{channel} {stable} seen by {running}");
    }
    let Ok(Offer::Update(found)) = offered(&manifest("1.1.0"), "stable", "1.0.0", &none) else { panic!() };
    assert_eq!(found.path.as_str(), "agents/versions/1.1.0/zlh-agent-linux-amd64");
}

#[test]
fn what_cannot_be_trusted_or_run_is_refused() {
    let none = UpdateRecord::default();
    let ask = |stable: &str, channel: &str, running: &str| offered(&manifest(stable), channel, running, &none);
    assert_eq!(ask("1.3.0", "stable", "1.0.0"), Err(Unusable::NoHash("1.3.0".into())));
    assert!(matches!(ask("1.4.0", "stable", "1.0.0"), Err(Unusable::NoVersion { .. })));
    assert!(matches!(ask("9.9.9", "stable", "1.0.0"), Err(Unusable::NoVersion { .. })));
    assert_eq!(ask("latest", "stable", "1.0.0"), Err(Unusable::NotSemantic("latest".into())));
    assert_eq!(ask("1.1.0", "nightly", "1.0.0"), Err(Unusable::NoChannel("nightly".into())));
}

#[test]
fn what_failed_here_is_held_until_somebody_names_it() {
    let mut record = UpdateRecord::default();
    begin(&mut record, "1.1.0", "1.0.8");
    assert_eq!(take_back(&mut record, "no answer"), Some("1.0.8".into()));
    let offer = offered(&manifest("1.1.0"), "stable", "1.0.8", &record).unwrap();
    assert!(matches!(offer, Offer::Held { why, .. } if why.contains("no answer")));
    assert_eq!(version(asked_for(&manifest("1.1.0"), "v1.1.0", "v1.0.8")).as_deref(), Some("1.1.0"));
    begin(&mut record, "1.1.0", "1.0.8");
    assert!(record.failed.is_empty());
}

#[test]
fn an_older_version_is_taken_only_by_its_name() {
    assert_eq!(version(asked_for(&manifest("1.1.0"), "1.0.8", "v1.1.0")).as_deref(), Some("1.0.8"));
    assert_eq!(asked_for(&manifest("1.1.0"), "1.1.0", "v1.1.0"), Ok(Offer::UpToDate));
    assert!(asked_for(&manifest("1.1.0"), "7.0.0", "v1.1.0").is_err());
}

#[test]
fn another_program_in_place_ends_the_trial_without_a_verdict() {
    let mut record = UpdateRecord::default();
    begin(&mut record, "1.1.0", "1.0.8");
    assert_eq!(on_start(&mut record, "1.0.9", 3), Start::Plain);
    assert_eq!(record, UpdateRecord::default());
}

proptest! {
    /// However starts go: the version is proven, or it is taken back after at most `most` starts and not before it had
    /// its chances; and once proven it is never taken back.
    #[test]
    fn a_trial_ends_well_or_where_it_began(most in 1..5u32, lives in prop::collection::vec(any::<bool>(), 0..10)) {
        let mut record = UpdateRecord::default();
        begin(&mut record, "1.1.0", "1.0.8");
        let (mut running, mut started, mut is_proven) = ("1.1.0".to_owned(), 0, false);
        for healthy in lives {
            match on_start(&mut record, &running, most) {
                Start::Plain => prop_assert!(is_proven || running == "1.0.8"),
                Start::OnTrial => {
                    started += 1;
                    prop_assert!(started <= most && !is_proven);
                    if healthy {
                        proven(&mut record, &running);
                        is_proven = true;
                    }
                }
                Start::GoBack { to } => {
                    prop_assert_eq!(started, most);
                    prop_assert!(!is_proven && record.failed.contains_key("1.1.0"));
                    running = to;
                }
            }
        }
        prop_assert!(running == "1.1.0" || !is_proven);
    }
}
