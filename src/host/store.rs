//! Small durable records under the agent's state folder: JSON files that are replaced whole, and the [`Ledger`].
use super::failpoint;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

mod ledger;
pub use ledger::Ledger;

/// Largest record that is read back: a file that grew past it is damaged, not interesting.
const MAX_RECORD_BYTES: u64 = 4 << 20;

/// How much must be over before a save returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a crash or kill -9 of the agent: the rename is done.
    Process,
    /// Survives a power cut too: the folder is synced as well.
    Machine,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is damaged ({reason}); it was kept as {kept}, and what it said must be entered again")]
    Damaged { path: PathBuf, kept: PathBuf, reason: String },
    #[error("{path}: a record of {bytes} bytes is more than the {limit} it may have")]
    TooLarge { path: PathBuf, bytes: usize, limit: usize },
}

/// One folder of records, mode 0700; every file in it has mode 0600.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the folder, making it (and its parents) if it is not there.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Store, StoreError> {
        let folder = folder.into();
        // Only the folder itself is private: other accounts pass through those above it.
        let above = folder.parent().map_or(Ok(()), fs::create_dir_all);
        above.map_err(failed("create the folders above", &folder))?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(failed("create", &folder))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(failed("set the mode of", &folder))?;
        Ok(Store { folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads `<name>.json`; `None` if it was never saved. What cannot be read is moved aside to `<name>.json.damaged`
    /// and reported once: the next load finds nothing.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let path = self.path(name);
        let size = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("look at", &path)(e)),
        };
        if size > MAX_RECORD_BYTES {
            return Err(set_aside(path, format!("{size} bytes long")));
        }
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(e) => Err(set_aside(path, e.to_string())),
        }
    }

    /// Replaces `<name>.json` in one step: a reader sees the old record or the new one, whatever happens in between.
    pub fn save<T: Serialize>(&self, name: &str, value: &T, durability: Durability) -> Result<(), StoreError> {
        let path = self.path(name);
        let bytes = serde_json::to_vec(value).map_err(|e| failed("encode", &path)(e.into()))?;
        if bytes.len() as u64 > MAX_RECORD_BYTES {
            return Err(StoreError::TooLarge { path, bytes: bytes.len(), limit: MAX_RECORD_BYTES as usize });
        }
        let fresh = path.with_extension("json.new");
        write_synced(&fresh, &bytes).map_err(failed("write", &fresh))?;
        failpoint::reach("agent.mid_save");
        fs::rename(&fresh, &path).map_err(failed("replace", &path))?;
        match durability {
            Durability::Process => Ok(()),
            Durability::Machine => self.sync(),
        }
    }

    /// Removes a record; fine if there is none.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Names of all records, sorted.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let entries = fs::read_dir(&self.folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let files = entries.map_err(failed("list", &self.folder))?.into_iter().map(|entry| entry.file_name());
        let mut names: Vec<String> =
            files.filter_map(|file| Some(file.to_str()?.strip_suffix(".json")?.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens `<name>.ledger` and what was last written to it.
    pub fn ledger<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<(Ledger<T>, Option<T>), StoreError> {
        Ledger::open(self.folder.join(format!("{name}.ledger")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.folder).and_then(|d| d.sync_all()).map_err(failed("sync", &self.folder))
    }
}

/// Moves a file that cannot be understood to `<file>.damaged`, where a person can look at it.
fn set_aside(path: PathBuf, reason: String) -> StoreError {
    let mut kept = path.clone().into_os_string();
    kept.push(".damaged");
    let kept = PathBuf::from(kept);
    match fs::rename(&path, &kept) {
        Ok(()) => StoreError::Damaged { path, kept, reason },
        Err(e) => failed("set aside", &path)(e),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing, path, source }
}

/// Opens a record for writing; nobody but the agent may read it.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private().truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("a/state")).unwrap();
        (dir, store)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_record_comes_back_and_only_its_owner_may_read_it() {
        let (_dir, store) = store();
        assert_eq!(store.load::<Vec<u32>>("config").unwrap(), None);
        for value in [vec![1, 2], vec![]] {
            store.save("config", &value, Durability::Machine).unwrap();
            assert_eq!(store.load::<Vec<u32>>("config").unwrap(), Some(value));
        }
        assert_eq!(mode(store.folder()), 0o700);
        assert_eq!(mode(&store.path("config")), 0o600);
        assert_eq!(fs::read_dir(store.folder()).unwrap().count(), 1, "no temporary file is left");
        store.remove("config").unwrap();
        store.remove("config").unwrap();
        assert_eq!(store.load::<Vec<u32>>("config").unwrap(), None);
    }

    #[test]
    fn a_damaged_record_is_reported_kept_and_does_not_come_back() {
        let (_dir, store) = store();
        store.save("desired", &7u32, Durability::Process).unwrap();
        fs::write(store.path("desired"), b"{ half").unwrap();
        let error = store.load::<u32>("desired").unwrap_err();
        assert!(error.to_string().contains("desired.json.damaged"), "{error}");
        let StoreError::Damaged { kept, .. } = error else { panic!("{error}") };
        assert_eq!(fs::read(kept).unwrap(), b"{ half");
        assert_eq!(store.load::<u32>("desired").unwrap(), None);
    }

    #[test]
    fn a_kill_in_the_middle_of_a_save_leaves_the_old_record() {
        let (_dir, store) = store();
        store.save("desired", &1u32, Durability::Process).unwrap();
        fs::write(store.path("desired").with_extension("json.new"), b"torn").unwrap();
        assert_eq!(store.load::<u32>("desired").unwrap(), Some(1));
        store.save("desired", &2u32, Durability::Process).unwrap();
        assert_eq!(store.load::<u32>("desired").unwrap(), Some(2));
    }

    #[test]
    fn a_symlink_in_place_of_the_new_file_is_not_followed() {
        let (dir, store) = store();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, store.path("x").with_extension("json.new")).unwrap();
        assert!(store.save("x", &1u32, Durability::Process).is_err());
        assert_eq!(fs::read(victim).unwrap(), b"precious");
    }
}
