//! A command that cannot be accepted now: a value, not an error. HTTP turns it into problem+json.
use super::{ids::OperationId, install::User, operation::OperationKind, time::WallTime};
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
    /// There is no such tree here.
    NotInstalled { what: String, installed: Vec<String> },
    /// No formerly active version of this family is left.
    NoPrevious { family: String },
    /// Processes execute or map its files, or stand in it.
    InUse { what: String, users: Vec<User> },
    /// As many orders are under way as may be.
    TooManyOperations { limit: usize },
    /// It has ended, or can only be ended by other means.
    NotCancellable { operation: OperationId },
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
            Refusal::NotInstalled { .. } => "not_installed",
            Refusal::NoPrevious { .. } => "no_previous",
            Refusal::InUse { .. } => "in_use",
            Refusal::TooManyOperations { .. } => "too_many_operations",
            Refusal::NotCancellable { .. } => "not_cancellable",
            Refusal::Recovering => "recovering",
            Refusal::ShuttingDown => "shutting_down",
        }
    }

    /// HTTP status that belongs to the code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::NoConfig | Refusal::NotAGame | Refusal::OperationInProgress { .. } | Refusal::NotRunning => 409,
            Refusal::NoPrevious { .. } | Refusal::InUse { .. } | Refusal::NotCancellable { .. } => 409,
            Refusal::NotInstalled { .. } => 404,
            Refusal::Unusable { .. } => 422,
            Refusal::TooManyOperations { .. } => 429,
            Refusal::Recovering | Refusal::ShuttingDown => 503,
        }
    }
}
