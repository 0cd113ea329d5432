//! Opening, and where needed creating, a folder step by step beneath a root. No symbolic link is followed on the way,
//! so whoever owns a folder in between cannot lead the agent elsewhere, not even while it is looking.
use super::PrepareError;
use crate::host::accounts::Account;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::{Mode, fchmod, fstat, fstatat, mkdirat},
    unistd::{Gid, Uid, fchown, geteuid},
};
use std::{
    ffi::OsStr,
    os::fd::OwnedFd,
    path::{Component, Path},
};

/// Folders on the way: everyone may pass.
const ON_THE_WAY: Mode = Mode::from_bits_truncate(0o755);
/// The server root itself: its account and its group.
const SERVER_ROOT: Mode = Mode::from_bits_truncate(0o750);

/// The server root, existing and owned by `account`.
pub fn open_root(root: &Path, path: &Path, account: &Account) -> Result<OwnedFd, PrepareError> {
    let names = names_beneath(root, path)?;
    let mut at = root.to_owned();
    let mut folder = open_base(root)?;
    for (index, name) in names.iter().enumerate() {
        at.push(name);
        let last = index + 1 == names.len();
        folder = step(&folder, name, &at, if last { SERVER_ROOT } else { ON_THE_WAY })?;
    }
    own(&folder, path, account)?;
    Ok(folder)
}

fn names_beneath<'a>(root: &Path, path: &'a Path) -> Result<Vec<&'a OsStr>, PrepareError> {
    let outside = || PrepareError::Io {
        path: path.to_owned(),
        source: std::io::Error::other(format!("does not lie beneath {}", root.display())),
    };
    let relative = path.strip_prefix(root).map_err(|_| outside())?;
    let name = |part| match part {
        Component::Normal(name) => Ok(name),
        _ => Err(outside()),
    };
    let names: Vec<&OsStr> = relative.components().map(name).collect::<Result<_, _>>()?;
    if names.is_empty() { Err(outside()) } else { Ok(names) }
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The root is the operator's own choice and may be a link.
fn open_base(root: &Path) -> Result<OwnedFd, PrepareError> {
    open(root, FOLDER, Mode::empty()).map_err(|e| fault(e, root))
}

fn step(parent: &OwnedFd, name: &OsStr, at: &Path, mode: Mode) -> Result<OwnedFd, PrepareError> {
    let enter = || openat(parent, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty());
    match enter() {
        Err(Errno::ENOENT) => {}
        Err(e) => return Err(refused_entry(e, parent, name, at)),
        Ok(folder) => return Ok(folder),
    }
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(e) => return Err(fault(e, at)),
    }
    let folder = enter().map_err(|e| refused_entry(e, parent, name, at))?;
    // mkdirat's mode went through the umask.
    fchmod(&folder, mode).map_err(|e| fault(e, at))?;
    Ok(folder)
}

/// O_DIRECTORY with O_NOFOLLOW says ENOTDIR for a link and for a file: look which.
fn refused_entry(e: Errno, parent: &OwnedFd, name: &OsStr, at: &Path) -> PrepareError {
    let kind =
        fstatat(parent, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).map(|about| about.st_mode & libc::S_IFMT);
    match (e, kind) {
        (Errno::ELOOP | Errno::ENOTDIR, Ok(libc::S_IFLNK)) => PrepareError::SymbolicLink(at.to_owned()),
        (Errno::ENOTDIR, Ok(_)) => PrepareError::NotAFolder(at.to_owned()),
        _ => fault(e, at),
    }
}

/// Only the folder itself: what lies inside belongs to whoever put it there.
fn own(folder: &OwnedFd, path: &Path, account: &Account) -> Result<(), PrepareError> {
    let about = fstat(folder).map_err(|e| fault(e, path))?;
    if !geteuid().is_root() || (about.st_uid, about.st_gid) == (account.uid, account.gid) {
        return Ok(());
    }
    fchown(folder, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid))).map_err(|e| fault(e, path))
}

fn fault(e: Errno, at: &Path) -> PrepareError {
    match e {
        Errno::EROFS => PrepareError::ReadOnly(at.to_owned()),
        Errno::ENOTDIR => PrepareError::NotAFolder(at.to_owned()),
        e => PrepareError::Io { path: at.to_owned(), source: e.into() },
    }
}
