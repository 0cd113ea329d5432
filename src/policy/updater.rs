//! The agent's own updates: what is offered, and what becomes of a version on trial.
//!
//! ```text
//!  offered ──fetched, verified, runs by itself──► on trial ──healthy in time──► proven
//!                                                    │ starts > limit, or not healthy in time
//!                                                    └──► taken back: previous version, never offered again by itself
//! ```
//! Versions are semantic and never reused. Nothing older is taken unless somebody names it.
mod desk;
pub mod orders;
mod trial;
pub use desk::{Answer, Command, Desk, Effect, Fact, Way};
pub use trial::{Start, begin, gives_way, on_start, proven, reject, take_back};

use crate::model::{
    catalog::{AGENTS, AgentManifest, ArtifactPath, Digest, PLATFORM},
    update::UpdateRecord,
};
use semver::Version;

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub version: String,
    /// Relative to the artifact server's root.
    pub path: ArtifactPath,
    pub sha256: Digest,
    pub size: Option<u64>,
}

/// The answer to a look at the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    UpToDate,
    Update(Candidate),
    /// There is something newer that is not taken by itself.
    Held {
        version: String,
        why: String,
    },
}

/// Why a manifest, or a version that was asked for, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("the manifest promotes nothing to channel {0:?}")]
    NoChannel(String),
    #[error("there is no version {version} for {PLATFORM}; there are: {}", there.join(", "))]
    NoVersion { version: String, there: Vec<String> },
    #[error("{0:?} is no semantic version")]
    NotSemantic(String),
    #[error("the manifest has no SHA-256 for {0}; a program without one is never run")]
    NoHash(String),
    #[error("the path of {0} in the manifest leads nowhere")]
    BadPath(String),
}

/// What `channel` means now, seen by an agent of version `running` (with or without `v`).
pub fn offered(
    manifest: &AgentManifest,
    channel: &str,
    running: &str,
    record: &UpdateRecord,
) -> Result<Offer, Unusable> {
    let latest = manifest.latest.as_ref().filter(|_| channel == crate::model::catalog::STABLE);
    let promoted = manifest.channels.get(channel).or(latest);
    let version = promoted.ok_or_else(|| Unusable::NoChannel(channel.to_owned()))?;
    if parsed(version)? <= parsed(running)? {
        return Ok(Offer::UpToDate);
    }
    if let Some(why) = record.failed.get(version) {
        return Ok(Offer::Held { version: version.clone(), why: format!("it failed here before: {why}") });
    }
    candidate(manifest, version).map(Offer::Update)
}

/// A version that somebody named: also an older one, also one that failed.
pub fn asked_for(manifest: &AgentManifest, version: &str, running: &str) -> Result<Offer, Unusable> {
    let version = version.trim_start_matches('v');
    if parsed(version)? == parsed(running)? {
        return Ok(Offer::UpToDate);
    }
    candidate(manifest, version).map(Offer::Update)
}

fn candidate(manifest: &AgentManifest, version: &str) -> Result<Candidate, Unusable> {
    let build = manifest.artifacts.get(version).and_then(|platforms| platforms.get(PLATFORM));
    let build = build.ok_or_else(|| Unusable::NoVersion {
        version: version.to_owned(),
        there: manifest.artifacts.keys().cloned().collect(),
    })?;
    let path = format!("{AGENTS}/{}", build.binary);
    Ok(Candidate {
        version: version.to_owned(),
        path: path.parse().map_err(|_| Unusable::BadPath(version.to_owned()))?,
        sha256: build.sha256.ok_or_else(|| Unusable::NoHash(version.to_owned()))?,
        size: build.size,
    })
}

fn parsed(version: &str) -> Result<Version, Unusable> {
    Version::parse(version.trim_start_matches('v')).map_err(|_| Unusable::NotSemantic(version.to_owned()))
}

#[cfg(test)]
mod tests;
