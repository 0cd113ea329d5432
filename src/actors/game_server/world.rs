//! Everything the GameServerActor asks of others: one trait, so that tests script it and the composition root fills it in.
//!
//! What holds for every verb: it returns at once and the future may take its time. Each future resolves by itself within
//! the verb's own limits; the actor cuts it off at its outer limit and counts it as lost. Errors are sentences for a
//! person: what happened, where, what to do.
use crate::{
    host::keeping::Keeping,
    model::{
        console::{LogRange, News},
        crash::CrashReport,
        ids::{OperationId, RunId},
        refusal::Refusal,
        snapshot::Players,
        workload::WorkloadSpec,
    },
    policy::{
        game_server::{
            command::{Moment, Resolved},
            effect::{Ended, Probing, Record},
            fact::Recollection,
        },
        readiness::Answer,
    },
};
use futures_util::future::BoxFuture;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Where a preparation says what it is doing, for a person, and how far it is (0 to 1). Never blocks.
pub type Progress = Arc<dyn Fn(&str, Option<f64>) + Send + Sync>;

pub trait World: Send + Sync + 'static {
    /// Boot clock, wall clock and a fresh random share in 0.0..=1.0. In tests the boot clock is tokio's.
    fn now(&self) -> Moment;

    /// A fresh UUIDv7.
    fn operation_id(&self) -> OperationId;

    /// Judges a whole `/config` body. Changes nothing anywhere; a refusal is [`Refusal::Unusable`] with the field.
    fn resolve(&self, body: serde_json::Value) -> BoxFuture<'static, Result<Resolved, Refusal>>;

    /// What was last saved, including saves whose order was given but whose future has not resolved yet. Records that
    /// never existed are their defaults; a record that exists but cannot be read is an error.
    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>>;

    /// Stores these records in this order, each atomically and durably; the first failure ends it. The order among
    /// calls is that of the calls, and a call is carried out even if its future is dropped.
    fn save(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), String>>;

    /// Installs what the configuration names and makes the server root fit for a launch: files of the game, folders,
    /// account, ownership, generated files; checks `requires`. Answers with what to launch now that all is in place. Safe
    /// to repeat, also beside a living run, and never two at a time.
    fn prepare(
        &self,
        config: Arc<Resolved>,
        progress: Progress,
    ) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, String>>;

    /// Resolves once nobody listens on any of these ports (TCP or UDP), or names the taken one after `within`.
    fn ports_freed(&self, ports: Vec<u16>, within: Duration) -> BoxFuture<'static, Result<(), String>>;

    /// One probe, within `ready.timeout`.
    fn probe(&self, probing: Probing) -> BoxFuture<'static, Answer>;

    /// Players by a probe made now; `None` where the game cannot tell.
    fn players(&self, spec: Arc<WorkloadSpec>) -> BoxFuture<'static, Option<Players>>;

    /// Gathers evidence and judges an unexpected end. Always an answer, at worst from the exit status alone.
    fn classify(&self, ended: Ended) -> BoxFuture<'static, CrashReport>;

    /// Remembers the watched files as they are now, for the `changes` of later crash reports.
    fn note_good_start(&self, run: RunId, spec: Arc<WorkloadSpec>) -> BoxFuture<'static, ()>;

    /// Types one line (a newline is added) into the game's console input: PTY, econ or FIFO.
    fn say(&self, run: RunId, spec: Arc<WorkloadSpec>, line: String) -> BoxFuture<'static, Result<(), String>>;

    fn keeping(&self) -> &dyn Keeping;

    fn output(&self) -> &dyn Output;
}

/// The console's bytes. Reading involves neither the actor nor the keeper.
pub trait Output: Send + Sync + 'static {
    fn range(&self) -> LogRange;
    /// Up to `max` bytes from `from` on. The offset returned is that of the first byte: larger than `from` when older
    /// bytes are no longer kept.
    fn read(&self, from: u64, max: usize) -> BoxFuture<'static, io::Result<(u64, bytes::Bytes)>>;
    /// Newest value only, for as long as the receiver lives.
    fn news(&self) -> watch::Receiver<News>;
}
