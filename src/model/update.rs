//! What is remembered of the agent's own updates: which version is on trial, and which have failed here.
use super::{ids::OperationId, operation::Operation, settings::UpdateMode, time::WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Stored before a version is started for the first time, so that whatever starts next knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateRecord {
    pub trial: Option<Trial>,
    /// Version and why it was taken back; never offered again by itself.
    pub failed: BTreeMap<String, String>,
    /// Version of the program outside the folder of releases (put there by a package or by hand) in whose place the
    /// current release is executed. Another one there wins: somebody has replaced it.
    pub stands_for: Option<String>,
    /// Why the last update was taken back; gone with the next that goes well.
    pub last_error: Option<String>,
    /// Updates that were ordered, newest first. At most the first is under way; it outlives the program that began it.
    pub operations: Vec<Operation>,
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

/// What the updater is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    #[default]
    Idle,
    /// Reading the manifest.
    Checking,
    /// Fetching, verifying and trying a program.
    Preparing,
    /// Waiting until no operation is going on.
    Waiting,
    /// About to execute the new program.
    Switching,
    /// The program that is running has still to prove itself.
    OnTrial,
}

/// `GET /agent/update/status`. Versions have the `v` of `/version`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    pub current: String,
    /// What the channel promotes, as far as that is known.
    pub latest: Option<String>,
    pub update_available: bool,
    /// The update that is under way, or was the last.
    #[schema(value_type = Option<String>)]
    pub operation_id: Option<OperationId>,
    /// What is being prepared or executed.
    pub target: Option<String>,
    pub mode: UpdateMode,
    pub state: UpdateState,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_check_at: Option<WallTime>,
    pub last_error: Option<String>,
    /// Versions that failed here, and why; they are taken only by name.
    pub failed: BTreeMap<String, String>,
}
