//! api.adoptium.net (Eclipse Temurin): the latest build of a major version.
use super::{Asset, Checksum, Next, Query, Unfound, newest, parsed, time};
use serde::Deserialize;

pub const BASE: &str = "https://api.adoptium.net";
const UPSTREAM: &str = "adoptium.net";

#[derive(Deserialize)]
struct Release {
    /// `jdk-21.0.5+11`
    release_name: String,
    binary: Binary,
}

#[derive(Deserialize)]
struct Binary {
    package: Package,
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct Package {
    checksum: Option<String>,
    link: String,
    name: String,
    size: Option<u64>,
}

/// `image`: `jdk` or `jre`.
pub fn begin(base: &str, image: &str, wish: String) -> Query {
    let major = wish.split(['.', '+']).next().unwrap_or(&wish);
    let asked = format!("architecture=x64&image_type={image}&os=linux&vendor=eclipse");
    let about = wish.clone();
    let query = Query::new(format!("{base}/v3/assets/latest/{major}/hotspot?{asked}"), move |body| {
        let offered: Vec<Release> = parsed(UPSTREAM, body)?;
        let release = newest(UPSTREAM, offered, &wish, |release| release.release_name.trim_start_matches("jdk-"))?;
        let package = release.binary.package;
        let digest = package.checksum.as_deref().and_then(|text| text.parse().ok());
        let digest = digest.ok_or(Unfound::NoChecksum { upstream: UPSTREAM, file: package.name })?;
        Ok(Next::Take(Asset {
            version: release.release_name.trim_start_matches("jdk-").to_owned(),
            url: package.link,
            checksum: Checksum::Sha256(digest),
            size: package.size,
            released_at: release.binary.updated_at.as_deref().and_then(time),
        }))
    });
    query.about(UPSTREAM, &about)
}
