//! Where a tree grows until it is whole: beside its target, so that one rename makes it real.
//!
//! ```text
//! <parent>/.zlh-staging/<name>-<random>/tree   grows; whoever fills it holds a flock(2) on <name>-<random>
//! <parent>/.zlh-trash/<random>                 was replaced or removed, is deleted late: ext4 walks round inodes that were
//!                                              just deleted, which makes the next install several times slower
//! ```
use crate::host::{failpoint, store::Durability};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat, renameat2},
    unistd::syncfs,
};
use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};
use uuid::Uuid;

pub const STAGING: &str = ".zlh-staging";
pub const TRASH: &str = ".zlh-trash";
/// Marks a tree in the trash that was moved there before its successor was in place.
const MOVED: &str = "moved.";

/// A folder for one install, gone when this is dropped.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    lock: Option<Flock<File>>,
}

impl Staging {
    /// For a tree that is to be `target`.
    pub fn beside(target: &Path) -> io::Result<Staging> {
        const ATTEMPTS: usize = 3;
        // Another install that ends takes the folder of all away if it was the last in it.
        let mut made = Staging::make(target);
        for _ in 1..ATTEMPTS {
            if made.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
                made = Staging::make(target);
            }
        }
        made
    }

    fn make(target: &Path) -> io::Result<Staging> {
        let (parent, name) = split(target)?;
        let all = parent.join(STAGING);
        let missing: Vec<&Path> = all.ancestors().take_while(|folder| !folder.exists()).collect();
        missing.into_iter().rev().try_for_each(open_to_all)?;
        // Shared with other installs; a sweep takes it alone, so it never sees a folder that is not locked yet.
        let _open = lock(File::open(&all)?, FlockArg::LockShared)?;
        let folder = all.join(format!("{name}-{}", Uuid::new_v4().simple()));
        open_to_all(&folder)?;
        let mut staging = Staging { folder, lock: None };
        staging.lock = Some(lock(File::open(&staging.folder)?, FlockArg::LockExclusive)?);
        open_to_all(&staging.tree())?;
        Ok(staging)
    }

    /// The folder that grows.
    pub fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Room for a file that is no part of the tree.
    pub fn scratch(&self) -> &Path {
        &self.folder
    }

    pub fn open_tree(&self) -> io::Result<OwnedFd> {
        Ok(File::open(self.tree())?.into())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.folder)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.folder.display(), error = %e, "staging is left behind; the next start removes it");
        }
        drop(self.lock.take());
        // Only if this was the last.
        _ = self.folder.parent().map(fs::remove_dir);
    }
}

/// A folder that others may look into, whatever the umask: what is unpacked is tried out by another account.
fn open_to_all(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().create(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Makes `tree` the `target`, in place of what was there, which goes to the trash. All at once: whoever looks sees the old or
/// the new.
pub(super) fn put_in_place(tree: &Path, target: &Path, durability: Durability) -> io::Result<()> {
    let (parent, _) = split(target)?;
    if durability == Durability::Machine {
        syncfs(File::open(tree)?)?;
    }
    failpoint::reach("install.synced");
    match renameat2(AT_FDCWD, tree, AT_FDCWD, target, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EEXIST) => exchange(tree, target)?,
        // File systems without flags for rename.
        Err(Errno::EINVAL) if target.symlink_metadata().is_err() => fs::rename(tree, target)?,
        Err(Errno::EINVAL) => exchange(tree, target)?,
        other => other?,
    }
    failpoint::reach("install.renamed");
    if durability == Durability::Machine { File::open(parent)?.sync_all() } else { Ok(()) }
}

fn exchange(tree: &Path, target: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, tree, AT_FDCWD, target, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => {
            failpoint::reach("install.exchanged");
            discard(tree, target)
        }
        Err(Errno::EINVAL) => {
            let old = trash_name(target, MOVED)?;
            fs::rename(target, &old)?;
            failpoint::reach("install.moved_aside");
            fs::rename(tree, target).inspect_err(|_| restore(&old, target))
        }
        Err(e) => Err(e.into()),
    }
}

