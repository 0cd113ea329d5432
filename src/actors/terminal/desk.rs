//! What viewers of one session share with the actor. It outlives the actor: a viewer notices nothing of a rebirth.
use super::{Message, world::World};
use crate::{
    actors::{
        game_server::{Chunk, Denied, RunEnd},
        held::Held,
        slot::Slot,
    },
    model::{
        console::{LogRange, News},
        ids::RunId,
        refusal::Refusal,
    },
    policy::terminal::{Size, Viewer},
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// One session: its keeper, its output, and who looks at it.
pub struct Desk {
    pub name: String,
    pub held: Held,
    /// The run that takes input.
    pub live: watch::Sender<Option<RunId>>,
    pub ends: watch::Sender<Option<RunEnd>>,
    pub size: watch::Sender<Size>,
    viewers: Mutex<BTreeMap<Viewer, Option<Size>>>,
}

impl Desk {
    pub fn viewers(&self) -> MutexGuard<'_, BTreeMap<Viewer, Option<Size>>> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn range(&self) -> LogRange {
        self.held.output.range()
    }

    /// Up to `max` bytes from `from` on.
    pub async fn read(&self, from: u64, max: usize) -> io::Result<Chunk> {
        let (from, bytes) = self.held.output.read(from, max).await?;
        Ok(Chunk { from, bytes })
    }
}

/// All desks there are.
#[derive(Default)]
pub struct Desks {
    all: Mutex<BTreeMap<String, Arc<Desk>>>,
    seats: AtomicU64,
}

impl Desks {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Desk>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn names(&self) -> Vec<String> {
        self.all().keys().cloned().collect()
    }

    pub fn find(&self, name: &str) -> Option<Arc<Desk>> {
        self.all().get(name).cloned()
    }

    /// The desk of this name, made if there is none.
    pub fn open(&self, name: &str, size: Size, world: &dyn World) -> Result<Arc<Desk>, String> {
        if let Some(desk) = self.find(name) {
            return Ok(desk);
        }
        let held = world.hold(name)?;
        let (live, ends, size) = (watch::Sender::new(None), watch::Sender::new(None), watch::Sender::new(size));
        let desk = Arc::new(Desk { name: name.to_owned(), held, live, ends, size, viewers: Mutex::default() });
        self.all().insert(name.to_owned(), desk.clone());
        Ok(desk)
    }

    pub fn close(&self, name: &str) {
        self.all().remove(name);
    }

    pub fn next_viewer(&self) -> Viewer {
        self.seats.fetch_add(1, Ordering::Relaxed)
    }
}

/// One viewer's place. Dropping it says that the viewer left.
pub struct Seat {
    pub desk: Arc<Desk>,
    pub viewer: Viewer,
    pub(super) slot: Slot<Message>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.viewers().remove(&self.viewer);
        self.slot.cast(Message::Left(self.desk.name.clone(), self.viewer));
    }
}

impl Seat {
    pub fn news(&self) -> watch::Receiver<News> {
        self.desk.held.output.news()
    }

    pub fn ends(&self) -> watch::Receiver<Option<RunEnd>> {
        self.desk.ends.subscribe()
    }

    /// Raw bytes for the PTY.
    pub async fn write(&self, bytes: Bytes) -> Result<(), Denied> {
        let gone = Denied::Refused(Refusal::NotRunning);
        let run = (*self.desk.live.borrow()).ok_or(gone.clone())?;
        self.desk.held.keeping.input(run, bytes).await.map(|_| ()).map_err(|_| gone)
    }

    /// This viewer's window; the terminal gets what fits all.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.desk.viewers().insert(self.viewer, Some((columns, rows)));
        self.slot.cast(Message::Resized(self.desk.name.clone(), self.viewer, (columns, rows)));
    }

    pub fn size(&self) -> Size {
        *self.desk.size.borrow()
    }
}
