//! Compares a tree with its manifest, and mends it from the archive it came from.
use super::{
    InstallError, Job, Label, Staged, Strip,
    collect::SHARED,
    error::disk,
    manifest::{MANIFEST, Manifest, Record},
    progress::{Pace, Progress, Stage},
    stage_only, staging,
    tree::Tree,
};
use crate::{
    host::{artifacts::Artifact, no_follow::Folder},
    model::catalog::Digest,
};
use nix::{
    fcntl::{AtFlags, readlinkat, renameat},
    sys::stat::{FileStat, fstatat},
    unistd::syncfs,
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};
use tokio_util::sync::CancellationToken;

/// Names that are not in the manifest and are told; `__pycache__` makes many.
const MOST_EXTRA: usize = 1000;
/// Bytes read at a time.
const PIECE: usize = 128 << 10;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Names compared.
    pub checked: u64,
    /// Bytes of files hashed.
    pub bytes: u64,
    pub damaged: Vec<Altered>,
    /// What is there though no archive brought it, 1000 at most. No damage: some programs write into their own tree.
    pub extra: Vec<String>,
}

impl Verified {
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty()
    }
}

/// A name of the manifest that is not as it was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    pub path: String,
    /// `missing`, `other content`, `mode 777, was 755`.
    pub what: String,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was found and is as it was again.
    pub mended: Vec<Altered>,
    /// No server was asked.
    pub from_cache: bool,
}

/// Hashes every file of the tree at `root` again. Blocking.
pub fn verify(
    root: &Path,
    cancel: &CancellationToken,
    watch: &(dyn Fn(Progress) + Sync),
) -> Result<Verified, InstallError> {
    let manifest = installed(root)?;
    let pace = Pace::new(watch);
    let mut look = Look {
        cancel,
        pace: &pace,
        total: manifest.installed.bytes,
        piece: vec![0; PIECE],
        found: Verified::default(),
    };
    let top = Folder::root(root).map_err(disk(root))?;
    look.tree(&top, &manifest.entries)
        .map_err(|e| if look.cancel.is_cancelled() { InstallError::Cancelled } else { disk(root)(e) })?;
    Ok(look.found)
}

fn installed(root: &Path) -> Result<Manifest, InstallError> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "has no manifest: it is not installed; install it");
    Manifest::read(root).and_then(|manifest| manifest.ok_or_else(missing)).map_err(disk(root))
}

struct Look<'a> {
    cancel: &'a CancellationToken,
    pace: &'a Pace<'a>,
    total: u64,
    /// Room to read into.
    piece: Vec<u8>,
    found: Verified,
}

impl Look<'_> {
    fn tree(&mut self, top: &Folder, entries: &BTreeMap<String, Record>) -> io::Result<()> {
        let mut folders = BTreeMap::from([(String::new(), top.try_clone()?)]);
        for (path, record) in entries {
            if self.cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            let what = match folders.get(above) {
                Some(folder) => self.compare(folder, name, record)?,
                None => Some("missing".to_owned()),
            };
            self.found.checked += 1;
            if let (Record::Folder { .. }, Some(parent)) = (record, folders.get(above))
                && let Some(folder) = parent.folder(name)?
            {
                self.extra(&folder, path, entries)?;
                folders.insert(path.clone(), folder);
            }
            // Sorted, so what does not begin with a folder's name has left it.
            folders.retain(|folder, _| folder.is_empty() || path.starts_with(folder.as_str()));
            self.found.damaged.extend(what.map(|what| Altered { path: path.clone(), what }));
        }
        self.extra(top, "", entries)
    }

    fn compare(&mut self, folder: &Folder, name: &str, record: &Record) -> io::Result<Option<String>> {
        let about = match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(nix::errno::Errno::ENOENT) => return Ok(Some("missing".into())),
            other => other?,
        };
        match record {
            Record::Folder { mode } => Ok(kind(&about, libc::S_IFDIR, "folder").or_else(|| other_mode(&about, *mode))),
            Record::Link { target } => {
                if let Some(other) = kind(&about, libc::S_IFLNK, "link") {
                    return Ok(Some(other));
                }
                let leads = readlinkat(folder, name)?;
                Ok((leads.to_str() != Some(target)).then(|| format!("leads to {leads:?}")))
            }
            Record::File { sha256, mode, size } => {
                if let Some(other) = kind(&about, libc::S_IFREG, "file").or_else(|| other_mode(&about, *mode)) {
                    return Ok(Some(other));
                }
                if about.st_size as u64 != *size {
                    return Ok(Some(format!("{} bytes, was {size}", about.st_size)));
                }
                let same = self.hash(folder, name)? == Some(*sha256);
                Ok((!same).then(|| "other content".to_owned()))
            }
        }
    }

    fn hash(&mut self, folder: &Folder, name: &str) -> io::Result<Option<Digest>> {
        let Some(mut file) = folder.regular(name)? else { return Ok(None) };
        let mut hash = Sha256::new();
        loop {
            let read = file.read(&mut self.piece)?;
            if read == 0 || self.cancel.is_cancelled() {
                return Ok(Some(Digest(hash.finalize().into())));
            }
            hash.update(&self.piece[..read]);
            self.found.bytes += read as u64;
            self.pace.tell(Stage::Verify, self.found.bytes, Some(self.total));
        }
    }

    fn extra(&mut self, folder: &Folder, path: &str, entries: &BTreeMap<String, Record>) -> io::Result<()> {
        for name in folder.names(entries.len() + MOST_EXTRA)? {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            if path != MANIFEST && !entries.contains_key(&path) && self.found.extra.len() < MOST_EXTRA {
                self.found.extra.push(path);
            }
        }
        Ok(())
    }
}

