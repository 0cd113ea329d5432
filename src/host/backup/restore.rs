//! Puts a backup back: unpacked and verified beside the tree first, then exchanged name by name. How far it came is on
//! disk before each step, so that the next life of the agent finishes it, or takes it back.
//!
//! ```text
//! Staging ──unpacked, verified──► Clearing ─► Filling ─► Done
//!    └ killed: nothing has changed      └──────┴─ cannot ─► Undoing ─► Undone
//!                                  killed: goes on where it was
//! ```
use super::{
    MANIFEST, Shelf,
    error::{BackupError, failed},
    manifest::{Reader, What},
    merge::{Merge, is_ours},
    plant::Planter,
    quiet::quietly,
    snapshot::Line,
    unpack, walk,
};
use crate::{
    host::{
        accounts::{self, Account},
        failpoint,
        store::{Durability, Store, StoreError},
    },
    model::{
        backup::{Backup, BackupId},
        exclude::Excludes,
        settings,
    },
};
use nix::{
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::stat::Mode,
    unistd::{fchown, syncfs},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    fs::{self, DirBuilder},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

/// `restore.json`.
const RECORD: &str = "restore";
/// Names that a checkpoint could not save and that are remembered while names are exchanged.
const MOST_LEFT: usize = 100_000;

/// A backup to be put back.
pub struct Restore<'a> {
    pub of: &'a Backup,
    /// Of the tree as it is now.
    pub checkpoint: &'a Backup,
    /// Absolute.
    pub top: &'a Path,
    pub account: &'a Account,
    /// By which [`came`] tells this restore from others.
    pub operation: &'a str,
    pub limits: &'a settings::Backups,
    pub line: Line<'a>,
}

/// How a restore ended, as far as the disk knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Done,
    /// Everything is as it was before.
    ToNothing,
    /// Names were being exchanged and could not be put in order again.
    Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Staging,
    Clearing,
    Filling,
    Done,
    Undoing,
    Undone,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    operation: String,
    phase: Phase,
    of: BackupId,
    checkpoint: BackupId,
    top: PathBuf,
    account: String,
    max_entries: u64,
}

/// How the restore of this operation ended; `None`: nothing is known of it, so it changed nothing.
pub fn came(shelf: &Shelf, operation: &str) -> Result<Option<Came>, StoreError> {
    let known = progress(shelf)?.filter(|progress| progress.operation == operation);
    Ok(known.map(|progress| match progress.phase {
        Phase::Done => Came::Done,
        Phase::Staging | Phase::Undone => Came::ToNothing,
        Phase::Clearing | Phase::Filling | Phase::Undoing => Came::Half,
    }))
}

