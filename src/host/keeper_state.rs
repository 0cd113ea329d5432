//! A keeper's state file as the agent sees it: who keeps, which runs there were, and the console ring.
//! Readable with or without a keeper; its form is frozen in [`crate::keeper::layout`].
use super::{clock::BootId, process::Identity};
use crate::{
    keeper::layout::{self, FILE_BYTES, PAGE, Progress, RECORD_BYTES, RING_BYTES, RunRecord, WRITE_AHEAD},
    model::console::Epoch,
};
use memmap2::{MmapOptions, MmapRaw};
use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

/// One mapping of one state file. The keeper writes it at any moment; only doorbell and permit are ours to write.
pub struct KeeperState {
    map: MmapRaw,
    inode: (u64, u64),
}

/// What a look into the ring found.
#[derive(Debug, PartialEq, Eq)]
pub enum FromRing {
    /// The bytes from the wanted offset on; none if that is where the console ends.
    Bytes(Vec<u8>),
    /// The ring begins only at this offset.
    Older { first: u64 },
    /// The console ends here, before the wanted offset.
    Beyond { end: u64 },
}

impl KeeperState {
    /// `None` if there is no file yet, or not a whole one.
    pub fn open(path: &Path) -> io::Result<Option<KeeperState>> {
        let file = match OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let meta = file.metadata()?;
        if meta.len() != FILE_BYTES as u64 {
            return Ok(None);
        }
        let map = MmapOptions::new().len(FILE_BYTES).map_raw(&file)?;
        Ok(Some(KeeperState { map, inode: (meta.dev(), meta.ino()) }))
    }

    /// Does `path` still lead to the file that is mapped?
    pub fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.inode)
    }

    /// False while a keeper begins the file anew, and for anything damaged or of another layout.
    pub fn is_valid(&self) -> bool {
        self.bytes(0) == layout::MAGIC
            && self.bytes(layout::AT_LAYOUT) == layout::LAYOUT.to_le_bytes()
            && self.bytes(layout::AT_RING) == (PAGE as u32).to_le_bytes()
            && self.bytes(layout::AT_RING_SIZE) == (RING_BYTES as u64).to_le_bytes()
            && self.ring_start() <= self.head()
    }

    pub fn boot_id(&self) -> BootId {
        BootId(self.bytes(layout::AT_BOOT_ID))
    }

    pub fn keeper(&self) -> Identity {
        Identity {
            pid: i32::from_le_bytes(self.bytes(layout::AT_KEEPER_PID)),
            start_ticks: u64::from_le_bytes(self.bytes(layout::AT_KEEPER_START)),
            boot_id: self.boot_id(),
        }
    }

    pub fn epoch(&self) -> Epoch {
        Epoch(self.word(layout::AT_EPOCH).load(Ordering::Acquire))
    }

    /// Offset right after the newest byte.
    pub fn head(&self) -> u64 {
        self.word(layout::AT_HEAD).load(Ordering::SeqCst)
    }

    /// Offset right after the newest byte that reached the disk log.
    pub fn on_disk(&self) -> u64 {
        self.word(layout::AT_ON_DISK).load(Ordering::Acquire)
    }

    /// Bytes that never reached the disk log.
    pub fn dropped(&self) -> u64 {
        self.word(layout::AT_DROPPED).load(Ordering::Acquire)
    }

    /// First offset that was ever written to this ring.
    pub fn ring_start(&self) -> u64 {
        self.word(layout::AT_RING_START).load(Ordering::Acquire)
    }

    /// First offset that is safe to read when the head is at `head`.
    pub fn oldest(&self, head: u64) -> u64 {
        (head + WRITE_AHEAD as u64).saturating_sub(RING_BYTES as u64).max(self.ring_start())
    }

    /// Asks the keeper for one `Head` report once the console grows. Look at the head again afterwards.
    pub fn arm_doorbell(&self) {
        // SAFETY: aligned, inside the mapping, and accessed as an atomic by both sides.
        unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(layout::AT_DOORBELL).cast()) }
            .store(1, Ordering::SeqCst);
    }

    /// The keeper may begin `run` by itself when the run before it crashes.
    pub fn permit(&self, run: u64) {
        self.word(layout::AT_PERMIT).store(run, Ordering::SeqCst);
    }

    /// From now on it asks. A run that it has begun by then is reported as such.
    pub fn withdraw_permit(&self) {
        self.word(layout::AT_PERMIT).store(0, Ordering::SeqCst);
    }

    /// The record of `run`, if it is still there and whole.
    pub fn record(&self, run: u64) -> Option<RunRecord> {
        RunRecord::decode(&self.bytes::<RECORD_BYTES>(layout::slot(run))).filter(|r| r.run == run)
    }

    /// The record of the newest run.
    pub fn newest_record(&self) -> Option<RunRecord> {
        [0, 1]
            .into_iter()
            .filter_map(|parity| RunRecord::decode(&self.bytes::<RECORD_BYTES>(layout::slot(parity))))
            .filter(|r| r.progress != Progress::Empty)
            .max_by_key(|r| r.run)
    }

    /// Copies up to `max` bytes from `from` on. What the keeper overwrote during the copy is never returned.
    pub fn read_ring(&self, from: u64, max: usize) -> FromRing {
        let head = self.head();
        if from > head {
            return FromRing::Beyond { end: head };
        }
        if from < self.oldest(head) {
            return FromRing::Older { first: self.oldest(head) };
        }
        let bytes = self.copy(from, max.min((head - from) as usize));
        fence(Ordering::Acquire);
        let now = self.head();
        match self.oldest(now) {
            first if from < first => FromRing::Older { first },
            _ => FromRing::Bytes(bytes),
        }
    }

    /// `len` bytes of the ring; at most a whole ring, across its seam.
    fn copy(&self, from: u64, len: usize) -> Vec<u8> {
        let len = len.min(RING_BYTES);
        let at = (from % RING_BYTES as u64) as usize;
        let first = len.min(RING_BYTES - at);
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: both pieces lie inside the ring, which lies inside the mapping, and fill exactly what was reserved.
        // Another process may write meanwhile; the caller's second look at the head discards such a copy.
        unsafe {
            let ring = self.map.as_ptr().add(PAGE);
            std::ptr::copy_nonoverlapping(ring.add(at), bytes.as_mut_ptr(), first);
            std::ptr::copy_nonoverlapping(ring, bytes.as_mut_ptr().add(first), len - first);
            bytes.set_len(len);
        }
        bytes
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        debug_assert!(at + N <= PAGE);
        let mut out = [0; N];
        // SAFETY: inside the first page of the mapping. Records carry a checksum; the rest is written before the magic.
        unsafe { std::ptr::copy_nonoverlapping(self.map.as_ptr().add(at), out.as_mut_ptr(), N) };
        out
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= PAGE);
        // SAFETY: aligned, inside the first page of a mapping that lives as long as `self`, atomic on both sides.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
