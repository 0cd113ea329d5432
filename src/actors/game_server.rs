//! GameServerActor: one supervised game server. (Interface agreed first; the actor follows.)
use crate::model::{
    console::LogRange,
    exit::ExitStatus,
    ids::{OperationId, RunId},
    phase::State,
    refusal::Refusal,
};
use bytes::Bytes;

/// A command was taken; what becomes of it is seen in the operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// `None` when nothing had to be done (start while running, stop while stopped).
    pub operation: Option<OperationId>,
    pub state: State,
}

/// Why there is no [`Accepted`].
#[derive(Clone, Debug, PartialEq)]
pub enum Denied {
    Refused(Refusal),
    /// The actor did not answer within `limits.command_timeout`.
    Busy,
    /// The actor is not there (it is being restarted, or the agent is going down).
    Gone,
}

/// Handle to the GameServerActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct GameServer {}

impl GameServer {
    /// `body`: the whole `/config` request as JSON. Validated here; a [`Refusal::Unusable`] names the field and nothing was changed.
    pub async fn configure(&self, body: serde_json::Value, holder: &str) -> Result<Accepted, Denied> {
        todo!("{body}{holder}")
    }
    pub async fn start(&self, holder: &str) -> Result<Accepted, Denied> {
        todo!("{holder}")
    }
    pub async fn stop(&self, holder: &str) -> Result<Accepted, Denied> {
        todo!("{holder}")
    }
    pub async fn restart(&self, holder: &str) -> Result<Accepted, Denied> {
        todo!("{holder}")
    }
    pub async fn kill(&self, holder: &str) -> Result<Accepted, Denied> {
        todo!("{holder}")
    }
    /// One console line without newline, already checked by the caller; goes to the game's console input (PTY, econ, fifo).
    pub async fn command(&self, line: String) -> Result<(), Denied> {
        todo!("{line}")
    }
    /// Players by a server-list ping made now; `None` where the game cannot tell.
    pub async fn players(&self) -> Result<Option<crate::model::snapshot::Players>, Denied> {
        todo!()
    }
    pub fn console(&self) -> Console {
        todo!()
    }
}

/// Bytes of the console log.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Absolute offset of the first byte; larger than asked for when older bytes are no longer kept.
    pub from: u64,
    pub bytes: Bytes,
}

/// The last run's end, for the `exit` frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunEnd {
    pub run: RunId,
    pub status: ExitStatus,
}

/// Read and write access to one console. Reading never involves an actor or the keeper; each viewer has its own cursor.
#[derive(Clone)]
pub struct Console {}

impl Console {
    pub fn range(&self) -> LogRange {
        todo!()
    }
    /// Up to `max` bytes from `from` on: from the ring, or from disk for a viewer that lags behind it.
    pub async fn read(&self, from: u64, max: usize) -> std::io::Result<Chunk> {
        todo!("{from}{max}")
    }
    /// Resolves when bytes past `offset` exist or the epoch is another one.
    pub async fn past(&self, epoch: crate::model::console::Epoch, offset: u64) -> LogRange {
        todo!("{epoch:?}{offset}")
    }
    /// Ends of runs, newest value only.
    pub fn ends(&self) -> tokio::sync::watch::Receiver<Option<RunEnd>> {
        todo!()
    }
    /// Raw bytes for the PTY.
    pub async fn write(&self, bytes: Bytes) -> Result<(), Denied> {
        todo!("{bytes:?}")
    }
    pub fn resize(&self, columns: u16, rows: u16) {
        todo!("{columns}{rows}")
    }
    /// (columns, rows) last set.
    pub fn size(&self) -> (u16, u16) {
        todo!()
    }
}
