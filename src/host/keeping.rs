//! The seam between the supervisor and the keeper: what an actor may ask of whoever holds its workload.
//! Real: [`crate::host::keeper_client`]. In actor tests: a script that fails on purpose.
/// Part of what is asked and answered here; actors name them through this seam, not the keeper's wire format.
pub use crate::keeper::protocol::{LaunchStep, Scope};
use crate::model::{
    exit::Exit,
    ids::RunId,
    time::{BootTime, WallTime},
    workload::WorkloadSpec,
};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// What a keeper tells unasked. Called from the link's own task; must not block.
#[derive(Clone, Debug, PartialEq)]
pub enum KeeperEvent {
    /// The main process of this run ended; the record is already safe.
    Exited(Exit),
    /// Nothing of this run's tree is left.
    TreeEmpty { run: RunId, killed: u32 },
    /// The keeper is gone although its run lived. The link takes the run up again by itself (spare PTY master, pidfd)
    /// and says how that went.
    KeeperLost { run: RunId, recovered: bool, detail: String },
}

pub type EventSink = Arc<dyn Fn(KeeperEvent) + Send + Sync>;

/// A living run.
#[derive(Clone, Debug, PartialEq)]
pub struct Alive {
    pub run: RunId,
    pub pid: i32,
    pub started: BootTime,
    pub started_at: WallTime,
    /// Console offset of this run's first byte.
    pub log_start: u64,
}

/// What an earlier agent left behind.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// No trace of any run in this boot.
    Nothing,
    /// The machine was restarted since: not a crash.
    LostByReboot,
    /// It runs; events for it arrive from now on.
    Alive(Alive),
    /// It ended while nobody watched (or was already reported: compare run ids).
    Ended(Exit),
}

/// Why a program never ran, or a keeper could not be asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KeepingError {
    #[error("could not {step}: {message}")]
    Launch { step: LaunchStep, errno: i32, message: String },
    #[error("could not start the keeper: {0}")]
    Spawn(String),
    #[error("the keeper does not answer: {0}")]
    Link(String),
    #[error("run {0} is not alive")]
    NotAlive(RunId),
    #[error("account {0:?} does not exist on this machine")]
    NoSuchUser(String),
    #[error("{0}")]
    Environment(String),
}

impl KeepingError {
    /// The machine or the moment lacks something (processes, files, memory, a program that is just being written), and
    /// nothing is wrong with the workload itself.
    pub fn is_scarcity(&self) -> bool {
        let passing = [libc::EAGAIN, libc::ENOMEM, libc::ENFILE, libc::EMFILE, libc::ETXTBSY];
        matches!(self, KeepingError::Launch { errno, .. } if passing.contains(errno))
    }
}

/// One per workload. All verbs return at once; futures are driven by tasks of the caller.
pub trait Keeping: Send + Sync + 'static {
    /// Finds what survived and connects to it; at most once per life of the caller, before anything else.
    fn discover(&self, sink: EventSink) -> BoxFuture<'static, Result<Discovery, KeepingError>>;
    /// Starts one run; spawns a keeper if none lives. The order is on its way before the future is first polled
    /// whenever a keeper is connected.
    fn launch(
        &self,
        run: RunId,
        spec: &WorkloadSpec,
        sink: EventSink,
    ) -> BoxFuture<'static, Result<Alive, KeepingError>>;
    /// Allows the keeper to begin this run by itself, just as the present one was begun, when that one crashes; or takes that back.
    /// What has happened by then is part of the present run's exit, and the launch is still to be asked for.
    fn permit(&self, next: Option<(RunId, &WorkloadSpec)>);
    /// Bytes for the workload's PTY; how many were taken.
    fn input(&self, run: RunId, bytes: bytes::Bytes) -> BoxFuture<'static, Result<u64, KeepingError>>;
    fn resize(&self, columns: u16, rows: u16);
    /// Sends a signal order. `Scope::Tree` kills everything, also without a keeper (cgroup, recorded identity).
    fn signal(&self, run: RunId, signal: i32, scope: Scope) -> BoxFuture<'static, Result<(), KeepingError>>;
    /// Lets an idle keeper go (agent shutdown, new build). Never harms a living run.
    fn retire(&self) -> BoxFuture<'static, ()>;
}
