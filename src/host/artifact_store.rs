//! The publisher's folder: files that a static server can serve as they are, and catalogs that are replaced whole.
//!
//! All changes are made under one lock (`.zlh/lock`, held by the kernel for a living process only), so that two publishers
//! lose nothing of each other's. A file comes in under a name that is not served (`.zlh/incoming/`), is hashed on the way,
//! and gets its own name before any catalog speaks of it. What a killed publisher left is removed by the next.
pub mod archive;
mod incoming;

pub use incoming::Incoming;

use crate::model::catalog::{ArtifactPath, Digest};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Sha256, Sha512};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const OWN: &str = ".zlh";
/// Largest catalog, signature or checksum file that is read.
const LARGEST_DOCUMENT: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ArtifactStoreError {
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is there already with other content; a published file is never replaced")]
    OtherContent { path: PathBuf },
    #[error("{path} has {bytes} bytes, more than any catalog")]
    TooLarge { path: PathBuf, bytes: u64 },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactStoreError {
    let path = path.to_owned();
    move |source| ArtifactStoreError::Io { doing, path, source }
}

/// One folder. Everything here is blocking.
#[derive(Clone, Debug)]
pub struct ArtifactStore {
    root: PathBuf,
}

impl ArtifactStore {
    /// Makes the folder if it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<ArtifactStore, ArtifactStoreError> {
        let root = root.into();
        fs::create_dir_all(root.join(OWN).join("incoming")).map_err(failed("create", &root))?;
        Ok(ArtifactStore { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits for whoever publishes now.
    pub fn lock(&self) -> Result<Locked<'_>, ArtifactStoreError> {
        let path = self.root.join(OWN).join("lock");
        let file = open_lock(&path).map_err(failed("open", &path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| failed("lock", &path)(e.into()))?;
        incoming::sweep(&self.incoming_folder()).map_err(failed("clean up", &self.incoming_folder()))?;
        Ok(Locked { store: self, _lock: lock })
    }

    /// A catalog, signature or checksum; `None` if it is not there.
    pub fn document(&self, path: &str) -> Result<Option<Vec<u8>>, ArtifactStoreError> {
        let path = self.root.join(path);
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("open", &path))?,
        };
        let bytes = file.metadata().map_err(failed("look at", &path))?.len();
        if bytes > LARGEST_DOCUMENT {
            return Err(ArtifactStoreError::TooLarge { path, bytes });
        }
        let mut text = Vec::new();
        file.take(LARGEST_DOCUMENT).read_to_end(&mut text).map_err(failed("read", &path))?;
        Ok(Some(text))
    }

    /// A file of the store, and its size; `None` if there is none, or it is no file.
    pub fn file(&self, path: &ArtifactPath) -> Result<Option<(File, u64)>, ArtifactStoreError> {
        let path = self.root.join(path);
        let file = match File::open(&path) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            other => other.map_err(failed("open", &path))?,
        };
        let about = file.metadata().map_err(failed("look at", &path))?;
        Ok(about.is_file().then_some((file, about.len())))
    }

    fn incoming_folder(&self) -> PathBuf {
        self.root.join(OWN).join("incoming")
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The right to change the store, until it is dropped.
pub struct Locked<'a> {
    store: &'a ArtifactStore,
    _lock: Flock<File>,
}

impl Locked<'_> {
    /// A file that is to come in; it may be filled after the lock is released.
    pub fn incoming(&self) -> Result<Incoming, ArtifactStoreError> {
        let folder = self.store.incoming_folder();
        Incoming::new(&folder).map_err(failed("create a file in", &folder))
    }

    /// Replaces a small file in one step, durably: a reader sees the old one or the new one.
    pub fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), ArtifactStoreError> {
        let target = self.store.root.join(path);
        let mut fresh = self.incoming()?;
        fresh.write_all(bytes).map_err(failed("write", &target))?;
        fresh.rename(&target).map_err(failed("replace", &target))
    }

    /// Removes a small file; fine if there is none.
    pub fn remove(&self, path: &str) -> Result<(), ArtifactStoreError> {
        let target = self.store.root.join(path);
        match fs::remove_file(&target) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", &target)(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives what came in its own name. The same content may be there already, other content may not.
    pub fn place(&self, incoming: Incoming, path: &ArtifactPath) -> Result<(), ArtifactStoreError> {
        let target = self.store.root.join(path);
        match self.store.file(path)? {
            Some((mut file, _)) => {
                let known = digest_of(&mut file).map_err(failed("read", &target))?;
                if known == incoming.digest() { Ok(()) } else { Err(ArtifactStoreError::OtherContent { path: target }) }
            }
            None => incoming.rename(&target).map_err(failed("create", &target)),
        }
    }
}

/// Reads to the end.
pub fn digest_of(reader: &mut impl Read) -> io::Result<Digest> {
    hashed::<Sha256>(reader).map(|hash| Digest(hash.into()))
}

/// For the upstreams that publish nothing else.
pub fn sha512_of(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    hashed::<Sha512>(reader).map(|hash| hash.to_vec())
}

fn hashed<D: sha2::Digest>(reader: &mut impl Read) -> io::Result<sha2::digest::Output<D>> {
    let mut hasher = D::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests;
