//! What the DevProvisionActor asks of others. Every verb returns at once; the future may take its time. Errors are
//! sentences for a person: what happened, where, what to do.
use crate::{
    model::{ids::OperationId, refusal::Refusal},
    policy::{
        dev_provision::{Memory, Recollection, Resolved, Step},
        game_server::command::Moment,
    },
};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Where a step says what it is doing, for a person, and how far it is (0 to 1). Never blocks.
pub type Progress = Arc<dyn Fn(&str, Option<f64>) + Send + Sync>;

pub trait World: Send + Sync + 'static {
    /// Boot clock, wall clock; the share of chance is not used.
    fn now(&self) -> Moment;

    /// A fresh UUIDv7.
    fn operation_id(&self) -> OperationId;

    /// Judges a whole `/config` body against the catalog. Changes nothing anywhere.
    fn resolve(&self, body: serde_json::Value) -> BoxFuture<'static, Result<Resolved, Refusal>>;

    /// What was last saved, and what its configuration means now.
    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>>;

    /// Stores it atomically and durably. The order among calls is that of the calls, and a call is carried out even if
    /// its future is dropped.
    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>>;

    /// Makes sure of one step; nothing happens to what is right already. Never two at a time, also if the future of an
    /// earlier one was dropped.
    fn perform(&self, step: Step, config: Arc<Resolved>, progress: Progress) -> BoxFuture<'static, Result<(), String>>;

    /// Writes the shells' files again if they are not what they should be.
    fn refresh(&self) -> BoxFuture<'static, Result<(), String>>;
}
