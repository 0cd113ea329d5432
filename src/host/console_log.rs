//! The console of one workload, for reading: the keeper's ring while bytes are fresh, its segment files when they are
//! older. Needs no keeper, no actor and no lock that a writer holds, so no viewer can slow the game.
//!
//! Every viewer has its own cursor (an absolute offset) and they share one doorbell, armed only while somebody watches.
//! Whoever hears it, which is the keeper's link, copies what is new once and tells all viewers ([`News`]): no task of its
//! own, no copy a viewer. Who lags behind what is told reads for itself. Single lines are told at once; after more than
//! [`BULK`] bytes at a time the bell stays down for [`COALESCE`], so a flood of output costs a bounded number of wake-ups.
use super::keeper_state::{FromRing, KeeperState};
use crate::{
    keeper::layout::STATE_FILE,
    model::console::{Epoch, LogRange, News},
};
use bytes::Bytes;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

mod segments;

/// Output that came since the last wake-up and makes a pause worth its delay: no person reads that fast.
const BULK: u64 = 8 << 10;
/// The pause: at 90 MB/s, what a terminal can give at most, the ring holds three times as much.
const COALESCE: Duration = Duration::from_millis(1);
/// Most bytes told with the news: about what comes during a pause.
const TOLD: usize = 128 << 10;
/// For how long the list of segments is believed: it changes when a megabyte has been written.
const LISTED_FOR: Duration = Duration::from_millis(50);
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
    listed: Mutex<Option<Listed>>,
    published: watch::Sender<News>,
    pausing: AtomicBool,
}

/// First offset and end of the segments on disk, as of then.
#[derive(Clone, Copy)]
struct Listed {
    at: Instant,
    range: Option<(u64, u64)>,
}

impl ConsoleLog {
    /// `keeper_dir` holds the state file, `log_dir` the segments. Neither has to exist yet.
    pub fn new(keeper_dir: &Path, log_dir: &Path) -> ConsoleLog {
        let shared = Shared {
            state_path: keeper_dir.join(STATE_FILE),
            log_dir: log_dir.to_owned(),
            state: Mutex::default(),
            listed: Mutex::default(),
            published: watch::Sender::default(),
            pausing: AtomicBool::new(false),
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

    /// What is new, for as long as the receiver lives. Needs a tokio runtime.
    pub fn news(&self) -> watch::Receiver<News> {
        let receiver = self.shared.published.subscribe();
        self.shared.hear();
        receiver
    }

    /// There may be news: the keeper said so, a run has ended, a keeper came or went. Costs nothing while nobody watches.
    pub(super) fn ring(&self) {
        self.shared.hear();
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
        let Some(state) = self.state() else {
            let (start, end) = segments::range(&self.log_dir).unwrap_or_default();
            return LogRange { epoch: Epoch(0), start, end };
        };
        let head = state.head();
        let ring = state.oldest(head).min(head);
        match self.on_disk() {
            // Nothing was printed yet: the console goes on where the disk log ends.
            Some((start, end)) if head == state.ring_start() && end > head => {
                LogRange { epoch: state.epoch(), start, end }
            }
            Some((start, _)) => LogRange { epoch: state.epoch(), start: start.min(ring), end: head },
            None => LogRange { epoch: state.epoch(), start: ring, end: head },
        }
    }

    /// Asked for by whoever reads, so the folder is not listed each time.
    fn on_disk(&self) -> Option<(u64, u64)> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        match *listed {
            Some(known) if known.at.elapsed() < LISTED_FOR => known.range,
            _ => {
                let range = segments::range(&self.log_dir);
                *listed = Some(Listed { at: Instant::now(), range });
                range
            }
        }
    }

    /// The first bytes at or after `from`; `None` if the disk has none, or only such as the ring has too.
    async fn read_disk(self: Arc<Self>, from: u64, ring: Option<u64>, max: usize) -> io::Result<Option<Piece>> {
        let read = move || segments::read(&self.log_dir, from, ring.unwrap_or(u64::MAX), max);
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// Tells what is new and asks to hear of more, unless nobody watches or too much comes.
    fn hear(self: &Arc<Self>) {
        if self.published.receiver_count() == 0 || self.pausing.load(Ordering::SeqCst) {
            return;
        }
        if self.publish() > BULK {
            return self.pause();
        }
        if let Some(state) = self.state() {
            state.arm_doorbell();
            // What came before it was armed rings no bell.
            self.publish();
        }
    }

    fn pause(self: &Arc<Self>) {
        if self.pausing.swap(true, Ordering::SeqCst) {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(COALESCE).await;
            shared.pausing.store(false, Ordering::SeqCst);
            shared.hear();
        });
    }

    /// How many bytes were new.
    fn publish(&self) -> u64 {
        let state = self.state();
        let mut grown = 0;
        self.published.send_if_modified(|known| {
            let news = match &state {
                Some(state) if state.epoch() == known.range.epoch => newest(state, known.range),
                _ => self.another_epoch(known.range),
            };
            let Some(news) = news else { return false };
            grown = news.range.end.saturating_sub(news.from);
            *known = news;
            true
        });
        grown
    }

    fn another_epoch(&self, known: LogRange) -> Option<News> {
        let range = self.range();
        (range != known).then(|| News { range, from: range.end, bytes: Bytes::new() })
    }
}

/// What has come since `known`, if anything. Bytes that the ring has lost already are for those who read to notice.
fn newest(state: &KeeperState, known: LogRange) -> Option<News> {
    let head = state.head();
    let grown = head.checked_sub(known.end).filter(|grown| *grown > 0)?;
    let bytes = match state.read_ring(known.end, usize::try_from(grown).map_or(TOLD, |grown| grown.min(TOLD))) {
        FromRing::Bytes(bytes) => bytes.into(),
        FromRing::Older { .. } | FromRing::Beyond { .. } => Bytes::new(),
    };
    // Begun anew meanwhile, these offsets mean something else; the next look tells.
    (state.epoch() == known.epoch).then(|| News { range: LogRange { end: head, ..known }, from: known.end, bytes })
}

#[cfg(test)]
mod tests;
