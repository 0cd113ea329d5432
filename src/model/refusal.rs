//! A command that cannot be accepted now: a value, not an error. HTTP turns it into problem+json.
use super::{backup::BackupId, ids::OperationId, install::User, operation::OperationKind, time::WallTime};
use serde::{Deserialize, Serialize};

/// Why a command was not accepted. `code()` is the stable, documented name on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// No /config was ever accepted.
    NoConfig,
    /// The container is a dev container.
    NotAGame,
    /// The container is a game server.
    NotADevContainer,
    /// The account or the workspace of the dev container is not there yet.
    NotProvisioned,
    /// What can be installed cannot be found out now, and what was asked for is not installed.
    CatalogUnavailable { detail: String },
    /// A session name that could not be a folder's.
    InvalidSession { detail: String },
    /// No shell of this name lives.
    NoSuchSession,
    /// As many shell sessions as there may be.
    TooManySessions { limit: usize },
    /// As many viewers of one console as there may be.
    TooManyViewers { limit: usize },
    /// The shell of a session could not be started.
    NoShell { detail: String },
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
    /// No backup has this id.
    NoSuchBackup { id: BackupId },
    /// It was found to be damaged.
    BackupDamaged { fault: String },
    /// Only a server that is stopped can be put back.
    NotStopped,
    /// There is not enough space for what was asked.
    DiskFull { needed: u64, free: u64 },
    /// The agent is being updated, or is still on trial after an update.
    UpdateInProgress,
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
            Refusal::NotADevContainer => "not_a_dev_container",
            Refusal::NotProvisioned => "not_provisioned",
            Refusal::CatalogUnavailable { .. } => "catalog_unavailable",
            Refusal::InvalidSession { .. } => "invalid_session",
            Refusal::NoSuchSession => "no_such_session",
            Refusal::TooManySessions { .. } => "too_many_sessions",
            Refusal::TooManyViewers { .. } => "too_many_viewers",
            Refusal::NoShell { .. } => "no_shell",
            Refusal::OperationInProgress { .. } => "operation_in_progress",
            Refusal::NotRunning => "not_running",
            Refusal::Unusable { .. } => "unusable",
            Refusal::NotInstalled { .. } => "not_installed",
            Refusal::NoPrevious { .. } => "no_previous",
            Refusal::InUse { .. } => "in_use",
            Refusal::TooManyOperations { .. } => "too_many_operations",
            Refusal::NotCancellable { .. } => "not_cancellable",
            Refusal::NoSuchBackup { .. } => "no_such_backup",
            Refusal::BackupDamaged { .. } => "backup_damaged",
            Refusal::NotStopped => "not_stopped",
            Refusal::DiskFull { .. } => "disk_full",
            Refusal::UpdateInProgress => "update_in_progress",
            Refusal::Recovering => "recovering",
            Refusal::ShuttingDown => "shutting_down",
        }
    }

    /// HTTP status that belongs to the code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::InvalidSession { .. } => 400,
            Refusal::NoSuchSession => 404,
            Refusal::NoConfig | Refusal::NotAGame | Refusal::OperationInProgress { .. } | Refusal::NotRunning => 409,
            Refusal::NotADevContainer | Refusal::NotProvisioned => 409,
            Refusal::NoPrevious { .. } | Refusal::InUse { .. } | Refusal::NotCancellable { .. } => 409,
            Refusal::UpdateInProgress => 409,
            Refusal::NotInstalled { .. } | Refusal::NoSuchBackup { .. } => 404,
            Refusal::BackupDamaged { .. } | Refusal::NotStopped => 409,
            Refusal::Unusable { .. } => 422,
            Refusal::TooManySessions { .. } | Refusal::TooManyViewers { .. } => 429,
            Refusal::TooManyOperations { .. } => 429,
            Refusal::CatalogUnavailable { .. } | Refusal::NoShell { .. } => 503,
            Refusal::Recovering | Refusal::ShuttingDown => 503,
            Refusal::DiskFull { .. } => 507,
        }
    }
}
