//! The console as its viewers have it: output from the log, input straight to the keeper. No byte passes the actor.
use super::{Denied, Message, world::World};
use crate::{
    actors::slot::Slot,
    model::{
        console::{LogRange, News},
        exit::ExitStatus,
        ids::RunId,
        refusal::Refusal,
        workload::WorkloadSpec,
    },
    policy::game_server::{
        fact::{Fact, RunFact},
        typed::TypedLine,
    },
};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

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

/// Who takes console input now.
pub(super) type Listening = Option<(RunId, Arc<WorkloadSpec>)>;

/// Read and write access to one console. Reading never involves an actor or the keeper; each viewer has its own cursor.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

struct Shared {
    world: Arc<dyn World>,
    slot: Slot<Message>,
    listening: watch::Sender<Listening>,
    ends: watch::Sender<Option<RunEnd>>,
    size: watch::Sender<(u16, u16)>,
    typed: Mutex<TypedLine>,
}

impl Console {
    pub(super) fn new(world: Arc<dyn World>, slot: Slot<Message>, size: (u16, u16)) -> Console {
        let (listening, ends) = (watch::Sender::new(None), watch::Sender::new(None));
        let (size, typed) = (watch::Sender::new(size), Mutex::default());
        Console { shared: Arc::new(Shared { world, slot, listening, ends, size, typed }) }
    }

    pub fn range(&self) -> LogRange {
        self.shared.world.output().range()
    }

    /// Up to `max` bytes from `from` on: from the ring, or from disk for a viewer that lags behind it.
    pub async fn read(&self, from: u64, max: usize) -> std::io::Result<Chunk> {
        let (from, bytes) = self.shared.world.output().read(from, max).await?;
        Ok(Chunk { from, bytes })
    }

    /// How the output grows: newest value only, with the bytes that came last.
    pub fn news(&self) -> watch::Receiver<News> {
        self.shared.world.output().news()
    }

    /// Ends of runs, newest value only.
    pub fn ends(&self) -> watch::Receiver<Option<RunEnd>> {
        self.shared.ends.subscribe()
    }

    /// Raw bytes for the PTY.
    pub async fn write(&self, bytes: Bytes) -> Result<(), Denied> {
        let (run, spec) = self.listening().ok_or(Denied::Refused(Refusal::NotRunning))?;
        self.watch_typing(run, &spec, &bytes);
        let taken = self.shared.world.keeping().input(run, bytes).await;
        taken.map(|_| ()).map_err(|_| Denied::Refused(Refusal::NotRunning))
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.shared.size.send_replace((columns, rows));
        self.shared.world.keeping().resize(columns, rows);
    }

    /// (columns, rows) last set.
    pub fn size(&self) -> (u16, u16) {
        *self.shared.size.borrow()
    }

    /// One line by whatever way the game takes lines.
    pub(super) async fn say(&self, line: String) -> Result<(), Denied> {
        let (run, spec) = self.listening().ok_or(Denied::Refused(Refusal::NotRunning))?;
        if TypedLine::default().take(format!("{line}\n").as_bytes(), &spec.stop_commands) {
            self.shared.slot.cast(Message::Fact(Fact::Run(run, RunFact::StopTyped)));
        }
        let said = self.shared.world.say(run, spec, line).await;
        said.map_err(|why| {
            tracing::warn!(%run, why, "a console line could not be delivered");
            Denied::Refused(Refusal::NotRunning)
        })
    }

    pub(super) fn listening(&self) -> Listening {
        self.shared.listening.borrow().clone()
    }

    /// The actor says who listens and who ended; unchanged values wake nobody.
    pub(super) fn update(&self, listening: Listening, end: Option<(RunId, ExitStatus)>) {
        self.shared.listening.send_if_modified(|was| replace_if_other(was, listening));
        let end = end.map(|(run, status)| RunEnd { run, status });
        if end.is_some() {
            self.shared.ends.send_if_modified(|was| replace_if_other(was, end));
        }
    }

    /// The actor must know of a typed stop command before the game obeys it, so this comes before the bytes.
    fn watch_typing(&self, run: RunId, spec: &WorkloadSpec, bytes: &[u8]) {
        let mut typed = self.shared.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if typed.take(bytes, &spec.stop_commands) {
            self.shared.slot.cast(Message::Fact(Fact::Run(run, RunFact::StopTyped)));
        }
    }
}

fn replace_if_other<T: PartialEq>(was: &mut T, is: T) -> bool {
    let changed = *was != is;
    *was = is;
    changed
}
