//! fill.papermc.io: the newest stable build for a Minecraft version. It is published as `<version>-<build>`, because a
//! version is never replaced and each Minecraft version has many builds; whoever wants `1.21.4` gets the newest of them.
//! An alpha or beta build is taken only by its number.
use super::{Asset, Checksum, NAMED, Next, Query, Unfound, parsed, time};
use serde::Deserialize;
use std::collections::BTreeMap;

pub const BASE: &str = "https://fill.papermc.io/v3";
const UPSTREAM: &str = "papermc.io";
const SERVER: &str = "server:default";
const STABLE: [&str; 2] = ["STABLE", "RECOMMENDED"];

#[derive(Deserialize)]
struct Build {
    id: u64,
    time: Option<String>,
    channel: String,
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
    let (version, number) = meant(&wish);
    let version = version.to_owned();
    let about = wish.clone();
    let query = Query::new(format!("{base}/projects/paper/versions/{version}/builds"), move |body| {
        let offered: Vec<Build> = parsed(UPSTREAM, body)?;
        let build = chosen(offered, &version, number, wish)?;
        taken(build, &version)
    });
    query.about(UPSTREAM, &about)
}

/// `1.21.4`, or `1.21.4-232` for a certain build. What follows the dash of `1.21.4-rc1` is no build.
fn meant(wish: &str) -> (&str, Option<u64>) {
    let parts = wish.rsplit_once('-').and_then(|(version, number)| Some((version, number.parse().ok()?)));
    parts.map_or((wish, None), |(version, number)| (version, Some(number)))
}

fn chosen(offered: Vec<Build>, version: &str, number: Option<u64>, wish: String) -> Result<Build, Unfound> {
    let fits = |build: &Build| match number {
        Some(number) => build.id == number,
        None => STABLE.contains(&build.channel.as_str()),
    };
    let mut ids: Vec<(u64, &str)> = offered.iter().map(|build| (build.id, build.channel.as_str())).collect();
    ids.sort_unstable();
    let named = ids.iter().rev().take(NAMED).map(|(id, channel)| format!("{version}-{id} ({channel})"));
    let there = named.collect();
    let found = offered.into_iter().filter(fits).max_by_key(|build| build.id);
    found.ok_or(Unfound::NoRelease { upstream: UPSTREAM, wish, there })
}

fn taken(mut build: Build, version: &str) -> Result<Next, Unfound> {
    let version = format!("{version}-{}", build.id);
    let download = build.downloads.remove(SERVER);
    let no_file = || Unfound::NoRelease { upstream: UPSTREAM, wish: version.clone(), there: Vec::new() };
    let download = download.ok_or_else(no_file)?;
    let digest = download.checksums.get("sha256").and_then(|text| text.parse().ok());
    Ok(Next::Take(Asset {
        checksum: Checksum::Sha256(digest.ok_or(Unfound::NoChecksum { upstream: UPSTREAM, file: download.name })?),
        version,
        url: download.url,
        size: download.size,
        released_at: build.time.as_deref().and_then(time),
    }))
}
