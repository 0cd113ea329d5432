//! A record that is written often and must survive a kill -9 of the agent: two slots in a preallocated file, written in
//! turn. A torn write damages one slot, and the other still holds the value before. No fsync: after a power cut the
//! counters of the boot before mean nothing anyway.
use super::{StoreError, failed, private, set_aside};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io,
    marker::PhantomData,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

const SLOT_BYTES: usize = 4096;
/// `turn u64, length u32, crc32 u32`, then the JSON.
const HEAD_BYTES: usize = 16;

/// Holds the newest `T`. One owner; a write costs a few microseconds.
#[derive(Debug)]
pub struct Ledger<T> {
    path: PathBuf,
    file: File,
    /// Number of the newest write; its parity is its slot.
    turn: u64,
    kind: PhantomData<fn(&T)>,
}

impl<T: Serialize + DeserializeOwned> Ledger<T> {
    pub(super) fn open(path: PathBuf) -> Result<(Ledger<T>, Option<T>), StoreError> {
        let file = private().read(true).open(&path).map_err(failed("open", &path))?;
        allocate(&file).map_err(failed("allocate", &path))?;
        let slots = [read_slot(&file, 0, &path)?, read_slot(&file, 1, &path)?];
        let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
        if newest.is_none() && !is_blank(&file).map_err(failed("read", &path))? {
            return Err(set_aside(path, "neither slot can be read".into()));
        }
        let turn = newest.as_ref().map_or(0, |(turn, _)| *turn);
        let value = newest.map(|(_, value)| value);
        Ok((Ledger { path, file, turn, kind: PhantomData }, value))
    }

    /// Replaces the value. On an error the value before still stands.
    pub fn write(&mut self, value: &T) -> Result<(), StoreError> {
        let mut slot = vec![0; HEAD_BYTES];
        serde_json::to_writer(&mut slot, value).map_err(|e| failed("encode", &self.path)(e.into()))?;
        if slot.len() > SLOT_BYTES {
            let limit = SLOT_BYTES - HEAD_BYTES;
            return Err(StoreError::TooLarge { path: self.path.clone(), bytes: slot.len() - HEAD_BYTES, limit });
        }
        let turn = self.turn + 1;
        let length = (slot.len() - HEAD_BYTES) as u32;
        slot[..8].copy_from_slice(&turn.to_le_bytes());
        slot[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = checksum(&slot);
        slot[12..16].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&slot, offset(turn)).map_err(failed("write", &self.path))?;
        self.turn = turn;
        Ok(())
    }
}

fn is_blank(file: &File) -> io::Result<bool> {
    let mut slots = [0; 2 * SLOT_BYTES];
    file.read_exact_at(&mut slots, 0)?;
    Ok(slots.iter().all(|b| *b == 0))
}

fn offset(turn: u64) -> u64 {
    (turn % 2) * SLOT_BYTES as u64
}

/// Of everything but the checksum itself.
fn checksum(slot: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&slot[..12]);
    crc.update(&slot[HEAD_BYTES..]);
    crc.finalize()
}

/// A full disk must not stop later writes, so both slots get their blocks now.
fn allocate(file: &File) -> io::Result<()> {
    let bytes = 2 * SLOT_BYTES as i64;
    // SAFETY: only a descriptor and numbers are passed.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// `None` for a slot that was never written, was torn, or holds an older shape of `T`.
fn read_slot<T: DeserializeOwned>(file: &File, parity: u64, path: &Path) -> Result<Option<(u64, T)>, StoreError> {
    let mut slot = [0; SLOT_BYTES];
    file.read_exact_at(&mut slot, offset(parity)).map_err(failed("read", path))?;
    let word = |at: usize| u32::from_le_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
    let turn = u64::from(word(0)) | u64::from(word(4)) << 32;
    let used = slot.get(..HEAD_BYTES + word(8) as usize).filter(|used| turn > 0 && checksum(used) == word(12));
    Ok(used.and_then(|used| serde_json::from_slice(&used[HEAD_BYTES..]).ok()).map(|value| (turn, value)))
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use proptest::prelude::*;

    fn reopen(store: &Store) -> (Ledger<Vec<u64>>, Option<Vec<u64>>) {
        store.ledger("counters").unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_torn_write_leaves_the_value_before(values in prop::collection::vec(any::<u64>(), 2..8), cut in 0usize..60) {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path()).unwrap();
            let (mut ledger, nothing) = reopen(&store);
            prop_assert_eq!(nothing, None);
            for n in 1..=values.len() {
                ledger.write(&values[..n].to_vec()).unwrap();
                prop_assert_eq!(reopen(&store).1, Some(values[..n].to_vec()));
            }
            // A write that got only as far as `cut` bytes into the next slot.
            ledger.file.write_all_at(&vec![0xA5; cut.max(1)], offset(ledger.turn + 1)).unwrap();
            let (mut ledger, value) = reopen(&store);
            prop_assert_eq!(value, Some(values.clone()));
            ledger.write(&vec![1]).unwrap();
            prop_assert_eq!(reopen(&store).1, Some(vec![1]));
        }
    }

    #[test]
    fn damage_of_both_slots_is_reported_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        reopen(&store).0.write(&vec![5]).unwrap();
        std::fs::write(dir.path().join("counters.ledger"), [7; 2 * SLOT_BYTES]).unwrap();
        let error = store.ledger::<Vec<u64>>("counters").unwrap_err();
        assert!(error.to_string().contains("counters.ledger.damaged"), "{error}");
        assert_eq!(reopen(&store).1, None);
    }

    #[test]
    fn too_much_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (mut ledger, _) = reopen(&store);
        ledger.write(&vec![5]).unwrap();
        let error = ledger.write(&vec![u64::MAX; 400]).unwrap_err();
        assert!(error.to_string().contains("4080"), "{error}");
        assert_eq!(reopen(&store).1, Some(vec![5]));
    }
}