/// Finishes, or takes back, what a killed agent left half exchanged. Before anything is started that may use the tree.
pub fn recover(shelf: &Shelf) -> Result<(), BackupError> {
    let found = progress(shelf).map_err(|e| store("read", shelf)(e))?;
    let Some(mut progress) = found else { return Ok(()) };
    if matches!(progress.phase, Phase::Staging | Phase::Done | Phase::Undone) {
        return Ok(());
    }
    tracing::warn!(backup = %progress.of, "a restore was cut short; it is finished now");
    let account = account(&progress.account).map_err(failed("look up the account of", &progress.top))?;
    match (Exchange { shelf, account: &account }).carry_on(&mut progress) {
        Ok(()) | Err(BackupError::Undone { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}

/// What was unpacked or put aside goes away.
pub(super) fn sweep(shelf: &Shelf) -> io::Result<()> {
    let found = progress(shelf).map_err(|e| io::Error::other(e.to_string()))?;
    match found {
        Some(progress) if matches!(progress.phase, Phase::Staging | Phase::Done | Phase::Undone) => {
            remove(&around(&progress.top)?)
        }
        _ => Ok(()),
    }
}

impl Shelf {
    /// Blocking and long; cancelled until names begin to be exchanged, which then goes to its end.
    pub fn put_back(&self, job: Restore) -> Result<(), BackupError> {
        let around = around(job.top).map_err(failed("find the folder of", job.top))?;
        remove(&around).map_err(failed("clear", &around))?;
        let mut progress = Progress {
            operation: job.operation.to_owned(),
            phase: Phase::Staging,
            of: job.of.id.clone(),
            checkpoint: job.checkpoint.id.clone(),
            top: job.top.to_owned(),
            account: job.account.name.clone(),
            max_entries: job.limits.max_entries,
        };
        save(self, &progress)?;
        failpoint::reach("restore.begun");
        let staged = self.stage(&job, &around);
        failpoint::reach("restore.staged");
        let exchanged = staged.and_then(|()| match job.line.cancel.is_cancelled() {
            true => Err(BackupError::Cancelled),
            false => {
                (job.line.tell)("putting files in place", None);
                progress.phase = Phase::Clearing;
                Exchange { shelf: self, account: job.account }.carry_on(&mut progress)
            }
        });
        if !matches!(exchanged, Err(BackupError::Half { .. }))
            && let Err(e) = remove(&around)
        {
            tracing::warn!(folder = %around.display(), error = %e, "what was there before the restore is left behind; the next start removes it");
        }
        exchanged
    }

    /// All of it, unpacked into `new` and verified.
    fn stage(&self, job: &Restore, around: &Path) -> Result<(), BackupError> {
        let at = failed("create", around);
        let new = lay_out(around, job.account).map_err(at)?;
        let manifest = Reader::open(&self.place(&job.of.id).join(MANIFEST), job.limits.max_entries)?;
        let archive = self.place(&job.of.id).join(super::ARCHIVE);
        let mut planter = Planter::new(&new, around.join("new"), job.limits.min_free_bytes);
        // Opened while we are still allowed to.
        let archive = unpack::Archive::open(&archive)?;
        let read = || unpack::read(archive, manifest, job.of, job.limits, job.line, &mut planter);
        quietly(job.account, read).map_err(failed("unpack into", around))??;
        syncfs(&new).map_err(|e| failed("sync", around)(e.into()))
    }
}

/// `<around>/{new,old}`: closed to everybody else, `new` owned by whom its files will belong to.
fn lay_out(around: &Path, account: &Account) -> io::Result<OwnedFd> {
    let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    private(around)?;
    private(&around.join("old"))?;
    private(&around.join("new"))?;
    let new = openat(AT_FDCWD, &around.join("new"), walk::FOLDER, Mode::empty())?;
    if nix::unistd::geteuid().is_root() {
        fchown(&new, Some(account.uid.into()), Some(account.gid.into()))?;
    }
    Ok(new)
}

/// The second half, from whatever phase it is in.
struct Exchange<'a> {
    shelf: &'a Shelf,
    account: &'a Account,
}

impl Exchange<'_> {
    fn carry_on(&self, progress: &mut Progress) -> Result<(), BackupError> {
        let backups = self.shelf.list().map_err(failed("list", &self.shelf.folder))?;
        let of = backups.iter().find(|backup| backup.id == progress.of);
        let gone = || BackupError::Damaged("it is not there any more, and a restore of it is half done".into());
        let excludes = &of.ok_or_else(gone)?.exclude;
        let excludes = Excludes::parse(excludes).map_err(BackupError::Damaged)?;
        let left = self.left(progress)?;
        let top = progress.top.clone();
        let around = around(&top).map_err(failed("find the folder of", &top))?;
        let merge = Merge {
            live: walk::open_top(&top)?,
            new: open_ours(&around, "new")?,
            old: open_ours(&around, "old")?,
            around: open_ours(&around, ".")?,
            excludes: &excludes,
            left: &left,
            place: &top,
        };
        if progress.phase != Phase::Undoing {
            match self.forward(&merge, progress) {
                Ok(()) => return Ok(()),
                Err(cause) => return self.backward(&merge, progress, &around, cause),
            }
        }
        let cause = BackupError::Unsuitable { path: top.clone(), why: "an earlier restore failed".into() };
        self.backward(&merge, progress, &around, cause)
    }

    fn forward(&self, merge: &Merge, progress: &mut Progress) -> Result<(), BackupError> {
        if progress.phase == Phase::Clearing {
            save(self.shelf, progress)?;
            failpoint::reach("restore.clearing");
            merge.clear()?;
            progress.phase = Phase::Filling;
            save(self.shelf, progress)?;
        }
        failpoint::reach("restore.filling");
        merge.fill()?;
        failpoint::reach("restore.filled");
        let manifest = self.manifest(progress)?;
        quietly(self.account, || merge.dress(manifest)).map_err(failed("set modes in", merge.place))??;
        syncfs(&merge.live).map_err(|e| failed("sync", merge.place)(e.into()))?;
        progress.phase = Phase::Done;
        save(self.shelf, progress)?;
        failpoint::reach("restore.done");
        Ok(())
    }

    fn backward(
        &self,
        merge: &Merge,
        progress: &mut Progress,
        around: &Path,
        cause: BackupError,
    ) -> Result<(), BackupError> {
        tracing::error!(error = %cause, "a restore failed and is taken back");
        progress.phase = Phase::Undoing;
        let undone = save(self.shelf, progress).and_then(|()| {
            failpoint::reach("restore.undoing");
            merge.undo(self.manifest(progress)?)?;
            progress.phase = Phase::Undone;
            save(self.shelf, progress)
        });
        let source = Box::new(cause);
        Err(match undone {
            Ok(()) => BackupError::Undone { source },
            Err(undoing) => BackupError::Half { source, undoing: Box::new(undoing), kept: around.join("old") },
        })
    }

    fn manifest(&self, progress: &Progress) -> Result<Reader, BackupError> {
        Reader::open(&self.shelf.place(&progress.of).join(MANIFEST), progress.max_entries)
    }

    /// What the checkpoint could not save.
    fn left(&self, progress: &Progress) -> Result<HashSet<Vec<u8>>, BackupError> {
        let place = self.shelf.place(&progress.checkpoint).join(MANIFEST);
        let (mut manifest, mut left) = (Reader::open(&place, progress.max_entries)?, HashSet::new());
        while let Some(entry) = manifest.next()? {
            if matches!(entry.what, What::Left { .. }) {
                left.insert(entry.path.0);
            }
            if left.len() > MOST_LEFT {
                let (what, setting) = ("the number of names that could not be saved", "a restore");
                return Err(BackupError::TooMuch { what, most: MOST_LEFT as u64, setting });
            }
        }
        Ok(left)
    }
}

/// Nobody else could have put a folder of ours there.
fn open_ours(around: &Path, name: &str) -> Result<OwnedFd, BackupError> {
    let foreign =
        || BackupError::Unsuitable { path: around.to_owned(), why: "is not the folder that was made there".into() };
    let ours = is_ours(around).map_err(|e| failed("look at", around)(e.into()))?;
    let folder = nix::fcntl::open(around, walk::FOLDER, Mode::empty());
    let folder = folder.map_err(|e| failed("open", around)(e.into()))?;
    if !ours {
        return Err(foreign());
    }
    openat(&folder, name, walk::FOLDER | OFlag::O_CLOEXEC, Mode::empty()).map_err(|e| failed("open", around)(e.into()))
}

/// `<parent>/.zlh-restore-<name>`: on the file system of the tree, so that names can be moved.
fn around(top: &Path) -> io::Result<PathBuf> {
    let name = top.file_name().and_then(|name| name.to_str());
    let parts = top.parent().zip(name).filter(|_| top.is_absolute());
    let (parent, name) = parts.ok_or_else(|| io::Error::other("it is no absolute path of a folder"))?;
    Ok(parent.join(format!(".zlh-restore-{name}")))
}

/// Fine if there is none; what is not ours is left alone.
fn remove(around: &Path) -> io::Result<()> {
    match is_ours(around) {
        Err(nix::errno::Errno::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
        Ok(true) => fs::remove_dir_all(around),
        Ok(false) => Err(io::Error::other("was put there by somebody else; move it away")),
    }
}

fn account(name: &str) -> io::Result<Account> {
    let own = accounts::own()?;
    if own.name == name {
        return Ok(own);
    }
    accounts::look_up(name)?.ok_or_else(|| io::Error::other(format!("there is no account {name}")))
}

fn progress(shelf: &Shelf) -> Result<Option<Progress>, StoreError> {
    if !shelf.folder.exists() {
        return Ok(None);
    }
    Store::open(&shelf.folder)?.load(RECORD)
}

fn save(shelf: &Shelf, progress: &Progress) -> Result<(), BackupError> {
    let saved = Store::open(&shelf.folder).and_then(|store| store.save(RECORD, progress, Durability::Machine));
    saved.map_err(store("write", shelf))
}

fn store(doing: &'static str, shelf: &Shelf) -> impl FnOnce(StoreError) -> BackupError {
    let path = shelf.folder.join("restore.json");
    move |e| failed(doing, &path)(io::Error::other(e.to_string()))
}
