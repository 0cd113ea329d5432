//! Catalogs as they are found: bare, rich, dirty, hostile; and that nothing unknown is lost.
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read_dev(value: Value) -> Reading<DevCatalog> {
    dev(value.to_string().as_bytes()).unwrap()
}

fn places<T>(reading: &Reading<T>) -> Vec<&str> {
    reading.warnings.iter().map(|dirt| dirt.at.as_str()).collect()
}

#[test]
fn the_bare_shapes_are_read() {
    let reading = read_dev(json!({"runtimes": [{"id": "node", "versions": ["20", "22"]}]}));
    assert_eq!(reading.catalog.runtime("node").unwrap().versions, ["20", "22"].map(Release::bare));
    assert!(reading.warnings.is_empty() && reading.catalog.addons.is_empty());
    let body = json!({"games": [{"id": "minecraft", "variants": [{"id": "paper", "versions": ["1.21.4"]}]}]});
    let games = games(body.to_string().as_bytes()).unwrap();
    assert_eq!(games.catalog.variant("minecraft", "paper").unwrap().versions[0].version, "1.21.4");
}

#[test]
fn the_rich_shape_is_read_and_written_back_whole() {
    let rich = json!({
        "serial": 12, "generatedAt": "2026-03-10T18:00:00.000Z", "motd": {"a": [1]},
        "runtimes": [{
            "id": "node", "title": "Node.js", "current": {"stable": "22.11.0"}, "previous": {"stable": ["20"]},
            "versions": ["20", {
                "version": "22.11.0", "path": "devcontainer/node/node-22.11.0.tar.xz", "sha256": "ab".repeat(32),
                "size": 7, "strip": 1, "bin": ["bin", "."], "env": {"A": "{root}"},
                "releasedAt": "2026-03-01T00:00:00.000Z", "channel": "stable", "notes": "x",
            }],
        }],
        "addons": [{"id": "code-server", "versions": [{
            "version": "4.96.4", "files": [{"path": "addons/a.vsix", "to": "extensions/a.vsix", "size": 1}],
        }]}],
    });
    let reading = read_dev(rich.clone());
    assert_eq!(reading.warnings, []);
    let node = &reading.catalog.runtimes[0].versions[1];
    assert_eq!((node.strip, node.size, node.extra["notes"].as_str()), (Some(1), Some(7), Some("x")));
    assert_eq!(serde_json::to_value(&reading.catalog).unwrap(), rich);
}

#[test]
fn dirt_is_skipped_and_named() {
    let reading = read_dev(json!({"runtimes": [
        {"versions": ["1"]}, {"id": "node", "versions": []}, {"id": "go"}, 7, {"id": "Bad Id", "versions": ["1"]},
        {"id": "java", "versions": ["17", "", 21, 3.1, null, "../x", "17"]}, {"id": "java", "versions": ["9"]},
        {"id": "python", "versions": "3.12"},
        {"id": "dotnet", "versions": ["8.0"], "current": {"stable": "9.0"}},
    ], "addons": {}}));
    let kept: Vec<_> = reading.catalog.runtimes.iter().map(|product| product.id.as_str()).collect();
    assert_eq!(kept, ["java", "dotnet"]);
    assert_eq!(reading.catalog.runtimes[0].versions, ["17", "21"].map(Release::bare));
    assert!(reading.catalog.runtimes[1].current.is_empty());
    let expected = [
        "runtimes[0]",
        "runtimes[1]",
        "runtimes[2]",
        "runtimes[3]",
        "runtimes[4]",
        "runtimes[5].versions[1]",
        "runtimes[5].versions[3]",
        "runtimes[5].versions[4]",
        "runtimes[5].versions[5]",
        "runtimes[5].versions[6]",
        "runtimes[6]",
        "runtimes[7].versions",
        "runtimes[7]",
        "runtimes[8].current",
        "addons",
    ];
    assert_eq!(places(&reading), expected);
}

