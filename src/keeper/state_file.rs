//! The mapped `state` file: opened or begun anew, then read and written by offset. See [`super::layout`].
use super::{
    layout::{
        self, AT_DOORBELL, AT_DROPPED, AT_EPOCH, AT_HEAD, AT_ON_DISK, AT_PERMIT, AT_RING_START, PAGE, RING_BYTES,
        RunRecord,
    },
    sys,
};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, posix_fallocate},
    sys::{
        mman::{MapFlags, ProtFlags, mmap},
        stat::{Mode, fchmod, fstat},
    },
};
use std::{
    io,
    num::NonZeroUsize,
    path::Path,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

/// No console grows this long; an offset beyond is damage, and sums of offsets below cannot overflow.
pub const MOST_BYTES: u64 = 1 << 62;

/// One mapping, kept for the life of the process; copies of it are the same file.
#[derive(Clone, Copy)]
pub struct StateFile {
    base: NonNull<u8>,
}

impl StateFile {
    /// Takes up the file of a keeper that died in this boot, or begins a new one in the same inode.
    pub fn open(path: &Path) -> io::Result<StateFile> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let whole = fstat(&file)?.st_size == layout::FILE_BYTES as libc::off_t;
        // All blocks now: a full disk must fail here and not as SIGBUS in the middle of a run.
        match posix_fallocate(&file, 0, layout::FILE_BYTES as libc::off_t) {
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {
                return Err(io::Error::other("the file system cannot preallocate"));
            }
            other => other?,
        }
        let bytes = NonZeroUsize::new(layout::FILE_BYTES).unwrap_or(NonZeroUsize::MIN);
        // SAFETY: a fresh mapping that is never unmapped.
        let base =
            unsafe { mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0) }?;
        let state = StateFile { base: base.cast() };
        let boot = sys::boot_id()?;
        if !(whole && state.valid(&boot)) {
            state.begin(&boot)?;
        }
        state.sign();
        Ok(state)
    }

    fn valid(self, boot: &[u8; 16]) -> bool {
        self.bytes(0) == layout::MAGIC
            && self.bytes(layout::AT_LAYOUT) == layout::LAYOUT.to_le_bytes()
            && self.bytes(layout::AT_RING) == (PAGE as u32).to_le_bytes()
            && self.bytes(layout::AT_BOOT_ID) == *boot
            && self.bytes(layout::AT_RING_SIZE) == (RING_BYTES as u64).to_le_bytes()
            && self.epoch() != 0
            && self.head() < MOST_BYTES
            && self.ring_start() <= self.head()
            && self.on_disk() <= self.head()
    }

    /// The magic goes first and comes back last, so a reader never takes a half written page for a whole one.
    fn begin(self, boot: &[u8; 16]) -> io::Result<()> {
        let epoch = sys::random()?.max(1);
        self.put(0, &[0u8; PAGE]);
        fence(Ordering::Release);
        self.put(layout::AT_LAYOUT, &layout::LAYOUT.to_le_bytes());
        self.put(layout::AT_RING, &(PAGE as u32).to_le_bytes());
        self.put(layout::AT_BOOT_ID, boot);
        self.put(layout::AT_RING_SIZE, &(RING_BYTES as u64).to_le_bytes());
        self.word(AT_EPOCH).store(epoch, Ordering::Relaxed);
        fence(Ordering::Release);
        self.put(0, &layout::MAGIC);
        Ok(())
    }

    /// Says who keeps it now.
    fn sign(self) {
        let pid = std::process::id();
        self.put(layout::AT_KEEPER_PID, &pid.to_le_bytes());
        let ticks = sys::stat_at(c"/proc/self/stat").map_or(0, |s| s.start_ticks);
        self.put(layout::AT_KEEPER_START, &ticks.to_le_bytes());
    }

    fn put(self, at: usize, bytes: &[u8]) {
        debug_assert!(at + bytes.len() <= PAGE);
        // SAFETY: inside the first page of the mapping; `bytes` is never part of it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(at), bytes.len()) }
    }

    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        debug_assert!(at + N <= PAGE);
        let mut out = [0; N];
        // SAFETY: inside the first page of the mapping.
        unsafe { std::ptr::copy_nonoverlapping(self.base.as_ptr().add(at), out.as_mut_ptr(), N) }
        out
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= PAGE);
        // SAFETY: aligned, inside the first page, and only ever accessed as an atomic while shared.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }
    }

    pub fn epoch(self) -> u64 {
        self.word(AT_EPOCH).load(Ordering::Relaxed)
    }

    pub fn head(self) -> u64 {
        self.word(AT_HEAD).load(Ordering::Acquire)
    }

    /// Publishes bytes already written to the ring.
    pub fn advance_head(self, to: u64) {
        self.word(AT_HEAD).store(to, Ordering::SeqCst);
    }

    pub fn ring_start(self) -> u64 {
        self.word(AT_RING_START).load(Ordering::Acquire)
    }

    /// Moves an empty console to where its disk log ends.
    pub fn begin_at(self, offset: u64) {
        self.word(AT_RING_START).store(offset, Ordering::SeqCst);
        self.advance_head(offset);
        self.reached_disk(offset);
    }

    pub fn on_disk(self) -> u64 {
        self.word(AT_ON_DISK).load(Ordering::Acquire)
    }

    pub fn reached_disk(self, up_to: u64) {
        self.word(AT_ON_DISK).store(up_to, Ordering::Release);
    }

    #[cfg(test)]
    pub fn dropped(self) -> u64 {
        self.word(AT_DROPPED).load(Ordering::Acquire)
    }

    pub fn count_dropped(self, bytes: u64) {
        self.word(AT_DROPPED).fetch_add(bytes, Ordering::Release);
    }

    /// True if somebody waits for output; asking takes the bell down.
    pub fn take_doorbell(self) -> bool {
        // SAFETY: aligned, inside the first page, accessed as an atomic by both sides.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(AT_DOORBELL).cast()) }.swap(0, Ordering::SeqCst) != 0
    }

    /// May `run` be begun without asking? Once: who is told so has used the permit up.
    pub fn take_permit(self, run: u64) -> bool {
        self.word(AT_PERMIT).compare_exchange(run, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// A permit is worth no more than the agent that gave it.
    pub fn void_permit(self) {
        self.word(AT_PERMIT).store(0, Ordering::SeqCst);
    }

    /// Writes a record so that a reader sees the old one, none, or the new one, never a mixture: the checksum goes
    /// first and comes back last. No heap: a child between fork and exec writes its own.
    pub fn write_record(self, record: &RunRecord) {
        let at = layout::slot(record.run);
        let bytes = record.encode();
        let (body, checksum) = bytes.split_at(layout::RECORD_BYTES - 4);
        let damaged = u32::from_le_bytes([checksum[0], checksum[1], checksum[2], checksum[3]]) ^ u32::MAX;
        self.put(at + body.len(), &damaged.to_le_bytes());
        fence(Ordering::SeqCst);
        self.put(at, body);
        fence(Ordering::SeqCst);
        self.put(at + body.len(), checksum);
        fence(Ordering::SeqCst);
    }

    /// The record of the newest run that is whole.
    pub fn newest_record(self) -> Option<RunRecord> {
        (0..2)
            .filter_map(|parity| RunRecord::decode(&self.bytes::<{ layout::RECORD_BYTES }>(layout::slot(parity))))
            .filter(|r| r.progress != layout::Progress::Empty)
            .max_by_key(|r| r.run)
    }

    pub fn notes(self) -> [u8; layout::NOTES_BYTES] {
        self.bytes(layout::AT_NOTES)
    }

    pub fn put_notes(self, bytes: &[u8; layout::NOTES_BYTES]) {
        self.put(layout::AT_NOTES, bytes);
    }

    /// First byte of the ring, [`RING_BYTES`] long.
    pub fn ring(self) -> NonNull<u8> {
        // SAFETY: the mapping is a page longer than the ring.
        unsafe { self.base.add(PAGE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_same_boot_goes_on_and_damage_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = StateFile::open(&path).unwrap();
        first.begin_at(1000);
        let record = RunRecord { run: 5, progress: layout::Progress::Launched, pid: 77, ..Default::default() };
        first.write_record(&record);
        let again = StateFile::open(&path).unwrap();
        assert_eq!((again.epoch(), again.head(), again.newest_record()), (first.epoch(), 1000, Some(record)));

        for at in [0, layout::AT_LAYOUT, layout::AT_BOOT_ID, layout::AT_RING_SIZE] {
            let before = StateFile::open(&path).unwrap();
            let epoch = before.epoch();
            before.advance_head(50);
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[0xee], at as u64).unwrap();
            let new = StateFile::open(&path).unwrap();
            assert_ne!(new.epoch(), epoch, "byte {at}");
            assert_eq!((new.head(), new.newest_record()), (0, None), "byte {at}");
        }
    }

    #[test]
    fn a_short_file_begins_anew_with_all_its_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::write(&path, b"ZLHKEEP1").unwrap();
        let state = StateFile::open(&path).unwrap();
        assert_eq!(state.head(), 0);
        let meta = std::fs::metadata(&path).unwrap();
        assert!(std::os::unix::fs::MetadataExt::blocks(&meta) * 512 >= layout::FILE_BYTES as u64);
        assert!(!state.take_doorbell());
    }
}
