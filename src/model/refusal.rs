//! A command that cannot be accepted now: a value, not an error. HTTP turns it into problem+json.
use super::{ids::OperationId, operation::OperationKind, time::WallTime};
use serde::{Deserialize, Serialize};

/// Why a command was not accepted. `code()` is the stable, documented name on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// No /config was ever accepted.
    NoConfig,
    /// The container is a dev container.
    NotAGame,
    /// Another operation holds the lock.
    OperationInProgress { holder: OperationId, kind: OperationKind, deadline_at: WallTime },
    /// The workload's process is not up.
    NotRunning,
    /// The configuration or a field of it is unusable; nothing was changed.
    Unusable { field: String, detail: String },
    /// The agent is still finding out what survived its predecessor.
    Recovering,
    /// The agent is going down.
    ShuttingDown,
}

impl Refusal {
    /// Stable snake_case code of CONTRACT's error table.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoConfig => "no_config",
            Refusal::NotAGame => "not_a_game",
            Refusal::OperationInProgress { .. } => "operation_in_progress",
            Refusal::NotRunning => "not_running",
            Refusal::Unusable { .. } => "unusable",
            Refusal::Recovering => "recovering",
            Refusal::ShuttingDown => "shutting_down",
        }
    }

    /// HTTP status that belongs to the code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::NoConfig | Refusal::NotAGame | Refusal::OperationInProgress { .. } | Refusal::NotRunning => 409,
            Refusal::Unusable { .. } => 422,
            Refusal::Recovering | Refusal::ShuttingDown => 503,
        }
    }
}