fn restore(old: &Path, target: &Path) {
    if let Err(e) = fs::rename(old, target) {
        tracing::error!(old = %old.display(), error = %e, "the old version could not be put back; move it by hand");
    }
}

/// Moves `tree`, which lay at `target` or is to replace it, out of the way; it is deleted by [`empty_trash`].
pub(super) fn discard(tree: &Path, target: &Path) -> io::Result<()> {
    fs::rename(tree, trash_name(target, "")?)
}

/// The same for a name in an open folder of `target`.
pub(super) fn discard_at(folder: BorrowedFd, name: &str, target: &Path) -> io::Result<()> {
    Ok(renameat(folder, name, AT_FDCWD, &trash_name(target, "")?)?)
}

fn trash_name(target: &Path, mark: &str) -> io::Result<PathBuf> {
    let (parent, name) = split(target)?;
    let trash = parent.join(TRASH);
    DirBuilder::new().recursive(true).mode(0o700).create(&trash)?;
    Ok(trash.join(format!("{mark}{name}-{}", Uuid::new_v4().simple())))
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Installs that were killed; what they left went to the trash.
    pub unfinished: u64,
    /// Versions that were moved aside for one that never came, and were put back.
    pub restored: u64,
}

/// Cleans up in `parent` after installs that were killed. Those that run are not touched. Call it before anything else, and
/// [`empty_trash`] when there is time.
pub fn sweep(parent: &Path) -> io::Result<Swept> {
    let mut swept = Swept::default();
    for trash in names(&parent.join(TRASH))? {
        swept.restored += u64::from(put_back(parent, &trash)?);
    }
    let all = parent.join(STAGING);
    let alone = match File::open(&all) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(swept),
        other => lock(other?, FlockArg::LockExclusive)?,
    };
    for dead in names(&all)? {
        if Flock::lock(File::open(&dead)?, FlockArg::LockExclusiveNonblock).is_ok() {
            discard(&dead, &parent.join("unfinished"))?;
            swept.unfinished += 1;
        }
    }
    drop(alone);
    // Only if nobody is left in it.
    _ = fs::remove_dir(&all);
    Ok(swept)
}

/// Without the exchange of two names, an install moves the old tree aside first; if it got no further, that is undone.
fn put_back(parent: &Path, trash: &Path) -> io::Result<bool> {
    let name = trash.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(owner) = name.rsplit_once('-').and_then(|(owner, _)| owner.strip_prefix(MOVED)) else { return Ok(false) };
    let target = parent.join(owner);
    if target.symlink_metadata().is_ok() {
        return Ok(false);
    }
    fs::rename(trash, target)?;
    Ok(true)
}

/// Deletes what was replaced or removed. Blocking and long; stops between two trees when `stop` says so.
pub fn empty_trash(parent: &Path, stop: impl Fn() -> bool) -> io::Result<u64> {
    let (trash, mut deleted) = (parent.join(TRASH), 0);
    for tree in names(&trash)? {
        if stop() {
            return Ok(deleted);
        }
        fs::remove_dir_all(&tree)?;
        deleted += 1;
    }
    _ = fs::remove_dir(&trash);
    Ok(deleted)
}

fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other?.map(|entry| entry.map(|e| e.path())).collect(),
    }
}

fn lock(file: File, how: FlockArg) -> io::Result<Flock<File>> {
    Flock::lock(file, how).map_err(|(_, e)| e.into())
}

/// (parent, name) of an absolute path.
fn split(target: &Path) -> io::Result<(&Path, &str)> {
    let name = target.file_name().and_then(|name| name.to_str());
    let parts = target.parent().filter(|_| target.is_absolute()).zip(name);
    parts.ok_or_else(|| io::Error::other(format!("{} is no absolute path of a folder", target.display())))
}
