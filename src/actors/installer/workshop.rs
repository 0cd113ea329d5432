//! Everything the InstallerActor asks of others: one trait, so that tests script it and the composition root fills it in.
//!
//! What holds for every verb: it returns at once and the future may take its time. Errors are sentences for a person:
//! what happened, where (the URL, the file), what to do.
use crate::{
    model::{
        ids::OperationId,
        install::{Present, TreeId, User, Wanted},
        refusal::Refusal,
    },
    policy::installer::{Consulted, Failure, Now, memory::Memory, plan::Step},
};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where a step says what it is doing, for a person, and how much of it is done (0 to 1). Never blocks. A step that says
/// nothing for `install.patience` counts as stuck.
pub type Progress = Arc<dyn Fn(&str, Option<f64>) + Send + Sync>;

/// What a step at work is given.
#[derive(Clone)]
pub struct Line {
    pub progress: Progress,
    /// Once cancelled the step ends as soon as it can, with an error, and touches nothing any more. It is also
    /// cancelled when the step's future is dropped.
    pub stop: CancellationToken,
}

/// Why the artifact server has nothing for a want.
#[derive(Clone, Debug, PartialEq)]
pub enum Unmet {
    /// It answered, and what is wanted is not there or may not be taken: [`Refusal::Unusable`] with field and allowed
    /// values.
    Refused(Refusal),
    /// It could not be asked, or its answer cannot be used.
    Failed(Failure),
}

/// One thing the artifact server has.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Available {
    pub id: String,
    /// As the catalog lists them.
    pub versions: Vec<String>,
}

pub trait Workshop: Send + Sync + 'static {
    fn now(&self) -> Now;

    /// A fresh UUIDv7.
    fn operation_id(&self) -> OperationId;

    /// What was last saved, including saves whose order was given but whose future has not resolved yet.
    fn recall(&self) -> BoxFuture<'static, Result<Memory, String>>;

    /// Stores it durably. The order among calls is that of the calls, and a call is carried out even if its future is
    /// dropped.
    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>>;

    /// What is installed. `sweep`: what steps of earlier lives left half done goes away first; steps of this life that
    /// are still winding up are waited for.
    fn survey(&self, sweep: bool) -> BoxFuture<'static, Result<Present, String>>;

    /// Chooses from the artifact server's catalog, read anew.
    fn consult(&self, wanted: Wanted) -> BoxFuture<'static, Result<Consulted, Unmet>>;

    /// Does one step, wholly or with an error.
    fn perform(&self, step: Step, line: Line) -> BoxFuture<'static, Result<(), Failure>>;

    /// Who uses a tree now.
    fn users(&self, tree: TreeId) -> BoxFuture<'static, Result<Vec<User>, String>>;

    /// The runtimes of the catalog, as last read or read now.
    fn available(&self) -> BoxFuture<'static, Result<Vec<Available>, String>>;
}
