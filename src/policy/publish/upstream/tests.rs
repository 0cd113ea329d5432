//! Answers of the upstreams in the form they give them, shortened.
use super::*;
use serde_json::{Value, json};

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

/// Answers each question by the part of its URL after the base.
fn found(target: &str, wish: &str, answers: &[(&str, String)]) -> Result<Asset, Unfound> {
    let mut query = begin(&target.parse().unwrap(), wish, Some("http://up/"))?;
    loop {
        let asked = query.url.trim_start_matches("http://up/").to_owned();
        let answer = answers.iter().find(|(url, _)| *url == asked).unwrap_or_else(|| panic!("asked for {asked}"));
        match query.answered(Some(answer.1.as_bytes()))? {
            Next::Ask(next) => query = next,
            Next::Take(asset) => return Ok(asset),
        }
    }
}

#[test]
fn node() {
    let index = json!([
        {"version": "v23.0.0-rc.1", "date": "2024-10-20", "files": ["linux-x64"]},
        {"version": "v22.11.0", "date": "2024-10-29", "files": ["aix-ppc64", "linux-x64", "src"]},
        {"version": "v22.12.0", "date": "2024-12-03", "files": ["src"]},
        {"version": "v22.9.0", "date": "2024-09-17", "files": ["linux-x64"]},
    ]);
    let sums =
        format!("{}  node-v22.11.0-linux-arm64.tar.xz\n{}  node-v22.11.0-linux-x64.tar.xz\n", digest(9), digest(1));
    let answers = [("index.json", index.to_string()), ("v22.11.0/SHASUMS256.txt", sums)];
    let asset = found("node", "22", &answers).unwrap();
    assert_eq!((asset.version.as_str(), asset.checksum), ("22.11.0", Checksum::Sha256(digest(1))));
    assert_eq!(asset.url, "http://up/v22.11.0/node-v22.11.0-linux-x64.tar.xz");
    assert_eq!(asset.released_at.unwrap().to_string(), "2024-10-29T00:00:00.000Z");
    assert!(matches!(found("node", "23", &answers), Err(Unfound::NoRelease { .. })));
    let nothing = [answers[0].clone(), ("v22.11.0/SHASUMS256.txt", "<html>".into())];
    assert!(matches!(found("node", "22", &nothing), Err(Unfound::NoChecksum { .. })));
    assert!(matches!(found("node", "22", &[("index.json", "<html>".into())]), Err(Unfound::Foreign { .. })));
}

#[test]
fn go() {
    let file = |name: &str, os: &str, kind: &str, n: u8| json!({"filename": name, "os": os, "arch": "amd64", "kind": kind, "sha256": digest(n).to_string(), "size": 7});
    let list = json!([
        {"version": "go1.22.5", "stable": true, "files": [
            file("go1.22.5.src.tar.gz", "", "source", 1), file("go1.22.5.windows-amd64.zip", "windows", "archive", 2),
            file("go1.22.5.linux-amd64.tar.gz", "linux", "archive", 3),
        ]},
        {"version": "go1.22.10", "stable": true, "files": [file("go1.22.10.linux-amd64.tar.gz", "linux", "archive", 4)]},
        {"version": "go1.23rc1", "stable": false, "files": [file("x", "linux", "archive", 5)]},
    ]);
    let answers = [("?mode=json&include=all", list.to_string())];
    let asset = found("go", "1.22", &answers).unwrap();
    assert_eq!((asset.version.as_str(), asset.size), ("1.22.10", Some(7)));
    assert_eq!(asset.url, "http://up/go1.22.10.linux-amd64.tar.gz");
    assert_eq!(found("go", "1.22.5", &answers).unwrap().checksum, Checksum::Sha256(digest(3)));
    assert!(matches!(found("go", "1.23", &answers), Err(Unfound::NoRelease { .. })));
}

