//! Operations: what someone asked for, who holds the lock, and how it ended. Exactly one outcome each.
use super::{
    ids::OperationId,
    time::{BootTime, WallTime},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    Config,
    Start,
    Stop,
    Restart,
    Install,
    Activate,
    Rollback,
    Remove,
    Verify,
    Repair,
    Collect,
    /// The agent's own program.
    Update,
    Backup,
    Restore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    Queued,
    Running,
    Done,
    Failed,
    Superseded,
}

impl OperationState {
    pub fn is_final(self) -> bool {
        matches!(self, OperationState::Done | OperationState::Failed | OperationState::Superseded)
    }
}

/// One row of `GET /operations`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    #[schema(value_type = String)]
    pub id: OperationId,
    pub kind: OperationKind,
    pub state: OperationState,
    /// What it is about, where there may be several: `node 22`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Who asked: `api`, `cli`, `autostart`, `agent`.
    pub holder: String,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: WallTime,
    #[schema(value_type = String, format = DateTime)]
    pub deadline_at: WallTime,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<WallTime>,
    /// What is being done now, for a person; empty when nothing is.
    pub step: String,
    /// 0 to 1 where it can be known.
    pub progress: Option<f64>,
    pub error: Option<String>,
    /// The deadline that decides (boot clock); `deadlineAt` is its shown form.
    #[serde(skip)]
    #[schema(ignore)]
    pub deadline: BootTime,
}
