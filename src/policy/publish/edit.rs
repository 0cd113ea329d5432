//! The edits: add a version, promote one to a channel, take a promotion back. A version is never given other content.
use super::{book::Book, target::Target};
use crate::{
    model::{
        catalog::{self, AgentBuild, AgentManifest, Digest, PLATFORM, Product, Release},
        time::WallTime,
    },
    policy::catalog::choose::compare,
};
use serde_json::Map;
use std::collections::BTreeMap;

/// Promotions remembered per channel.
const MOST_PREVIOUS: usize = 20;

/// What an edit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    /// It was there with the same content.
    Unchanged,
    /// The channel now means `to`.
    Moved {
        from: Option<String>,
        to: String,
    },
}

/// Why an edit was not made; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "{target} {version} is published already with other content (SHA-256 {known}); a version is never replaced: \
         publish the new content under a new version"
    )]
    OtherContent { target: String, version: String, known: Digest },
    #[error("{target} has no version {version:?}; `list` shows what there is")]
    NoVersion { target: String, version: String },
    #[error("{target} has nothing to go back to in channel {channel:?}: nothing else was promoted before")]
    NoPrevious { target: String, channel: String },
    #[error("the agent's versions are semantic versions such as 1.4.0: {0}")]
    NotSemantic(String),
    #[error("{0}")]
    BadName(#[from] catalog::NotAName),
    #[error("{0} does not belong into this catalog")]
    WrongBook(String),
}

/// Adds `release`, whose path and hash are known.
pub fn add(book: &mut Book, target: &Target, release: Release, now: WallTime) -> Result<Change, Refused> {
    catalog::version(&release.version)?;
    let change = match (&mut *book, target) {
        (Book::Agents(manifest), Target::Agent) => add_build(manifest, release)?,
        (book, _) => {
            let product = book.product_mut(target).ok_or_else(|| Refused::WrongBook(target.to_string()))?;
            add_release(product, target, release)?
        }
    };
    if change == Change::Added {
        book.renew(now);
    }
    Ok(change)
}

fn add_release(product: &mut Product, target: &Target, release: Release) -> Result<Change, Refused> {
    match product.versions.iter_mut().find(|known| known.version == release.version) {
        None => product.versions.push(release),
        Some(known) => match known.sha256 {
            Some(digest) if Some(digest) != release.sha256 => {
                let (target, version) = (target.to_string(), release.version);
                return Err(Refused::OtherContent { target, version, known: digest });
            }
            Some(_) => return Ok(Change::Unchanged),
            // It was announced bare; now more is known of it.
            None => *known = release,
        },
    }
    product.versions.sort_by(|a, b| compare(&a.version, &b.version));
    Ok(Change::Added)
}

fn add_build(manifest: &mut AgentManifest, release: Release) -> Result<Change, Refused> {
    semver::Version::parse(&release.version).map_err(|e| Refused::NotSemantic(e.to_string()))?;
    let builds = manifest.artifacts.entry(release.version.clone()).or_default();
    if let Some(known) = builds.get(PLATFORM) {
        return match known.sha256 {
            Some(digest) if Some(digest) == release.sha256 => Ok(Change::Unchanged),
            known => Err(Refused::OtherContent {
                target: Target::Agent.to_string(),
                version: release.version,
                known: known.unwrap_or(Digest([0; 32])),
            }),
        };
    }
    let beneath = release.path.as_ref().and_then(|path| path.as_str().strip_prefix("agents/"));
    let Some(binary) = beneath.and_then(|path| path.parse().ok()) else {
        return Err(Refused::WrongBook(release.version));
    };
    builds
        .insert(PLATFORM.into(), AgentBuild { binary, sha256: release.sha256, size: release.size, extra: Map::new() });
    Ok(Change::Added)
}

/// Makes `channel` mean `version`. For the agent, `latest` follows the stable channel.
pub fn promote(
    book: &mut Book,
    target: &Target,
    version: &str,
    channel: &str,
    now: WallTime,
) -> Result<Change, Refused> {
    catalog::version(channel)?;
    let no_version = || Refused::NoVersion { target: target.to_string(), version: version.to_owned() };
    let known = match &*book {
        Book::Agents(manifest) => manifest.artifacts.contains_key(version),
        book => book.product(target).is_some_and(|product| product.versions.iter().any(|r| r.version == version)),
    };
    let channels = channels(book, target).filter(|_| known).ok_or_else(no_version)?;
    let from = channels.current.insert(channel.to_owned(), version.to_owned());
    if from.as_deref() == Some(version) {
        return Ok(Change::Unchanged);
    }
    let previous = channels.previous.entry(channel.to_owned()).or_default();
    previous.extend(from.clone());
    previous.drain(..previous.len().saturating_sub(MOST_PREVIOUS));
    if previous.is_empty() {
        channels.previous.remove(channel);
    }
    settle(book, now);
    Ok(Change::Moved { from, to: version.to_owned() })
}

/// Makes `channel` mean what it meant before the last promotion. Twice goes back twice.
pub fn rollback(book: &mut Book, target: &Target, channel: &str, now: WallTime) -> Result<Change, Refused> {
    let no_previous = || Refused::NoPrevious { target: target.to_string(), channel: channel.to_owned() };
    let known: Vec<String> = match &*book {
        Book::Agents(manifest) => manifest.artifacts.keys().cloned().collect(),
        book => {
            let product = book.product(target).ok_or_else(no_previous)?;
            product.versions.iter().map(|release| release.version.clone()).collect()
        }
    };
    let channels = channels(book, target).ok_or_else(no_previous)?;
    let previous = channels.previous.get_mut(channel).ok_or_else(no_previous)?;
    let to = loop {
        let to = previous.pop().ok_or_else(no_previous)?;
        // One that somebody took out by hand cannot be gone back to.
        if known.contains(&to) {
            break to;
        }
    };
    if previous.is_empty() {
        channels.previous.remove(channel);
    }
    let from = channels.current.insert(channel.to_owned(), to.clone());
    settle(book, now);
    Ok(Change::Moved { from, to })
}

struct Channels<'a> {
    current: &'a mut BTreeMap<String, String>,
    previous: &'a mut BTreeMap<String, Vec<String>>,
}

fn channels<'a>(book: &'a mut Book, target: &Target) -> Option<Channels<'a>> {
    match (book, target) {
        (Book::Agents(manifest), Target::Agent) => {
            Some(Channels { current: &mut manifest.channels, previous: &mut manifest.previous })
        }
        (Book::Agents(_), _) => None,
        (book, target) => {
            book.product(target)?;
            let product = book.product_mut(target)?;
            Some(Channels { current: &mut product.current, previous: &mut product.previous })
        }
    }
}

fn settle(book: &mut Book, now: WallTime) {
    if let Book::Agents(manifest) = book {
        manifest.latest = manifest.channels.get(catalog::STABLE).cloned().or(manifest.latest.take());
    }
    book.renew(now);
}

#[cfg(test)]
mod tests;
