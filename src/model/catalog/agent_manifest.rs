//! `/agents/manifest.json`: the agent's own releases. Versions are plain semver, without the `v` of `/version`.
use super::{ArtifactPath, Digest, Stamp};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The manifest's folder, to which paths in it are relative.
pub const AGENTS: &str = "agents";
/// The only platform this program is built for.
pub const PLATFORM: &str = "linux_amd64";

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AgentManifest {
    #[serde(flatten)]
    pub stamp: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, String>,
    /// What was in a channel before, the latest last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, Vec<String>>,
    /// Version, then platform.
    pub artifacts: BTreeMap<String, BTreeMap<String, AgentBuild>>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One program file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentBuild {
    /// Relative to the manifest's folder.
    pub binary: ArtifactPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
