//! Fetched files by their content, and the beginnings of files whose transfer broke off. Shared by all installs.
//!
//! ```text
//! sha256/<digest>       complete, hashed on the way in, and hashed again whenever it is used
//! partial/<key>         the beginning of a file; whoever writes it holds its flock(2)
//! partial/<key>.json    where it came from and how to go on
//! ```
//! Nothing here is needed for an install to succeed: a cache that cannot be written is passed by.
use super::{Artifact, client};
use crate::{host::clock::BootId, model::catalog::Digest};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};
use url::Url;

#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// What a [`Cache::trim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    pub files: u64,
    pub bytes: u64,
    /// Bytes that are still there.
    pub kept: u64,
}

impl Cache {
    /// Opens the folder, making it if it is not there; only its owner may look into it.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Cache> {
        let folder = folder.into();
        for part in ["sha256", "partial"] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part))?;
        }
        Ok(Cache { folder })
    }

    /// A complete file. Its content is to be hashed while it is used: disks forget.
    pub(super) fn find(&self, digest: &Digest) -> Option<File> {
        let file = OpenOptions::new().read(true).write(true).open(self.complete(digest)).ok()?;
        // The time of change is when it was last of use, which decides what goes first.
        _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// Removes a complete file, of which the disk has lost something.
    pub fn forget(&self, digest: &Digest) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.complete(digest)))
    }

    /// The beginning of `artifact`, or an empty one; `None` while another install writes it.
    pub(super) fn take_up(&self, artifact: &Artifact) -> io::Result<Option<Partial>> {
        let path = self.folder.join("partial").join(key(artifact));
        let file = OpenOptions::new().create(true).truncate(false).read(true).append(true).mode(0o600).open(&path)?;
        let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
        // Between opening and locking another may have finished it and moved it away.
        if !same(&file, &path) {
            return Ok(None);
        }
        Ok(Some(Partial { file, path, complete: self.folder.join("sha256") }))
    }

    /// Removes what was of use longest ago until `most` bytes are left. Transfers that run are not touched.
    pub fn trim(&self, most: u64) -> io::Result<Trimmed> {
        let mut files = self.files()?;
        files.sort();
        let mut trimmed = Trimmed { kept: files.iter().map(|(_, size, _)| size).sum(), ..Trimmed::default() };
        for (_, size, path) in files {
            if trimmed.kept <= most {
                break;
            }
            if remove_unless_locked(&path)? {
                trimmed.kept -= size;
                trimmed.bytes += size;
                trimmed.files += 1;
            }
        }
        Ok(trimmed)
    }

    /// (last use, size, path) of everything.
    fn files(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let mut files = Vec::new();
        for part in ["sha256", "partial"] {
            for entry in fs::read_dir(self.folder.join(part))? {
                let path = entry?.path();
                // What vanishes meanwhile needs no trimming.
                if let Some(about) = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file) {
                    files.push((about.modified()?, about.len(), path));
                }
            }
        }
        Ok(files)
    }

    fn complete(&self, digest: &Digest) -> PathBuf {
        self.folder.join("sha256").join(digest.to_string())
    }
}

/// What is known of a beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Origin {
    /// As it may be shown.
    pub url: String,
    pub validator: Option<String>,
    pub total: Option<u64>,
    /// Without a digest a beginning is only good within one boot: after a power cut it may be full of holes.
    boot: [u8; 16],
}

/// The beginning of a file, held for one writer.
pub(super) struct Partial {
    file: Flock<File>,
    path: PathBuf,
    complete: PathBuf,
}

impl Partial {
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub fn reader(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Where the bytes came from; `None` if that is not known any more.
    pub fn origin(&self, digest: bool) -> Option<Origin> {
        let mut text = String::new();
        File::open(self.note()).ok()?.take(64 << 10).read_to_string(&mut text).ok()?;
        let origin: Origin = serde_json::from_str(&text).ok()?;
        let same_boot = || BootId::current().is_ok_and(|boot| boot.0 == origin.boot);
        (digest || same_boot()).then_some(origin)
    }

    pub fn note_origin(&self, url: &Url, validator: Option<&str>, total: Option<u64>) -> io::Result<()> {
        let boot = BootId::current()?.0;
        let origin = Origin { url: client::shown(url), validator: validator.map(str::to_owned), total, boot };
        fs::write(self.note(), serde_json::to_vec(&origin)?)
    }

    /// Starts anew.
    pub fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// It is whole, and this is its digest.
    pub fn publish(self, digest: &Digest) -> io::Result<()> {
        fs::rename(&self.path, self.complete.join(digest.to_string()))?;
        absent_is_fine(fs::remove_file(self.note()))
    }

    pub fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        absent_is_fine(fs::remove_file(self.note()))
    }

    fn note(&self) -> PathBuf {
        self.path.with_extension("json")
    }
}

/// The name of a beginning: the digest that is awaited, else the address.
fn key(artifact: &Artifact) -> String {
    match artifact.digest {
        Some(digest) => digest.to_string(),
        None => format!("url-{}", Digest(sha2::Sha256::digest(artifact.shown()).into())),
    }
}

fn same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn remove_unless_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    let Ok(_held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
    absent_is_fine(fs::remove_file(path)).map(|()| true)
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}
