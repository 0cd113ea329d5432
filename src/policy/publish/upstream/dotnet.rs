//! Microsoft's release metadata: the SDKs of a channel such as 8.0, of which one release has several (8.0.404, 8.0.307,
//! 8.0.111: one for each line of Visual Studio). Its checksums are SHA-512.
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
    /// All of them, the one above too; absent in old releases.
    #[serde(default)]
    sdks: Vec<Sdk>,
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
    let about = wish.clone();
    let query = Query::new(format!("{base}/{channel}/releases.json"), move |body| {
        let channel: Channel = parsed(UPSTREAM, body)?;
        let offered = channel.releases.into_iter().flat_map(sdks).collect();
        let (sdk, date) = newest(UPSTREAM, offered, &wish, |(sdk, _): &(Sdk, _)| &sdk.version)?;
        let fits = |file: &File| file.rid == PLATFORM && file.name.ends_with(".tar.gz");
        let no_file = || Unfound::NoRelease { upstream: UPSTREAM, wish, there: Vec::new() };
        let file = sdk.files.into_iter().find(fits).ok_or_else(no_file)?;
        let checksum = Checksum::sha512(&file.hash);
        Ok(Next::Take(Asset {
            version: sdk.version,
            checksum: checksum.ok_or(Unfound::NoChecksum { upstream: UPSTREAM, file: file.name })?,
            url: file.url,
            size: None,
            released_at: date.as_deref().and_then(time),
        }))
    });
    query.about(UPSTREAM, &about)
}

/// Each SDK of a release with the day it was released.
fn sdks(release: Release) -> Vec<(Sdk, Option<String>)> {
    let Release { release_date, sdk, mut sdks } = release;
    if sdks.is_empty() {
        sdks.push(sdk);
    }
    sdks.into_iter().map(|sdk| (sdk, release_date.clone())).collect()
}
