//! What is remembered of the agent's own updates: which version is on trial, and which have failed here.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Stored before a version is started for the first time, so that whatever starts next knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateRecord {
    pub trial: Option<Trial>,
    /// Version and why it was taken back; never offered again by itself.
    pub failed: BTreeMap<String, String>,
}

/// A version that has not yet proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub version: String,
    /// What to go back to.
    pub previous: String,
    /// Starts so far.
    pub starts: u32,
}
