//! What the TerminalActor asks of others. Every verb returns at once; the future may take its time.
use crate::{
    actors::held::Held,
    model::{ids::RunId, refusal::Refusal, workload::WorkloadSpec},
};
use futures_util::future::BoxFuture;
use std::sync::Arc;

pub trait World: Send + Sync + 'static {
    /// A run id that no shell of this machine had before, as far as its clocks can tell.
    fn fresh_run(&self) -> RunId;

    /// Names of the sessions that earlier agents left anything of.
    fn sessions(&self) -> BoxFuture<'static, Result<Vec<String>, String>>;

    /// The hold on one session's shell; touches nothing yet.
    fn hold(&self, session: &str) -> Result<Held, String>;

    /// What a new shell is, now. [`Refusal::NotProvisioned`] before account and workspace are there.
    fn shell(&self) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, Refusal>>;

    /// Lets the session's keeper go and removes what it wrote. No shell of it lives.
    fn forget(&self, session: &str, held: Held) -> BoxFuture<'static, Result<(), String>>;
}
