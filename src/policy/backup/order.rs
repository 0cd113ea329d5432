//! What may be ordered of the desk of backups, what it must not forget, and what lies on disk.
use crate::{
    model::{
        backup::{Backup, BackupId, Backups},
        container::Kind,
        ids::OperationId,
        operation::OperationKind,
    },
    policy::operations::Journal,
};
use serde::{Deserialize, Serialize};

/// What may be ordered. Ids of what is to be made are drawn by who orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    Make { id: BackupId },
    PutBack { of: BackupId, checkpoint: BackupId },
    Verify { of: BackupId },
    Delete { of: BackupId },
}

impl Order {
    pub(super) fn operation(&self) -> OperationKind {
        match self {
            Order::Make { .. } => OperationKind::Backup,
            Order::PutBack { .. } => OperationKind::Restore,
            Order::Verify { .. } => OperationKind::Verify,
            Order::Delete { .. } => OperationKind::Remove,
        }
    }

    /// The backup that must be there for it.
    pub(super) fn of(&self) -> Option<&BackupId> {
        match self {
            Order::Make { .. } => None,
            Order::PutBack { of, .. } | Order::Verify { of } | Order::Delete { of } => Some(of),
        }
    }

    pub(super) fn about(&self) -> &BackupId {
        match self {
            Order::Make { id } => id,
            Order::PutBack { of, .. } | Order::Verify { of } | Order::Delete { of } => of,
        }
    }

    /// May the workload be started, stopped or configured meanwhile?
    pub fn leaves_workload_alone(&self) -> bool {
        matches!(self, Order::Verify { .. } | Order::Delete { .. })
    }
}

/// An order, and of which of the two kinds of trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    pub kind: Kind,
    pub order: Order,
}

/// What must outlive the agent. One record, stored whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    pub journal: Journal,
    /// Of the operation that has no outcome yet.
    pub pending: Option<Wish>,
}

/// What lies on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shelves {
    pub dev: Backups,
    pub game: Backups,
}

impl Shelves {
    pub fn of(&self, kind: Kind) -> &Backups {
        match kind {
            Kind::Dev => &self.dev,
            Kind::Game => &self.game,
        }
    }

    pub(super) fn put(&mut self, kind: Kind, backups: Backups) {
        match kind {
            Kind::Dev => self.dev = backups,
            Kind::Game => self.game = backups,
        }
    }

    pub fn find(&self, kind: Kind, id: &BackupId) -> Option<&Backup> {
        self.of(kind).iter().find(|backup| backup.id == *id)
    }
}

/// What earlier lives left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recollection {
    pub memory: Memory,
    pub shelves: Shelves,
    /// How the restore of the pending order ended, if the disk knows of it.
    pub restored: Option<Result<(), String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Make { kind: Kind, id: BackupId },
    PutBack { kind: Kind, of: BackupId, checkpoint: BackupId, operation: OperationId },
    Verify { kind: Kind, of: BackupId },
    Discard { kind: Kind, ids: Vec<BackupId> },
}

impl Step {
    pub fn kind(&self) -> Kind {
        match self {
            Step::Make { kind, .. }
            | Step::PutBack { kind, .. }
            | Step::Verify { kind, .. }
            | Step::Discard { kind, .. } => *kind,
        }
    }
}

/// What an order is first.
pub(super) fn step_of(wish: &Wish, operation: &OperationId) -> Step {
    let kind = wish.kind;
    match wish.order.clone() {
        Order::Make { id } => Step::Make { kind, id },
        Order::PutBack { of, checkpoint } => Step::PutBack { kind, of, checkpoint, operation: operation.clone() },
        Order::Verify { of } => Step::Verify { kind, of },
        Order::Delete { of } => Step::Discard { kind, ids: vec![of] },
    }
}
