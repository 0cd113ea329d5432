//! Goes through a tree that somebody else writes to: one name at a time from an open folder, never along a symbolic link,
//! never into another file system. It holds two descriptors a level and no list of names.
use super::error::{BackupError, failed};
use crate::model::exclude::Excludes;
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FileStat, Mode, fstat, fstatat},
};
use std::{
    ffi::CStr,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};
use tokio_util::sync::CancellationToken;

/// Folders within folders.
pub(super) const DEEPEST: usize = 128;
/// Bytes of one path: as many as the kernel takes at once, less the room for a name.
pub(super) const LONGEST: usize = 3800;
/// What a program writes into a folder of files that it can make again (bford.info/cachedir).
const CACHE_TAG: &CStr = c"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

pub(super) const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
pub(super) const FILE: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// One name of the tree.
pub(super) struct Found<'a> {
    pub folder: &'a OwnedFd,
    pub name: &'a CStr,
    /// From the top.
    pub path: &'a [u8],
    pub about: FileStat,
}

pub(super) trait Visitor {
    /// Its names follow.
    fn folder(&mut self, found: &Found) -> Result<(), BackupError>;
    fn file(&mut self, found: &Found) -> Result<(), BackupError>;
    fn symlink(&mut self, found: &Found) -> Result<(), BackupError>;
    /// It is there and cannot be taken.
    fn left(&mut self, path: &[u8], why: &str) -> Result<(), BackupError>;
}

/// Every name beneath `top` that is not left out, folders before what is in them.
pub(super) fn walk(
    top: &Path,
    excludes: &Excludes,
    cancel: &CancellationToken,
    visitor: &mut impl Visitor,
) -> Result<(), BackupError> {
    let folder = open_top(top)?;
    let device = fstat(&folder).map_err(|e| failed("look at", top)(e.into()))?.st_dev;
    Walk { device, excludes, cancel, visitor }.folder(&folder, &mut Vec::new(), 0)
}

/// A link in place of the top could lead anywhere: it is refused.
pub(super) fn open_top(top: &Path) -> Result<OwnedFd, BackupError> {
    nix::fcntl::open(top, FOLDER, Mode::empty()).map_err(|e| match e {
        Errno::ELOOP | Errno::ENOTDIR => BackupError::Unsuitable {
            path: top.to_owned(),
            why: "is no folder, or a symbolic link; make it a folder".into(),
        },
        e => failed("open", top)(e.into()),
    })
}

struct Walk<'a, V> {
    device: libc::dev_t,
    excludes: &'a Excludes,
    cancel: &'a CancellationToken,
    visitor: &'a mut V,
}

impl<V: Visitor> Walk<'_, V> {
    fn folder(&mut self, folder: &OwnedFd, path: &mut Vec<u8>, depth: usize) -> Result<(), BackupError> {
        let mut names = match listing(folder) {
            Ok(names) => names,
            Err(e) => return self.visitor.left(path, &format!("could not be listed: {e}")),
        };
        for entry in names.iter() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return self.visitor.left(path, &format!("could not be listed to its end: {e}")),
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let above = path.len();
            join(path, name);
            self.name(folder, name, path, depth)?;
            path.truncate(above);
        }
        Ok(())
    }

    fn name(&mut self, folder: &OwnedFd, name: &CStr, path: &mut Vec<u8>, depth: usize) -> Result<(), BackupError> {
        if self.cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        let about = match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            Err(e) => return self.visitor.left(path, &told(e)),
            Ok(about) => about,
        };
        let kind = about.st_mode & libc::S_IFMT;
        if self.excludes.leave_out(&String::from_utf8_lossy(path), kind == libc::S_IFDIR) {
            return Ok(());
        }
        if about.st_dev != self.device {
            return self.visitor.left(path, "is another file system");
        }
        if path.len() > LONGEST {
            return self.visitor.left(path, "has too long a path");
        }
        let found = Found { folder, name, path, about };
        match kind {
            libc::S_IFREG => self.visitor.file(&found),
            libc::S_IFLNK => self.visitor.symlink(&found),
            libc::S_IFDIR => self.enter(&found, depth),
            _ => self.visitor.left(path, &format!("is a {}", special(kind))),
        }
    }

    fn enter(&mut self, found: &Found, depth: usize) -> Result<(), BackupError> {
        if depth >= DEEPEST {
            return self.visitor.left(found.path, &format!("lies more than {DEEPEST} folders deep"));
        }
        let folder = match openat(found.folder, found.name, FOLDER, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(e) => return self.visitor.left(found.path, &told(e)),
            Ok(folder) => folder,
        };
        if is_cache(&folder) {
            return Ok(());
        }
        self.visitor.folder(found)?;
        self.folder(&folder, &mut found.path.to_vec(), depth + 1)
    }
}

pub(super) fn listing(folder: &impl AsFd) -> nix::Result<Dir> {
    Dir::openat(folder.as_fd(), ".", FOLDER, Mode::empty())
}

pub(super) fn join(path: &mut Vec<u8>, name: &CStr) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
}

/// Has whoever fills this folder marked it as one of files that can be made again?
pub(super) fn is_cache(folder: &OwnedFd) -> bool {
    let read = || {
        let mut file = std::fs::File::from(openat(folder, CACHE_TAG, FILE, Mode::empty())?);
        let mut first = [0; CACHE_SIGNATURE.len()];
        file.read_exact(&mut first)?;
        io::Result::Ok(first)
    };
    read().is_ok_and(|first| first == *CACHE_SIGNATURE)
}

pub(super) fn told(e: Errno) -> String {
    match e {
        Errno::EACCES | Errno::EPERM => "may not be read by its owner".into(),
        e => format!("cannot be read: {}", e.desc()),
    }
}

fn special(kind: libc::mode_t) -> &'static str {
    match kind {
        libc::S_IFSOCK => "socket",
        libc::S_IFIFO => "named pipe",
        _ => "device",
    }
}