#[test]
fn temurin() {
    let release = |checksum: Value| {
        json!([{"release_name": "jdk-21.0.5+11", "version": {"semver": "21.0.5+11.0.LTS"}, "binary": {
            "updated_at": "2024-10-18T06:01:22Z",
            "package": {"name": "x.tar.gz", "link": "https://elsewhere/x.tar.gz", "size": 9, "checksum": checksum},
        }}])
    };
    for (target, image) in [("java", "jdk"), ("game-java", "jre")] {
        let url = format!("v3/assets/latest/21/hotspot?architecture=x64&image_type={image}&os=linux&vendor=eclipse");
        let answers = [(url.as_str(), release(digest(1).to_string().into()).to_string())];
        let asset = found(target, "21", &answers).unwrap();
        assert_eq!((asset.version.as_str(), asset.url.as_str()), ("21.0.5+11", "https://elsewhere/x.tar.gz"));
        assert!(matches!(found(target, "21.0.4", &answers), Err(Unfound::NoRelease { .. })));
        let nothing = [(url.as_str(), release(Value::Null).to_string())];
        assert!(matches!(found(target, "21", &nothing), Err(Unfound::NoChecksum { .. })));
    }
}

#[test]
fn dotnet() {
    let body = json!({"channel-version": "8.0", "releases": [{"release-date": "2024-11-12", "sdk": {
        "version": "8.0.404", "files": [
            {"name": "dotnet-sdk-linux-arm64.tar.gz", "rid": "linux-arm64", "url": "https://x/arm", "hash": "00"},
            {"name": "dotnet-sdk-linux-x64.tar.gz", "rid": "linux-x64", "url": "https://x/sdk", "hash": "ab".repeat(64)},
        ],
    }}]});
    let older = json!({"version": "8.0.307", "files": [
        {"name": "dotnet-sdk-linux-x64.tar.gz", "rid": "linux-x64", "url": "https://x/older", "hash": "cd".repeat(64)},
    ]});
    let mut several = body.clone();
    several["releases"][0]["sdks"] = json!([several["releases"][0]["sdk"], older]);
    let answers = [("8.0/releases.json", several.to_string())];
    assert_eq!(found("dotnet", "8.0", &answers).unwrap().version, "8.0.404");
    assert_eq!(found("dotnet", "8.0.307", &answers).unwrap().checksum, Checksum::Sha512(vec![0xcd; 64]));
    let answers = [("8.0/releases.json", body.to_string())];
    for wish in ["8.0", "8", "8.0.404"] {
        let asset = found("dotnet", wish, &answers).unwrap();
        assert_eq!((asset.version.as_str(), asset.url.as_str()), ("8.0.404", "https://x/sdk"));
        assert_eq!(asset.checksum, Checksum::Sha512(vec![0xab; 64]));
    }
    let short = [("8.0/releases.json", body.to_string().replace(&"ab".repeat(64), "abcd"))];
    assert!(matches!(found("dotnet", "8.0", &short), Err(Unfound::NoChecksum { .. })));
}

