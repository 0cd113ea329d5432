//! Release pages of upstreams: which file is meant by a wish, and what its checksum must be.
//!
//! A [`Query`] is asked for its URL and given the answer, until it names the [`Asset`]. What an upstream gives no checksum
//! for is not imported.
mod adoptium;
mod dotnet;
mod github;
mod go;
mod node;
mod paper;

use super::target::Target;
use crate::{
    model::{
        catalog::{CODE_SERVER, Digest},
        time::WallTime,
    },
    policy::catalog::choose::{begins_with, compare, is_prerelease},
};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::de::DeserializeOwned;

/// Versions that are named when the one that was asked for is not there.
const NAMED: usize = 5;

/// A question to an upstream.
pub struct Query {
    pub url: String,
    then: Then,
    /// Whose release is not there if the address is not: only where the address names the release.
    about: Option<(&'static str, String)>,
}

type Then = Box<dyn FnOnce(&[u8]) -> Result<Next, Unfound>>;

/// What follows from an answer.
pub enum Next {
    Ask(Query),
    Take(Asset),
}

/// The file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// As it will be published.
    pub version: String,
    pub url: String,
    pub checksum: Checksum,
    pub size: Option<u64>,
    pub released_at: Option<WallTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    Sha256(Digest),
    Sha512(Vec<u8>),
}

impl Checksum {
    fn sha512(text: &str) -> Option<Checksum> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        (bytes.len() == 64).then_some(Checksum::Sha512(bytes))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfound {
    #[error("{0} cannot be imported; fetch it by hand and publish it with `add`")]
    NoUpstream(String),
    #[error("the answer of {upstream} is not understood: {why}")]
    Foreign { upstream: &'static str, why: String },
    #[error("{upstream} has no release {wish:?} for linux on x86-64{}", instead(there))]
    NoRelease { upstream: &'static str, wish: String, there: Vec<String> },
    #[error("{upstream} has no release {wish:?}: {url} is not there (404)")]
    NotThere { upstream: &'static str, wish: String, url: String },
    #[error("{url} is not there (404); check --from")]
    NoPage { url: String },
    #[error("{upstream} gives no checksum for {file}; fetch it, check it by other means, and use `add --sha256`")]
    NoChecksum { upstream: &'static str, file: String },
}

fn instead(there: &[String]) -> String {
    if there.is_empty() { String::new() } else { format!("; its newest are {}", there.join(", ")) }
}

impl Query {
    fn new(url: String, then: impl FnOnce(&[u8]) -> Result<Next, Unfound> + 'static) -> Query {
        Query { url, then: Box::new(then), about: None }
    }

    /// Asks an address that exists only if the release does.
    fn about(self, upstream: &'static str, wish: &str) -> Query {
        Query { about: Some((upstream, wish.to_owned())), ..self }
    }

    /// What the upstream said; `None`: there is nothing at that address.
    pub fn answered(self, body: Option<&[u8]>) -> Result<Next, Unfound> {
        match (body, self.about) {
            (Some(body), _) => (self.then)(body),
            (None, Some((upstream, wish))) => Err(Unfound::NotThere { upstream, wish, url: self.url }),
            (None, None) => Err(Unfound::NoPage { url: self.url }),
        }
    }
}

/// Does its upstream answer only who says how to be reached? (docs.papermc.io/misc/downloads-api)
pub fn wants_contact(target: &Target) -> bool {
    matches!(target, Target::Variant { variant, .. } if variant == "paper")
}

/// The first question. `base`: a mirror of the upstream's pages.
pub fn begin(target: &Target, wish: &str, base: Option<&str>) -> Result<Query, Unfound> {
    let base = |own: &str| base.unwrap_or(own).trim_end_matches('/').to_owned();
    let wish = wish.to_owned();
    match target {
        Target::Runtime(id) if id == "node" => Ok(node::begin(base(node::BASE), wish)),
        Target::Runtime(id) if id == "go" => Ok(go::begin(base(go::BASE), wish)),
        Target::Runtime(id) if id == "java" => Ok(adoptium::begin(&base(adoptium::BASE), "jdk", wish)),
        Target::GameJava => Ok(adoptium::begin(&base(adoptium::BASE), "jre", wish)),
        Target::Runtime(id) if id == "dotnet" => Ok(dotnet::begin(&base(dotnet::BASE), wish)),
        Target::Runtime(id) if id == "python" => Ok(github::python(&base(github::PYTHON), wish)),
        Target::Addon(id) if id == CODE_SERVER => Ok(github::code_server(&base(github::CODE_SERVER), &wish)),
        Target::Variant { game, variant } if (game.as_str(), variant.as_str()) == ("minecraft", "paper") => {
            Ok(paper::begin(&base(paper::BASE), wish))
        }
        other => Err(Unfound::NoUpstream(other.to_string())),
    }
}

fn parsed<T: DeserializeOwned>(upstream: &'static str, body: &[u8]) -> Result<T, Unfound> {
    serde_json::from_slice(body).map_err(|e| Unfound::Foreign { upstream, why: e.to_string() })
}

/// The newest whose version is `wish` or begins with it; a pre-release only if it is named exactly.
fn newest<T>(
    upstream: &'static str,
    mut offered: Vec<T>,
    wish: &str,
    version: impl Fn(&T) -> &str,
) -> Result<T, Unfound> {
    offered.sort_by(|a, b| compare(version(b), version(a)));
    let fits = |v: &str| v == wish || (begins_with(v, wish) && !is_prerelease(v));
    if let Some(at) = offered.iter().position(|one| fits(version(one))) {
        return Ok(offered.swap_remove(at));
    }
    let whole = offered.iter().map(&version).filter(|v| !is_prerelease(v));
    Err(Unfound::NoRelease { upstream, wish: wish.to_owned(), there: whole.take(NAMED).map(str::to_owned).collect() })
}

/// The line for `file` in what `sha256sum` writes.
fn in_sums(text: &str, file: &str) -> Option<Digest> {
    let line = |line: &str| {
        let (digest, name) = line.trim().split_once(char::is_whitespace)?;
        (name.trim_start().trim_start_matches('*') == file).then(|| digest.parse().ok())?
    };
    text.lines().find_map(line)
}

/// RFC 3339, or a day alone.
fn time(text: &str) -> Option<WallTime> {
    let at: jiff::Timestamp = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()).ok()?;
    Some(WallTime(at.as_millisecond()))
}

#[cfg(test)]
mod tests;
