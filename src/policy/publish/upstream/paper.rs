//! fill.papermc.io: the latest build for a Minecraft version. It is published as `<version>-<build>`, because a version is
//! never replaced and each Minecraft version has many builds; whoever wants `1.21.4` gets the newest of them.
use super::{Asset, Checksum, Next, Query, Unfound, parsed, time};
use serde::Deserialize;
use std::collections::BTreeMap;

pub const BASE: &str = "https://fill.papermc.io/v3";
const UPSTREAM: &str = "papermc.io";
const SERVER: &str = "server:default";

#[derive(Deserialize)]
struct Build {
    id: u64,
    time: Option<String>,
    downloads: BTreeMap<String, Download>,
}

#[derive(Deserialize)]
struct Download {
    name: String,
    url: String,
    size: Option<u64>,
    #[serde(default)]
    checksums: BTreeMap<String, String>,
}

pub fn begin(base: &str, wish: String) -> Query {
    Query::new(format!("{base}/projects/paper/versions/{wish}/builds/latest"), move |body| {
        let mut build: Build = parsed(UPSTREAM, body)?;
        let version = format!("{wish}-{}", build.id);
        let download = build.downloads.remove(SERVER);
        let download = download.ok_or(Unfound::NoRelease { upstream: UPSTREAM, wish })?;
        let digest = download.checksums.get("sha256").and_then(|text| text.parse().ok());
        Ok(Next::Take(Asset {
            version,
            checksum: Checksum::Sha256(digest.ok_or(Unfound::NoChecksum { upstream: UPSTREAM, file: download.name })?),
            url: download.url,
            size: download.size,
            released_at: build.time.as_deref().and_then(time),
        }))
    })
}
