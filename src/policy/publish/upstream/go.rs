//! go.dev/dl: one JSON list with hashes.
use super::{Asset, Checksum, Next, Query, Unfound, newest, parsed};
use serde::Deserialize;

pub const BASE: &str = "https://go.dev/dl";
const UPSTREAM: &str = "go.dev";

#[derive(Deserialize)]
struct Release {
    /// `go1.22.5`
    version: String,
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    os: String,
    arch: String,
    kind: String,
    sha256: String,
    size: Option<u64>,
}

pub fn begin(base: String, wish: String) -> Query {
    Query::new(format!("{base}/?mode=json&include=all"), move |body| {
        let mut offered: Vec<Release> = parsed(UPSTREAM, body)?;
        let fits = |file: &File| (&*file.os, &*file.arch, &*file.kind) == ("linux", "amd64", "archive");
        for release in &mut offered {
            release.files.retain(fits);
        }
        offered.retain(|release| !release.files.is_empty());
        let found = newest(UPSTREAM, offered, &wish, |release| release.version.trim_start_matches("go"))?;
        let Release { version, files } = found;
        let no_file = || Unfound::NoRelease { upstream: UPSTREAM, wish, there: Vec::new() };
        let file = files.into_iter().next().ok_or_else(no_file)?;
        let no_checksum = |_| Unfound::NoChecksum { upstream: UPSTREAM, file: file.filename.clone() };
        let digest = file.sha256.parse().map_err(no_checksum)?;
        Ok(Next::Take(Asset {
            version: version.trim_start_matches("go").to_owned(),
            url: format!("{base}/{}", file.filename),
            checksum: Checksum::Sha256(digest),
            size: file.size,
            released_at: None,
        }))
    })
}
