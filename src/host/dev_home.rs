//! The home and the workspace of the dev container's account: there, and its own.
//!
//! Files are given back to the account only in the workspace, and one name at a time from an open folder: no symbolic
//! link is followed, no other file system is entered, and a file that has a second name elsewhere is left alone, because
//! that name may be in a folder of root's.
use super::{
    accounts::Account,
    server_root::{PrepareError, open_folder},
};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{FileStat, Mode, fstat},
    unistd::{Gid, Uid, fchownat, geteuid},
};
use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// Where Debian keeps what a new home begins with.
const SKELETON: &str = "/etc/skel";
/// Largest file of it that is copied.
const LARGEST: u64 = 1 << 20;
/// Folders within folders: each level keeps one open.
const DEEPEST: usize = 256;

/// What was done to the workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    pub looked_at: usize,
    /// Files and folders that belonged to somebody else.
    pub given_back: usize,
    /// Names that were not looked at, because there are more than allowed or they lie too deep.
    pub passed_over: usize,
}

/// Home and workspace, existing and owned by `account`. `profile`: the lines of `.profile` besides those of the
/// skeleton, for a home whose machine does not read our files under `/etc`. Blocking.
pub fn prepare(
    root: &Path,
    (home, workspace): (&Path, &Path),
    account: &Account,
    profile: Option<&str>,
    most: usize,
) -> Result<Repaired, PrepareError> {
    let folder = open_folder(root, home, account)?;
    seed(&folder, home, account, profile)?;
    let folder = open_folder(root, workspace, account)?;
    let about = fstat(&folder).map_err(|e| fault(workspace, e.into()))?;
    let mut walk = Walk { account, device: about.st_dev, left: most, done: Repaired::default() };
    if geteuid().is_root() {
        walk.folder(folder, 0).map_err(|e| fault(workspace, e))?;
    }
    Ok(walk.done)
}

fn fault(path: &Path, source: io::Error) -> PrepareError {
    PrepareError::Io { path: path.to_owned(), source }
}

/// A home in which nothing is yet gets the skeleton; whoever emptied theirs of a file meant it.
fn seed(home: &OwnedFd, path: &Path, account: &Account, profile: Option<&str>) -> Result<(), PrepareError> {
    if !names(home).map_err(|e| fault(path, e))?.is_empty() {
        return Ok(());
    }
    for entry in fs::read_dir(SKELETON).into_iter().flatten().flatten() {
        let about = entry.metadata().map_err(|e| fault(&entry.path(), e))?;
        if !about.is_file() || about.len() > LARGEST {
            continue;
        }
        let mut text = fs::read(entry.path()).map_err(|e| fault(&entry.path(), e))?;
        if entry.file_name() == ".profile" {
            text.extend_from_slice(profile.unwrap_or_default().as_bytes());
        }
        place(home, entry.file_name().as_bytes(), &text, account).map_err(|e| fault(path, e))?;
    }
    if let Some(lines) = profile {
        place(home, b".profile", lines.as_bytes(), account).map_err(|e| fault(path, e))?;
    }
    Ok(())
}

/// A new file; one that is there already stays as it is.
fn place(folder: &OwnedFd, name: &[u8], text: &[u8], account: &Account) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = match openat(folder, name, flags, Mode::from_bits_truncate(0o644)) {
        Ok(fd) => fd,
        Err(Errno::EEXIST) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let mut file = File::from(fd);
    file.write_all(text)?;
    match geteuid().is_root() {
        true => std::os::unix::fs::fchown(&file, Some(account.uid), Some(account.gid)),
        false => Ok(()),
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut dir = Dir::openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

struct Walk<'a> {
    account: &'a Account,
    device: u64,
    left: usize,
    done: Repaired,
}

impl Walk<'_> {
    fn folder(&mut self, folder: OwnedFd, depth: usize) -> io::Result<()> {
        let names = names(&folder)?;
        for (at, name) in names.iter().enumerate() {
            if self.left == 0 || depth > DEEPEST {
                self.done.passed_over += names.len() - at;
                return Ok(());
            }
            self.left -= 1;
            self.done.looked_at += 1;
            match self.entry(&folder, name, depth) {
                // Somebody works here meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, parent: &OwnedFd, name: &CString, depth: usize) -> io::Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let it = openat(parent, name.as_c_str(), flags, Mode::empty())?;
        let about = fstat(&it)?;
        if about.st_dev != self.device {
            return Ok(());
        }
        let is_folder = about.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if self.is_foreign(&about) && (is_folder || about.st_nlink == 1) {
            // By the descriptor: what was looked at is what changes hands, whatever the name means by now.
            let (uid, gid) = (Uid::from_raw(self.account.uid), Gid::from_raw(self.account.gid));
            fchownat(it.as_fd(), "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
            self.done.given_back += 1;
        }
        if !is_folder {
            return Ok(());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        self.folder(openat(&it, ".", flags, Mode::empty())?, depth + 1)
    }

    fn is_foreign(&self, about: &FileStat) -> bool {
        (about.st_uid, about.st_gid) != (self.account.uid, self.account.gid)
    }
}

/// Where home and workspace are beneath `root`.
pub fn places(root: &Path) -> (PathBuf, PathBuf) {
    (root.join(crate::model::dev::HOME), root.join(crate::model::dev::WORKSPACE))
}

#[cfg(test)]
mod tests;
