//! The console of one workload, for reading: the keeper's ring while bytes are fresh, its segment files when they are
//! older. Needs no keeper, no actor and no lock that a writer holds, so no viewer can slow the game.
//!
//! Every viewer has its own cursor (an absolute offset) and they share one doorbell: a small task that exists only while
//! somebody waits. It rings at most every [`COALESCE`], so a flood of output costs a bounded number of wake-ups.
use super::keeper_state::{FromRing, KeeperState};
use crate::{
    keeper::layout::STATE_FILE,
    model::console::{Epoch, LogRange},
};
use bytes::Bytes;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

mod segments;

/// Shortest time between two wake-ups of all viewers. The first byte after a silence is not delayed.
const COALESCE: Duration = Duration::from_millis(8);
/// How often a read may find that what it looked for was just overwritten or deleted.
const ATTEMPTS: usize = 16;

/// Consecutive bytes of the console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Absolute offset of the first byte: larger than asked for where older bytes are gone, smaller where the console
    /// ends before it.
    pub from: u64,
    pub bytes: Bytes,
}

/// Read access to one console; clones share the doorbell.
#[derive(Clone)]
pub struct ConsoleLog {
    shared: Arc<Shared>,
}

struct Shared {
    state_path: PathBuf,
    log_dir: PathBuf,
    state: Mutex<Option<Arc<KeeperState>>>,
    published: watch::Sender<LogRange>,
    rang: Notify,
    bell_is_served: AtomicBool,
}

impl ConsoleLog {
    /// `keeper_dir` holds the state file, `log_dir` the segments. Neither has to exist yet.
    pub fn new(keeper_dir: &Path, log_dir: &Path) -> ConsoleLog {
        let shared = Shared {
            state_path: keeper_dir.join(STATE_FILE),
            log_dir: log_dir.to_owned(),
            state: Mutex::default(),
            published: watch::Sender::default(),
            rang: Notify::new(),
            bell_is_served: AtomicBool::new(false),
        };
        ConsoleLog { shared: Arc::new(shared) }
    }

    /// What can be read now.
    pub fn range(&self) -> LogRange {
        self.shared.range()
    }

    /// Bytes that never reached the disk, since this epoch began.
    pub fn dropped(&self) -> u64 {
        self.shared.state().map_or(0, |s| s.dropped())
    }

    /// Up to `max` bytes from `from` on; empty at the end of the console. May give less than there is.
    pub async fn read(&self, from: u64, max: usize) -> io::Result<Piece> {
        let mut from = from;
        for _ in 0..ATTEMPTS {
            let ring_begins = match self.shared.state().map(|s| s.read_ring(from, max)) {
                Some(FromRing::Bytes(bytes)) if !bytes.is_empty() => return Ok(Piece { from, bytes: bytes.into() }),
                Some(FromRing::Older { first }) => Some(first),
                Some(FromRing::Bytes(_) | FromRing::Beyond { .. }) | None => None,
            };
            let piece = self.shared.clone().read_disk(from, ring_begins, max).await?;
            match (piece, ring_begins) {
                (Some(piece), _) => return Ok(piece),
                (None, Some(first)) => from = first,
                (None, None) => return Ok(Piece { from: from.min(self.range().end), bytes: Bytes::new() }),
            }
        }
        Ok(Piece { from, bytes: Bytes::new() })
    }

    /// The range as it grows, for as long as the receiver lives. Needs a tokio runtime.
    pub fn watch(&self) -> watch::Receiver<LogRange> {
        let receiver = self.shared.published.subscribe();
        if !self.shared.bell_is_served.swap(true, Ordering::SeqCst) {
            self.shared.publish();
            tokio::spawn(self.shared.clone().serve_bell());
        }
        receiver
    }

    /// Resolves when bytes past `offset` exist, or when the epoch is another one.
    pub async fn past(&self, epoch: Epoch, offset: u64) -> LogRange {
        let mut range = self.watch();
        // Cannot fail: the sender lives in `self`.
        range.wait_for(|r| r.epoch != epoch || r.end > offset).await.map_or_else(|_| self.range(), |r| *r)
    }

    /// There may be news: the keeper said so, a run has ended, a keeper came or went. Costs nothing while nobody waits.
    pub(super) fn ring(&self) {
        self.shared.rang.notify_one();
    }

    /// The mapped state file, if there is one that is whole.
    pub(super) fn state(&self) -> Option<Arc<KeeperState>> {
        self.shared.state()
    }

    /// A new keeper may have begun a new file where the old one was.
    pub(super) fn reopen(&self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.as_ref().is_some_and(|s| !s.is_at(&self.shared.state_path)) {
            *state = None;
        }
    }
}

impl Shared {
    fn state(&self) -> Option<Arc<KeeperState>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_none() {
            *state = KeeperState::open(&self.state_path).ok().flatten().map(Arc::new);
        }
        state.clone().filter(|s| s.is_valid())
    }

    fn range(&self) -> LogRange {
        let disk = segments::range(&self.log_dir);
        let Some(state) = self.state() else {
            let (start, end) = disk.unwrap_or_default();
            return LogRange { epoch: Epoch(0), start, end };
        };
        let head = state.head();
        let ring = state.oldest(head).min(head);
        match disk {
            // Nothing was printed yet: the console goes on where the disk log ends.
            Some((start, end)) if head == state.ring_start() && end > head => {
                LogRange { epoch: state.epoch(), start, end }
            }
            Some((start, _)) => LogRange { epoch: state.epoch(), start: start.min(ring), end: head },
            None => LogRange { epoch: state.epoch(), start: ring, end: head },
        }
    }

    /// The first bytes at or after `from`; `None` if the disk has none, or only such as the ring has too.
    async fn read_disk(self: Arc<Self>, from: u64, ring: Option<u64>, max: usize) -> io::Result<Option<Piece>> {
        let read = move || segments::read(&self.log_dir, from, ring.unwrap_or(u64::MAX), max);
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    fn publish(&self) {
        let range = self.range();
        self.published.send_if_modified(|old| std::mem::replace(old, range) != range);
    }

    /// Runs while anyone holds a receiver.
    async fn serve_bell(self: Arc<Self>) {
        loop {
            if let Some(state) = self.state() {
                state.arm_doorbell();
            }
            // After arming: what came before it rings no bell.
            let before = self.published.borrow().end;
            self.publish();
            if self.published.borrow().end == before {
                tokio::select! {
                    () = self.rang.notified() => self.publish(),
                    () = self.published.closed() => if self.may_leave() { return },
                }
            }
            tokio::time::sleep(COALESCE).await;
        }
    }

    /// False if somebody came back while we were leaving and found the bell served.
    fn may_leave(&self) -> bool {
        self.bell_is_served.store(false, Ordering::SeqCst);
        self.published.receiver_count() == 0 || self.bell_is_served.swap(true, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
