//! What an artifact server offers: the dev catalog, the game catalog, and how both are written.
//!
//! A version may be written bare (`"22"`) or as an object with path, hash and layout. Both are [`Release`]; what is not
//! known here is kept in `extra` and written back. Reading is `policy::catalog`'s: real catalogs are dirty.
mod agent_manifest;
mod archive_entry;
mod digest;
mod names;
pub mod paths;
mod runtime;

pub use agent_manifest::{AGENTS, AgentBuild, AgentManifest, PLATFORM};
pub use archive_entry::{ArchiveEntry, EntryKind};
pub use digest::{Digest, NotADigest};
pub use names::{ArtifactPath, NotAName, id, version};
pub use runtime::{CODE_SERVER, Layout, RUNTIMES, layout};

use super::time::WallTime;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The channel that is meant where none is named.
pub const STABLE: &str = "stable";

/// When a catalog was written; decides which of two is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// Rises by one with every change. Catalogs written by hand have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_at: Option<WallTime>,
}

/// `/devcontainer/_catalog.json`: runtimes of dev containers, and what can be added to one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DevCatalog {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub runtimes: Vec<Product>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<Product>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `/_catalog.json`: games, and the runtimes (`java`) they are run with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GameCatalog {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub games: Vec<GameEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runtimes: Vec<Product>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One game; each of its variants has versions of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GameEntry {
    pub id: String,
    pub variants: Vec<Product>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Something with versions: a runtime, an addon, or one variant of a game.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Product {
    pub id: String,
    pub versions: Vec<Release>,
    /// Promoted version by channel.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub current: BTreeMap<String, String>,
    /// What was promoted before, by channel, the latest last: where a rollback goes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, Vec<String>>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One version. Bare if nothing but `version` is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Release {
    pub version: String,
    /// Relative to the artifact server's root; absent: the default path.
    pub path: Option<ArtifactPath>,
    pub sha256: Option<Digest>,
    /// Bytes of the file as it is downloaded.
    pub size: Option<u64>,
    /// Leading folders of the archive's names to drop.
    pub strip: Option<u32>,
    /// Folders with programs, for PATH, relative to the unpacked tree.
    pub bin: Vec<String>,
    /// For whoever uses it; `{root}` is the unpacked tree.
    pub env: BTreeMap<String, String>,
    pub released_at: Option<WallTime>,
    /// The only channel it is offered in; absent: every channel.
    pub channel: Option<String>,
    /// More files that belong to it: an API mod, a proxy mod.
    pub files: Vec<ReleaseFile>,
    pub extra: Map<String, Value>,
}

/// A file beside the main one of a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseFile {
    pub path: ArtifactPath,
    /// Where it goes, relative to the server root.
    pub to: ArtifactPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Release {
    pub fn bare(version: impl Into<String>) -> Release {
        Release { version: version.into(), ..Release::default() }
    }

    fn is_bare(&self) -> bool {
        let Release { version: _, path, sha256, size, strip, bin, env, released_at, channel, files, extra } = self;
        path.is_none()
            && sha256.is_none()
            && (size.is_none() && strip.is_none() && released_at.is_none() && channel.is_none())
            && (bin.is_empty() && env.is_empty() && files.is_empty() && extra.is_empty())
    }
}

impl Product {
    pub fn release(&self, version: &str) -> Option<&Release> {
        self.versions.iter().find(|release| release.version == version)
    }
}

/// Written as it would be by hand: bare where it can be, absent fields absent.
impl Serialize for Release {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.is_bare() {
            return s.serialize_str(&self.version);
        }
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("version", &self.version)?;
        entry(&mut map, "path", self.path.as_ref())?;
        entry(&mut map, "sha256", self.sha256.as_ref())?;
        entry(&mut map, "size", self.size.as_ref())?;
        entry(&mut map, "strip", self.strip.as_ref())?;
        entry(&mut map, "bin", Some(&self.bin).filter(|bin| !bin.is_empty()))?;
        entry(&mut map, "env", Some(&self.env).filter(|env| !env.is_empty()))?;
        entry(&mut map, "releasedAt", self.released_at.as_ref())?;
        entry(&mut map, "channel", self.channel.as_ref())?;
        entry(&mut map, "files", Some(&self.files).filter(|files| !files.is_empty()))?;
        for (key, value) in &self.extra {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn entry<M: SerializeMap, T: Serialize>(map: &mut M, key: &str, value: Option<&T>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

impl DevCatalog {
    pub fn runtime(&self, id: &str) -> Option<&Product> {
        self.runtimes.iter().find(|product| product.id == id)
    }

    pub fn addon(&self, id: &str) -> Option<&Product> {
        self.addons.iter().find(|product| product.id == id)
    }
}

impl GameCatalog {
    pub fn variant(&self, game: &str, variant: &str) -> Option<&Product> {
        self.games.iter().find(|entry| entry.id == game)?.variants.iter().find(|product| product.id == variant)
    }

    pub fn runtime(&self, id: &str) -> Option<&Product> {
        self.runtimes.iter().find(|product| product.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_release_is_written_as_briefly_as_it_can_be() {
        assert_eq!(serde_json::to_value(Release::bare("22")).unwrap(), json!("22"));
        let rich = Release { size: Some(7), channel: Some("beta".into()), ..Release::bare("22.1.0") };
        let written = serde_json::to_string(&rich).unwrap();
        assert_eq!(written, r#"{"version":"22.1.0","size":7,"channel":"beta"}"#);
    }
}
