//! Version choice as a table, and the order of versions.
use super::*;
use proptest::prelude::*;

const DAY: i64 = 86_400_000;

fn node() -> Product {
    let dated = |version: &str, day: i64| Release { released_at: Some(WallTime(day * DAY)), ..Release::bare(version) };
    Product {
        id: "node".into(),
        versions: vec![
            Release::bare("20.9.0"),
            dated("20.18.1", 10),
            dated("22.9.0", 20),
            dated("22.11.0", 30),
            dated("22.12.0", 40),
            dated("22.13.0-rc.1", 41),
            Release { channel: Some("beta".into()), ..dated("23.1.0", 42) },
        ],
        current: [("stable", "22.11.0"), ("lts", "20.18.1"), ("beta", "23.1.0")]
            .map(|(channel, version)| (channel.to_owned(), version.to_owned()))
            .into(),
        ..Product::default()
    }
}

#[test]
fn exact_then_channel_then_promoted_then_newest() {
    let table = [
        (Some("22.12.0"), "stable", Some("22.12.0")),
        (Some("22.13.0-rc.1"), "stable", Some("22.13.0-rc.1")),
        (Some("22"), "stable", Some("22.11.0")), // promoted; 22.12.0 is newer and not
        (Some("22.12"), "stable", Some("22.12.0")),
        (Some("22.13"), "stable", None), // only a pre-release
        (Some("20"), "stable", Some("20.18.1")),
        (Some("lts"), "stable", Some("20.18.1")),
        (None, "stable", Some("22.11.0")),
        (None, "beta", Some("23.1.0")),
        (None, "nightly", Some("22.12.0")), // nothing promoted there: the newest that is offered everywhere
        (Some("23"), "stable", None),
        (Some("23"), "beta", Some("23.1.0")),
        (Some("23.1.0"), "stable", Some("23.1.0")),
        (Some("2"), "stable", None), // a beginning ends where a number ends
        (Some("18"), "stable", None),
    ];
    for (version, channel, expected) in table {
        let chosen = choose(&node(), Wish { version, channel, ..Wish::of(None) }).ok().map(|r| r.version.clone());
        assert_eq!(chosen.as_deref(), expected, "{version:?} in {channel}");
    }
}

#[test]
fn a_young_release_waits() {
    let wish = |version, now, days: u64| Wish {
        minimum_age: Duration::from_secs(days * 86_400),
        now: WallTime(now * DAY),
        ..Wish::of(version)
    };
    let chosen = |wish| choose(&node(), wish).map(|r| r.version.clone());
    assert_eq!(chosen(wish(Some("22"), 31, 7)).unwrap(), "22.9.0", "what was promoted is too young");
    assert_eq!(chosen(wish(Some("22"), 37, 7)).unwrap(), "22.11.0");
    assert_eq!(chosen(wish(Some("22"), 60, 7)).unwrap(), "22.11.0", "22.12.0 is old enough and not promoted");
    assert!(matches!(chosen(wish(Some("22.12.0"), 41, 7)), Err(NoRelease::TooYoung { .. })), "named exactly");
    assert!(matches!(chosen(wish(Some("22"), 20, 7)), Err(NoRelease::TooYoung { .. })));
    assert_eq!(chosen(wish(Some("20.9.0"), 0, 365)).unwrap(), "20.9.0", "without a date it has any age");
    assert!(matches!(chosen(wish(Some("22.12.0"), 39, 1)), Err(NoRelease::TooYoung { .. })), "from the future");
    assert_eq!(chosen(wish(Some("22.12.0"), 39, 0)).unwrap(), "22.12.0", "any age will do");
}

#[test]
fn a_refusal_says_what_there_is() {
    let why = choose(&node(), Wish::of(Some("18"))).unwrap_err().to_string();
    assert!(why.contains("node has no version \"18\"") && why.contains("22.12.0"), "{why}");
    let node = node();
    let why = choose(&node, Wish { minimum_age: Duration::from_secs(604_800), ..Wish::of(Some("22.12.0")) });
    assert!(why.unwrap_err().to_string().contains("minimum age is 7 days"));
}

#[test]
fn versions_in_order() {
    let sorted = [
        "1.7.10",
        "1.20",
        "1.20.1-pre1",
        "1.20.1-rc2",
        "1.20.1",
        "1.20.1-47.2.0",
        "1.20.1-47.10.0",
        "1.21",
        "3.13.0a1",
        "3.13.0b2",
        "3.13.0rc1",
        "3.13.0",
        "8.0.100-preview.1",
        "8.0.100",
        "21.0.5+11",
        "22",
        "22.1",
    ];
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
        }
    }
    for version in ["1.21-pre1", "25w14craftmine", "3.13.0rc1", "10.0.100-preview.1", "22.0.0-nightly2024"] {
        assert!(is_prerelease(version), "{version}");
    }
    for version in ["1.20.1-47.2.0", "21.0.5+11", "4.96.4", "1.22", "8.0"] {
        assert!(!is_prerelease(version), "{version}");
    }
}

proptest! {
    #[test]
    fn the_order_of_versions_is_total(versions in prop::collection::vec("[0-9]{1,3}([.+-]?[0-9a-c]{1,3}){0,3}", 3)) {
        let [a, b, c] = [&versions[0], &versions[1], &versions[2]];
        prop_assert_eq!(compare(a, b), compare(b, a).reverse());
        if compare(a, b).is_le() && compare(b, c).is_le() {
            prop_assert!(compare(a, c).is_le(), "{} {} {}", a, b, c);
        }
    }
}
