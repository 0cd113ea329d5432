//! Everything the BackupActor asks of others: one trait, so that tests script it and the composition root fills it in.
//!
//! What holds for every verb: it returns at once and the future may take its time. Errors are sentences for a person.
use crate::{
    model::{backup::BackupId, container::Kind, ids::OperationId, refusal::Refusal},
    policy::backup::{Memory, Now, Order, Recollection, Report, Shelves, Step},
};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Takes what is being done, for a person, and how much of it is done (0 to 1).
pub type Progress = Arc<dyn Fn(&str, Option<f64>) + Send + Sync>;

/// What a step at work is given.
#[derive(Clone)]
pub struct Line {
    /// A step that says nothing for `backups.patience` counts as stuck.
    pub progress: Progress,
    /// Once cancelled the step ends as soon as it can. It is also cancelled when the step's future is dropped.
    pub stop: CancellationToken,
}

pub trait World: Send + Sync + 'static {
    fn now(&self) -> Now;

    /// A fresh UUIDv7.
    fn operation_id(&self) -> OperationId;

    /// A fresh UUIDv7.
    fn backup_id(&self) -> Option<BackupId>;

    /// What earlier lives wrote down and what lies on disk, half-done things swept away. Steps that are still winding up
    /// are waited for.
    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>>;

    /// Stores it durably, in the order of the calls, also if the future is dropped.
    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>>;

    /// Is there what is to be copied, and room for it? Changes nothing.
    fn foresee(&self, kind: Kind, order: Order, shelves: Shelves) -> BoxFuture<'static, Result<(), Refusal>>;

    /// Does one step, wholly or with an error.
    fn perform(&self, step: Step, line: Line) -> BoxFuture<'static, Report>;

    /// Tells a game that may hold its writes to go on with them.
    fn release(&self) -> BoxFuture<'static, ()>;
}
