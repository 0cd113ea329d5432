//! nodejs.org: `index.json`, then `SHASUMS256.txt` of the release.
use super::{Asset, Checksum, Next, Query, Unfound, in_sums, newest, parsed, time};
use serde::Deserialize;

pub const BASE: &str = "https://nodejs.org/dist";
const UPSTREAM: &str = "nodejs.org";
const PLATFORM: &str = "linux-x64";

#[derive(Deserialize)]
struct Release {
    /// With `v`.
    version: String,
    #[serde(default)]
    date: String,
    #[serde(default)]
    files: Vec<String>,
}

pub fn begin(base: String, wish: String) -> Query {
    Query::new(format!("{base}/index.json"), move |body| {
        let mut offered: Vec<Release> = parsed(UPSTREAM, body)?;
        offered.retain(|release| release.files.iter().any(|file| file == PLATFORM));
        let release = newest(UPSTREAM, offered, &wish, |release| release.version.trim_start_matches('v'))?;
        Ok(Next::Ask(sums(&base, &release)))
    })
}

fn sums(base: &str, release: &Release) -> Query {
    let folder = format!("{base}/{}", release.version);
    let file = format!("node-{}-{PLATFORM}.tar.xz", release.version);
    let (version, released_at) = (release.version.trim_start_matches('v').to_owned(), time(&release.date));
    Query::new(format!("{folder}/SHASUMS256.txt"), move |body| {
        let digest = in_sums(&String::from_utf8_lossy(body), &file);
        let digest = digest.ok_or_else(|| Unfound::NoChecksum { upstream: UPSTREAM, file: file.clone() })?;
        let url = format!("{folder}/{file}");
        Ok(Next::Take(Asset { version, url, checksum: Checksum::Sha256(digest), size: None, released_at }))
    })
}
