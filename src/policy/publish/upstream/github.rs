//! Releases on GitHub: python-build-standalone and code-server. The checksum is the asset's own `digest`, or stands in a
//! `SHA256SUMS` beside it.
use super::{Asset, Checksum, Next, Query, Unfound, in_sums, newest, parsed, time};
use serde::Deserialize;

pub const PYTHON: &str = "https://api.github.com/repos/astral-sh/python-build-standalone";
pub const CODE_SERVER: &str = "https://api.github.com/repos/coder/code-server";
const UPSTREAM: &str = "github.com";
const SUMS: &str = "SHA256SUMS";

#[derive(Deserialize)]
struct Release {
    tag_name: String,
    published_at: Option<String>,
    assets: Vec<File>,
}

#[derive(Clone, Deserialize)]
struct File {
    name: String,
    browser_download_url: String,
    size: Option<u64>,
    /// `sha256:<hex>`; absent for files uploaded before mid 2025.
    digest: Option<String>,
}

/// `cpython-3.12.7+20241016-x86_64-unknown-linux-gnu-install_only.tar.gz` of the latest release.
pub fn python(base: &str, wish: String) -> Query {
    const SUFFIX: &str = "-x86_64-unknown-linux-gnu-install_only.tar.gz";
    Query::new(format!("{base}/releases/latest"), move |body| {
        let release: Release = parsed(UPSTREAM, body)?;
        let version = |file: &File| -> Option<String> {
            let (version, _) = file.name.strip_prefix("cpython-")?.strip_suffix(SUFFIX)?.split_once('+')?;
            Some(version.to_owned())
        };
        let offered = release.assets.iter().filter_map(|file| Some((version(file)?, file.clone()))).collect();
        let (version, file) = newest(UPSTREAM, offered, &wish, |(version, _): &(String, File)| version)?;
        taken(version, file, &release)
    })
}

/// A release is asked for by its tag; `latest` is one too.
pub fn code_server(base: &str, wish: &str) -> Query {
    let tag = if wish == "latest" { "latest".to_owned() } else { format!("tags/v{wish}") };
    let query = Query::new(format!("{base}/releases/{tag}"), |body| {
        let release: Release = parsed(UPSTREAM, body)?;
        let version = release.tag_name.trim_start_matches('v').to_owned();
        let name = format!("code-server-{version}-linux-amd64.tar.gz");
        let file = release.assets.iter().find(|file| file.name == name).cloned();
        let no_file = || Unfound::NoRelease { upstream: UPSTREAM, wish: version.clone(), there: Vec::new() };
        taken(version.clone(), file.ok_or_else(no_file)?, &release)
    });
    query.about(UPSTREAM, wish)
}

fn taken(version: String, file: File, release: &Release) -> Result<Next, Unfound> {
    let released_at = release.published_at.as_deref().and_then(time);
    let File { name, browser_download_url: url, size, digest } = file;
    let no_checksum = Unfound::NoChecksum { upstream: UPSTREAM, file: name.clone() };
    let asset = move |digest| Asset { version, url, checksum: Checksum::Sha256(digest), size, released_at };
    if let Some(digest) = digest.as_deref().and_then(|text| text.strip_prefix("sha256:")?.parse().ok()) {
        return Ok(Next::Take(asset(digest)));
    }
    let sums = release.assets.iter().find(|asset| asset.name == SUMS).map(|asset| asset.browser_download_url.clone());
    let Some(sums) = sums else { return Err(no_checksum) };
    Ok(Next::Ask(Query::new(sums, move |body| {
        let digest = in_sums(&String::from_utf8_lossy(body), &name).ok_or(no_checksum)?;
        Ok(Next::Take(asset(digest)))
    })))
}
