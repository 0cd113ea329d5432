//! A file on its way into the store: hashed while it is written, locked while it lives, gone if it never gets a name.
use crate::model::catalog::Digest;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What is published may be read by any server.
const PUBLIC: u32 = 0o644;

pub struct Incoming {
    /// Locked: whoever sweeps sees that we live.
    file: Flock<File>,
    path: PathBuf,
    hasher: Sha256,
    size: u64,
}

impl Incoming {
    /// Called under the store's lock, so that no sweep comes between creation and locking.
    pub(super) fn new(folder: &Path) -> io::Result<Incoming> {
        let path = folder.join(uuid::Uuid::new_v4().to_string());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| io::Error::from(e))?;
        Ok(Incoming { file, path, hasher: Sha256::new(), size: 0 })
    }

    /// Of what was written so far.
    pub fn digest(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// To look at what was written.
    pub fn reopen(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Durable under its new name, with the folders above.
    pub(super) fn rename(self, target: &Path) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(PUBLIC))?;
        self.file.sync_all()?;
        let folder = target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        fs::rename(&self.path, target)?;
        File::open(folder)?.sync_all()
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing of that name; else the next sweep would do it.
        if let Err(e) = fs::remove_file(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), error = %e, "a temporary file stays behind");
        }
    }
}

/// Removes what nobody writes any more. Called under the store's lock.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