fn kind(about: &FileStat, expected: libc::mode_t, name: &str) -> Option<String> {
    (about.st_mode & libc::S_IFMT != expected).then(|| format!("is no {name} any more"))
}

fn other_mode(about: &FileStat, mode: u32) -> Option<String> {
    let now = about.st_mode & 0o7777;
    (now != mode).then(|| format!("mode {now:o}, was {mode:o}"))
}

/// Makes what [`verify`] finds damaged as it was, from the archive in the cache or from the server; the archive must be the
/// very same. `job.label` and `job.strip` are taken from the manifest. Whatever else lies in the tree is left alone.
pub fn repair(job: &Job) -> Result<Repaired, InstallError> {
    let manifest = installed(job.target)?;
    let damaged = verify(job.target, job.cancel, job.watch)?.damaged;
    if damaged.is_empty() {
        return Ok(Repaired::default());
    }
    let top = manifest.installed.top.as_str();
    let in_archive = |path: &str| if top.is_empty() { path.to_owned() } else { format!("{top}/{path}") };
    let mut only: HashSet<String> = damaged.iter().map(|altered| in_archive(&altered.path)).collect();
    let mut staged = again(job, &manifest, &only)?;
    let from_cache = staged.received.from_cache;
    if damaged.iter().any(|altered| staged.root().join(&altered.path).symlink_metadata().is_err()) {
        only.insert(SHARED.to_owned());
        staged = again(job, &manifest, &only)?;
    }
    swap(job, &manifest, &staged, &damaged).map_err(disk(job.target))?;
    Ok(Repaired { mended: damaged, from_cache })
}

fn again(job: &Job, manifest: &Manifest, only: &HashSet<String>) -> Result<Staged, InstallError> {
    let artifact = Artifact {
        digest: Some(manifest.installed.sha256),
        size: Some(manifest.installed.archive_bytes),
        ..job.artifact.clone()
    };
    let label = Label { ..manifest.installed.label.clone() };
    let whole = manifest.installed.top.is_empty();
    let strip = if whole { Strip::Levels(manifest.installed.stripped) } else { Strip::Auto };
    stage_only(&Job { artifact: &artifact, label, strip, ..*job }, Some(only))
}

fn swap(job: &Job, manifest: &Manifest, staged: &Staged, damaged: &[Altered]) -> io::Result<()> {
    let mut from = Tree::new(open(&staged.root())?, job.owner)?;
    let mut to = Tree::new(open(job.target)?, job.owner)?;
    for altered in damaged {
        let (above, name) = altered.path.rsplit_once('/').unwrap_or(("", &altered.path));
        let folder = to.folder(above)?;
        match &manifest.entries[&altered.path] {
            Record::Folder { mode } => {
                if let Ok(about) = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    && kind(&about, libc::S_IFDIR, "folder").is_some()
                {
                    staging::discard_at(folder.as_fd(), name, job.target)?;
                }
                to.make_folder(&altered.path, *mode)?;
            }
            Record::File { .. } | Record::Link { .. } => {
                if let Ok(about) = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    && kind(&about, libc::S_IFDIR, "folder").is_none()
                {
                    staging::discard_at(folder.as_fd(), name, job.target)?;
                }
                renameat(from.folder(above)?, name, folder, name)?;
            }
        }
    }
    Ok(syncfs(File::open(job.target)?)?)
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(folder)?.into())
}
