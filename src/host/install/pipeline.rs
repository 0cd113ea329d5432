//! Four threads and three short queues: fetch and hash; decode; read the tar, judge and hash its files; make them.
//!
//! ```text
//!  socket ─► SHA-256, cache ─► [≤ 16 pieces] ─► gunzip ─► [≤ 8 x 256 KiB] ─► tar, rules, SHA-256 ─► [≤ 8 batches] ─► openat, write
//! ```
//! The queues are what bounds memory; emptied buffers go back to the decoder. An early end of one stage ends all: its
//! neighbours find their queue closed. Which of several failures is told is decided in [`first_cause`].
use super::{
    collect::{Batch, Collector},
    decode,
    error::InstallError,
    rules::refusal,
    tar_stream::{TarError, TarStream},
    tree::{Tree, TreeError},
};
use crate::{
    host::artifacts::{Fault, FetchError, Received, Source},
    model::settings::Install,
};
use bytes::{Buf, Bytes};
use std::{
    io::{self, BufRead, Read},
    ops::ControlFlow,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

const PIECE: usize = 256 << 10;
const PACKED_PIECES: usize = 16;
const PLAIN_PIECES: usize = 8;
/// Bytes after a tar's end mark: tapes were padded to their block size.
const MOST_AFTER_END: u64 = 64 << 20;

/// Plain bytes, and how many packed ones have been read for all so far.
struct Plain {
    piece: Vec<u8>,
    packed: u64,
}

/// Fetches `source` and unpacks it into `tree`.
pub(super) fn run(source: &Source, collector: &mut Collector, tree: &mut Tree) -> Result<Received, InstallError> {
    let install = source.server.install();
    let (packed_in, packed) = sync_channel::<Bytes>(PACKED_PIECES);
    let (plain_in, plain) = sync_channel::<Plain>(PLAIN_PIECES);
    let (batch_in, batches) = sync_channel::<Batch>(PLAIN_PIECES);
    let (empty_in, empty) = sync_channel::<Vec<u8>>(2 * PLAIN_PIECES);
    thread::scope(|scope| {
        let fetching = scope.spawn(move || source.receive(&mut |bytes| keep_on(packed_in.send(bytes).is_ok())));
        let decoding = scope.spawn(move || decode(Packed::new(packed), &plain_in, &empty, install));
        let reading = scope.spawn(move || read(&plain, &batch_in, collector));
        let made = make(batches, &empty_in, tree);
        drop(empty_in);
        let read = joined(reading.join());
        let decoded = joined(decoding.join());
        let fetched = joined(fetching.join());
        first_cause(source, fetched, unpacked(decoded, read, made))
    })
}

/// A stage that panicked is a bug; it is told as one, on this thread.
fn joined<T>(joined: thread::Result<T>) -> T {
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn keep_on(goes_on: bool) -> ControlFlow<()> {
    if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// A transfer that broke makes everything after it fail, too; and one that nobody listens to any more ends as cancelled.
fn first_cause(
    source: &Source,
    fetched: Result<Received, FetchError>,
    unpacked: Result<(), InstallError>,
) -> Result<Received, InstallError> {
    let hung_up = matches!(&fetched, Err(e) if matches!(e.fault, Fault::Cancelled)) && !source.cancel.is_cancelled();
    match (fetched, unpacked) {
        (Err(_), Err(e)) if hung_up => Err(e),
        (Err(e), _) => Err(e.into()),
        (Ok(received), unpacked) => unpacked.map(|()| received),
    }
}

/// A stage whose successor is gone tells nothing. One whose predecessor broke off finds its input cut off: unless it had
/// refused something before, the predecessor knows better.
fn unpacked(
    decoded: Result<(), InstallError>,
    read: Result<(), InstallError>,
    made: Result<(), InstallError>,
) -> Result<(), InstallError> {
    made?;
    match read {
        Err(refused @ InstallError::Refused(_)) => Err(refused),
        read => decoded.and(read),
    }
}

fn decode(
    mut packed: Packed,
    out: &SyncSender<Plain>,
    empty: &Receiver<Vec<u8>>,
    install: &Install,
) -> Result<(), InstallError> {
    let damaged = |e: io::Error| InstallError::Damaged(decode::complaint(&e));
    let taken = packed.taken.clone();
    let mut decoder = decode::decoder(&mut packed, install).map_err(damaged)?;
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        fill(&mut decoder, &mut piece).map_err(damaged)?;
        if piece.is_empty() {
            break;
        }
        if out.send(Plain { piece, packed: taken.get() }).is_err() {
            return Ok(());
        }
    }
    drop(decoder);
    // What follows the packed data belongs to the file that is hashed, so it must be let through.
    packed.drain();
    Ok(())
}

/// As much as there is room for. A piece that comes back full is not cleared again, nor read in small steps.
fn fill(from: &mut impl Read, piece: &mut Vec<u8>) -> io::Result<()> {
    piece.resize(PIECE, 0);
    let mut filled = 0;
    while filled < PIECE {
        match from.read(&mut piece[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    piece.truncate(filled);
    Ok(())
}

fn read(plain: &Receiver<Plain>, out: &SyncSender<Batch>, collector: &mut Collector) -> Result<(), InstallError> {
    let (mut tar, mut total, mut after) = (TarStream::default(), 0, 0);
    for Plain { piece, packed } in plain {
        total += piece.len() as u64;
        if tar.is_over() {
            after += piece.len() as u64;
        }
        if after > MOST_AFTER_END {
            return Err(InstallError::Damaged("the tar goes on long after its end mark; publish it again".into()));
        }
        tar.feed(&piece, collector).map_err(told)?;
        collector.rules.ratio(&collector.last, total, packed)?;
        if out.send(Batch { piece, steps: collector.steps() }).is_err() {
            return Ok(());
        }
    }
    tar.finish().map_err(told)
}

fn told(error: TarError) -> InstallError {
    match error {
        TarError::Refused(refusal) => refusal.into(),
        TarError::Damaged(why) => InstallError::Damaged(why.into()),
    }
}

fn make(batches: Receiver<Batch>, empty: &SyncSender<Vec<u8>>, tree: &mut Tree) -> Result<(), InstallError> {
    for batch in batches {
        tree.apply(&batch).map_err(disk)?;
        // Full or gone: then the buffer is not needed any more.
        _ = empty.try_send(batch.piece);
    }
    Ok(())
}

/// A name that the file system takes for another is the archive's fault, not the disk's.
pub(super) fn disk(error: TreeError) -> InstallError {
    match error.source.kind() {
        io::ErrorKind::AlreadyExists => {
            refusal(error.path.to_string_lossy().as_bytes(), "is, to this file system, the same name as another").into()
        }
        _ => InstallError::Disk { path: error.path, source: error.source },
    }
}

/// The packed bytes as a reader.
struct Packed {
    pieces: Receiver<Bytes>,
    now: Bytes,
    taken: std::rc::Rc<std::cell::Cell<u64>>,
}

impl Packed {
    fn new(pieces: Receiver<Bytes>) -> Self {
        Packed { pieces, now: Bytes::new(), taken: std::rc::Rc::default() }
    }

    fn drain(&mut self) {
        for piece in &self.pieces {
            self.taken.set(self.taken.get() + piece.len() as u64);
        }
    }
}

impl BufRead for Packed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // The format is told by the first bytes, which must not be divided.
        while self.now.is_empty() || (self.taken.get() == 0 && self.now.len() < decode::FIRST) {
            let Ok(piece) = self.pieces.recv() else { break };
            self.now = if self.now.is_empty() { piece } else { [&self.now[..], &piece].concat().into() };
        }
        Ok(&self.now)
    }

    fn consume(&mut self, amount: usize) {
        self.now.advance(amount);
        self.taken.set(self.taken.get() + amount as u64);
    }
}

impl Read for Packed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let n = from.len().min(to.len());
        to[..n].copy_from_slice(&from[..n]);
        self.consume(n);
        Ok(n)
    }
}
