//! A stand-in for the keeper that writes state files, and what a reader must make of them.
use super::*;
use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

/// Writes a state file the way a keeper does.
pub(crate) struct Writer {
    pub path: PathBuf,
    file: File,
    pub head: u64,
}

impl Writer {
    pub fn begin(path: &Path, epoch: u64, offset: u64) -> Writer {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len(FILE_BYTES as u64).unwrap();
        let mut writer = Writer { path: path.to_owned(), file, head: offset };
        writer.put(0, &[0; PAGE]);
        writer.put(layout::AT_LAYOUT, &layout::LAYOUT.to_le_bytes());
        writer.put(layout::AT_RING, &(PAGE as u32).to_le_bytes());
        writer.put(layout::AT_RING_SIZE, &(RING_BYTES as u64).to_le_bytes());
        writer.put(layout::AT_BOOT_ID, &BootId::current().unwrap().0);
        writer.put(layout::AT_EPOCH, &epoch.to_le_bytes());
        writer.put(layout::AT_RING_START, &offset.to_le_bytes());
        writer.publish(offset);
        writer.put(0, &layout::MAGIC);
        writer
    }

    pub fn put(&self, at: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, at as u64).unwrap();
    }

    pub fn publish(&mut self, head: u64) {
        self.head = head;
        self.put(layout::AT_HEAD, &head.to_le_bytes());
    }

    pub fn write(&mut self, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            self.put(PAGE + ((self.head + i as u64) % RING_BYTES as u64) as usize, &[*byte]);
        }
        self.publish(self.head + bytes.len() as u64);
    }

    pub fn record(&self, record: &RunRecord) {
        self.put(layout::slot(record.run), &record.encode());
    }

    /// Did a reader ask for the bell? Takes it down.
    pub fn take_doorbell(&self) -> bool {
        let mut bell = [0; 4];
        self.file.read_exact_at(&mut bell, layout::AT_DOORBELL as u64).unwrap();
        self.put(layout::AT_DOORBELL, &[0; 4]);
        bell != [0; 4]
    }
}

fn fresh(offset: u64) -> (tempfile::TempDir, Writer, KeeperState) {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::begin(&dir.path().join("state"), 7, offset);
    let state = KeeperState::open(&writer.path).unwrap().unwrap();
    (dir, writer, state)
}

#[test]
fn what_is_not_a_whole_state_file_is_none_or_invalid() {
    let (dir, writer, state) = fresh(0);
    assert!(state.is_valid() && state.is_at(&writer.path));
    assert!(KeeperState::open(&dir.path().join("absent")).unwrap().is_none());
    std::fs::write(dir.path().join("short"), b"ZLHKEEP1").unwrap();
    assert!(KeeperState::open(&dir.path().join("short")).unwrap().is_none());
    for at in [0, layout::AT_LAYOUT, layout::AT_RING, layout::AT_RING_SIZE] {
        writer.put(at, &[0xee]);
        assert!(!state.is_valid(), "byte {at}");
        Writer::begin(&writer.path, 8, 0);
        assert!(state.is_valid(), "the same inode, begun anew");
    }
}

#[test]
fn bytes_come_back_across_the_seam_and_old_ones_never() {
    let start = 3 * RING_BYTES as u64 - 5;
    let (_dir, mut writer, state) = fresh(start);
    writer.write(b"0123456789");
    assert_eq!(state.read_ring(start, 100), FromRing::Bytes(b"0123456789".to_vec()));
    assert_eq!(state.read_ring(start + 3, 4), FromRing::Bytes(b"3456".to_vec()));
    assert_eq!(state.read_ring(start + 10, 4), FromRing::Bytes(Vec::new()));
    assert_eq!(state.read_ring(start - 1, 4), FromRing::Older { first: start });
    assert_eq!(state.read_ring(start + 11, 4), FromRing::Beyond { end: start + 10 });
    writer.publish(start + RING_BYTES as u64);
    assert_eq!(state.read_ring(start, 4), FromRing::Older { first: start + WRITE_AHEAD as u64 }, "may be overwritten");
}

#[test]
fn the_newest_whole_record_wins() {
    let (_dir, writer, state) = fresh(0);
    assert_eq!(state.newest_record(), None);
    for run in [4, 5, 6] {
        writer.record(&RunRecord { run, progress: Progress::Launched, ..RunRecord::default() });
        assert_eq!(state.newest_record().map(|r| r.run), Some(run));
    }
    assert_eq!((state.record(5).map(|r| r.run), state.record(4)), (Some(5), None));
    writer.put(layout::slot(6) + 3, &[0xee]);
    assert_eq!(state.newest_record().map(|r| r.run), Some(5));
}
