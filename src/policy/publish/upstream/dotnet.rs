//! Microsoft's release metadata: the SDK of a channel such as 8.0. Its checksums are SHA-512.
use super::{Asset, Checksum, Next, Query, Unfound, newest, parsed, time};
use serde::Deserialize;

pub const BASE: &str = "https://builds.dotnet.microsoft.com/dotnet/release-metadata";
const UPSTREAM: &str = "dotnet.microsoft.com";
const PLATFORM: &str = "linux-x64";

#[derive(Deserialize)]
struct Channel {
    releases: Vec<Release>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Release {
    release_date: Option<String>,
    sdk: Sdk,
}

#[derive(Deserialize)]
struct Sdk {
    version: String,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    name: String,
    #[serde(default)]
    rid: String,
    url: String,
    #[serde(default)]
    hash: String,
}

pub fn begin(base: &str, wish: String) -> Query {
    let parts: Vec<&str> = wish.split('.').take(2).collect();
    let channel = if parts.len() == 2 { parts.join(".") } else { format!("{wish}.0") };
    Query::new(format!("{base}/{channel}/releases.json"), move |body| {
        let offered: Channel = parsed(UPSTREAM, body)?;
        let found = newest(offered.releases, &wish, |release| &release.sdk.version);
        let no_release = || Unfound::NoRelease { upstream: UPSTREAM, wish: wish.clone() };
        let release = found.ok_or_else(no_release)?;
        let fits = |file: &File| file.rid == PLATFORM && file.name.ends_with(".tar.gz");
        let file = release.sdk.files.into_iter().find(fits).ok_or_else(no_release)?;
        let checksum = Checksum::sha512(&file.hash);
        Ok(Next::Take(Asset {
            version: release.sdk.version,
            checksum: checksum.ok_or(Unfound::NoChecksum { upstream: UPSTREAM, file: file.name })?,
            url: file.url,
            size: None,
            released_at: release.release_date.as_deref().and_then(time),
        }))
    })
}