#[test]
fn github() {
    let asset = |name: &str, n: Option<u8>| {
        let digest = n.map(|n| format!("sha256:{}", digest(n)));
        json!({"name": name, "browser_download_url": format!("http://up/{name}"), "size": 5, "digest": digest})
    };
    let python = |v: &str| format!("cpython-{v}+20241016-x86_64-unknown-linux-gnu-install_only.tar.gz");
    let body = |with: bool| {
        json!({"tag_name": "20241016", "published_at": "2024-10-16T10:00:00Z", "assets": [
            asset(&python("3.11.10"), with.then_some(1)), asset(&python("3.12.7"), with.then_some(2)),
            asset(&python("3.13.0rc3"), with.then_some(3)),
            asset("cpython-3.12.9+20241016-x86_64-unknown-linux-musl-install_only.tar.gz", None), asset(SUMS_FILE, None),
        ]})
    };
    const SUMS_FILE: &str = "SHA256SUMS";
    let got = found("python", "3.12", &[("releases/latest", body(true).to_string())]).unwrap();
    assert_eq!((got.version.as_str(), got.checksum), ("3.12.7", Checksum::Sha256(digest(2))));
    let sums = format!("{}  {}\n", digest(7), python("3.12.7"));
    let answers = [("releases/latest", body(false).to_string()), (SUMS_FILE, sums)];
    assert_eq!(found("python", "3.12", &answers).unwrap().checksum, Checksum::Sha256(digest(7)));

    let name = "code-server-4.96.4-linux-amd64.tar.gz";
    let body = json!({"tag_name": "v4.96.4", "assets": [asset("code-server-4.96.4-macos-arm64.tar.gz", Some(1)), asset(name, Some(2))]});
    for (wish, url) in [("4.96.4", "releases/tags/v4.96.4"), ("latest", "releases/latest")] {
        let got = found("code-server", wish, &[(url, body.to_string())]).unwrap();
        assert_eq!((got.version.as_str(), got.url), ("4.96.4", format!("http://up/{name}")));
    }
    let bare = json!({"tag_name": "v4.96.4", "assets": [asset(name, None)]});
    let none = found("code-server", "latest", &[("releases/latest", bare.to_string())]);
    assert!(matches!(none, Err(Unfound::NoChecksum { .. })));
}

#[test]
fn paper() {
    let build = |id: u64, channel: &str, n: u8| {
        json!({"id": id, "time": "2025-02-20T00:00:00.000Z", "channel": channel, "downloads": {"server:default": {
            "name": format!("paper-1.21.4-{id}.jar"), "url": format!("https://fill/{id}.jar"), "size": 3,
            "checksums": {"sha256": digest(n).to_string()},
        }}})
    };
    let builds = json!([build(233, "BETA", 5), build(232, "STABLE", 4), build(9, "STABLE", 3), build(8, "ALPHA", 2)]);
    let answers = [("projects/paper/versions/1.21.4/builds", builds.to_string())];
    let got = found("minecraft/paper", "1.21.4", &answers).unwrap();
    assert_eq!((got.version.as_str(), got.checksum), ("1.21.4-232", Checksum::Sha256(digest(4))));
    assert!(!is_prerelease(&got.version) && begins_with(&got.version, "1.21.4"));
    assert_eq!(found("minecraft/paper", "1.21.4-8", &answers).unwrap().url, "https://fill/8.jar");
    let none = found("minecraft/paper", "1.21.4-7", &answers).unwrap_err().to_string();
    assert!(none.contains("\"1.21.4-7\"") && none.contains("1.21.4-233 (BETA), 1.21.4-232 (STABLE)"), "{none}");
    let young = [("projects/paper/versions/1.21.9-rc1/builds", json!([build(1, "ALPHA", 1)]).to_string())];
    let none = found("minecraft/paper", "1.21.9-rc1", &young).unwrap_err().to_string();
    assert!(none.ends_with("its newest are 1.21.9-rc1-1 (ALPHA)"), "{none}");
}

#[test]
fn an_address_that_is_not_there_says_whether_the_release_or_the_mirror_is_missing() {
    let absent = |target: &str, wish: &str| {
        let query = begin(&target.parse().unwrap(), wish, Some("http://up")).unwrap();
        query.answered(None).map(drop).unwrap_err().to_string()
    };
    for (target, wish) in [("java", "99"), ("dotnet", "99.0"), ("code-server", "0.0.1"), ("minecraft/paper", "0.1")] {
        let said = absent(target, wish);
        assert!(said.contains(&format!("no release {wish:?}: http://up/")), "{said}");
    }
    for target in ["node", "go", "python"] {
        let said = absent(target, "99");
        assert!(said.starts_with("http://up/") && said.ends_with("check --from"), "{said}");
    }
}

#[test]
fn what_has_no_upstream_says_so() {
    for target in ["minecraft/forge", "agent", "runtime/ruby"] {
        assert!(matches!(begin(&target.parse().unwrap(), "1", None), Err(Unfound::NoUpstream(_))));
    }
}