#[test]
fn what_would_be_downloaded_or_trusted_is_sound_or_the_version_is_out() {
    let one = |field: &str, value: Value| {
        let reading =
            read_dev(json!({"runtimes": [{"id": "node", "versions": ["1", {"version": "2", field: value}]}]}));
        (reading.catalog.runtimes[0].versions.len() == 2, reading.warnings.len())
    };
    for (field, value) in [
        ("path", json!("../../etc/passwd")),
        ("path", json!("/etc/passwd")),
        ("path", json!("http://elsewhere/x")),
        ("path", json!(1)),
        ("sha256", json!("abc")),
        ("sha256", json!(7)),
        ("size", json!(-1)),
        ("size", json!("1")),
        ("files", json!("x")),
    ] {
        assert_eq!(one(field, value.clone()), (false, 1), "{field}: {value}");
    }
    for (field, value) in [
        ("strip", json!(-1)),
        ("bin", json!(["../x"])),
        ("env", json!([])),
        ("releasedAt", json!("yesterday")),
        ("channel", json!(1)),
        ("files", json!([{"path": "a"}, {"path": "a", "to": "/x"}])),
    ] {
        assert!(one(field, value.clone()).0, "{field}: {value}");
        assert!(one(field, value).1 >= 1);
    }
    assert_eq!(one("path", Value::Null), (true, 0));
}

#[test]
fn what_is_no_catalog_says_what_it_is() {
    assert_eq!(dev(b" \n<!DOCTYPE html>").unwrap_err(), Unreadable::Html);
    assert!(matches!(dev(b"not json").unwrap_err(), Unreadable::NotJson(_)));
    assert!(matches!(dev(b"[]").unwrap_err(), Unreadable::NotJson(_)));
    assert_eq!(dev(b"{}").unwrap_err(), Unreadable::NoList("runtimes"));
    assert_eq!(games(b"{\"runtimes\":[]}").unwrap_err(), Unreadable::NoList("games"));
}

#[test]
fn warnings_are_bounded() {
    let reading = read_dev(json!({"runtimes": vec![json!(1); 500]}));
    assert_eq!(reading.warnings.len(), MOST_WARNINGS + 1);
}

#[test]
fn the_agent_manifest_is_read_and_written_back() {
    let text = json!({
        "latest": "1.0.8", "channels": {"stable": "1.0.8"}, "note": 1,
        "artifacts": {"1.0.8": {"linux_amd64": {
            "binary": "versions/1.0.8/zlh-agent-linux-amd64", "sha256": "cd".repeat(32), "size": 9, "by": "x",
        }}},
    });
    let reading = agent_manifest(text.to_string().as_bytes()).unwrap();
    assert_eq!(reading.warnings, []);
    assert_eq!(serde_json::to_value(&reading.catalog).unwrap(), text);
    let dirty = json!({"artifacts": {
        "v1": {}, "1.0.0": {"linux_amd64": {}, "linux_arm64": {"binary": "/x"}, "other": 1}, "1.1.0": [],
    }});
    let reading = agent_manifest(dirty.to_string().as_bytes()).unwrap();
    assert_eq!(places(&reading).len(), 5, "{:?}", reading.warnings);
    assert!(reading.catalog.artifacts["1.0.0"].is_empty());
}

fn any_json() -> impl Strategy<Value = Value> {
    let keys =
        prop::sample::select(vec!["id", "versions", "version", "path", "sha256", "variants", "current", "runtimes"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9./]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    /// Whatever it holds, reading it neither fails nor finds anything unusable in what it kept; and it reads back.
    #[test]
    fn any_catalog_is_read_to_something_clean(runtimes in any_json(), other in any_json()) {
        let reading = read_dev(json!({"runtimes": runtimes, "other": other}));
        let again = dev(&serde_json::to_vec(&reading.catalog).unwrap()).unwrap();
        prop_assert_eq!(again, Reading { catalog: reading.catalog, warnings: vec![] });
    }
}
