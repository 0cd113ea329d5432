//! A folder that somebody else writes to, changed from within: nothing reached through it lies outside, and no symbolic
//! link is followed, not even one that is put there while we look (`openat2(2)`, `RESOLVE_BENEATH`).
use super::accounts::Account;
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, fdatasync, geteuid, symlinkat, unlinkat},
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
/// Ends the name of a file that is being written.
const PART: &str = ".zlh-part";

/// An open folder and the account that what is made in it belongs to.
#[derive(Debug)]
pub struct Beneath {
    folder: OwnedFd,
    owner: Option<(Uid, Gid)>,
}

impl Beneath {
    /// Links on the way to `path` are the operator's own and followed.
    pub fn open(path: &Path, account: &Account) -> io::Result<Beneath> {
        let folder = open(path, FOLDER | OFlag::O_CLOEXEC, Mode::empty())?;
        let owner = geteuid().is_root().then(|| (Uid::from_raw(account.uid), Gid::from_raw(account.gid)));
        Ok(Beneath { folder, owner })
    }

    /// The regular file at `path`, for reading; `None` if there is no such name.
    pub fn file(&self, path: &str) -> io::Result<Option<File>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = match self.look_up(path, flags) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            other => File::from(other?),
        };
        match file.metadata()?.is_file() {
            true => Ok(Some(file)),
            false => Err(io::Error::other("is not a regular file")),
        }
    }

    /// Does the name exist, as whatever?
    pub fn has(&self, path: &str) -> io::Result<bool> {
        match self.look_up(path, OFlag::O_PATH) {
            Ok(_) | Err(Errno::ELOOP) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The folder at `path`, made with all above it if it is not there. `""` is the folder itself.
    pub fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let mut at = self.folder.try_clone()?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = self.step(&at, name)?;
        }
        Ok(at)
    }

    /// Puts a whole new file in place of whatever file is there, in one step. `fill` writes it. The folders above are
    /// made.
    pub fn replace(&self, path: &str, mode: Mode, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let (folder, name) = self.above(path)?;
        let part = format!("{name}{PART}");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let made = enter(&folder, &part, flags, mode).or_else(|e| match e {
            Errno::EEXIST => {
                unlinkat(&folder, part.as_str(), UnlinkatFlags::NoRemoveDir)?;
                enter(&folder, &part, flags, mode)
            }
            e => Err(e),
        });
        let mut file = File::from(made?);
        let written = fill(&mut file).and_then(|()| self.finish(&file)).and_then(|()| {
            renameat(&folder, part.as_str(), &folder, name)?;
            Ok(())
        });
        if written.is_err() {
            // What was half written must not stay; the first fault is the one to tell.
            _ = unlinkat(&folder, part.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// A symbolic link that says `target`, which the caller has judged.
    pub fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let (folder, name) = self.above(path)?;
        Ok(symlinkat(target, &folder, name)?)
    }

    /// Another name within the folder; a file that has it already is replaced.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let ((old, from), (new, to)) = (self.above(from)?, self.above(to)?);
        Ok(renameat(&old, from, &new, to)?)
    }

    pub fn remove(&self, path: &str) -> io::Result<()> {
        let (folder, name) = self.above(path)?;
        Ok(unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)?)
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(uid), Some(gid))?;
        }
        Ok(fdatasync(file)?)
    }

    fn above<'a>(&self, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match name {
            "" | "." | ".." => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path:?} names no file"))),
            name => Ok((self.folder(folder)?, name)),
        }
    }

    fn step(&self, at: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
        match enter(at, name, FOLDER, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            other => return Ok(other?),
        }
        match mkdirat(at, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let made = enter(at, name, FOLDER, Mode::empty())?;
        if let Some((uid, gid)) = self.owner {
            fchown(&made, Some(uid), Some(gid))?;
        }
        Ok(made)
    }

    fn look_up(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        enter(&self.folder, path, flags, Mode::empty())
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

fn enter(at: &OwnedFd, path: &str, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(mode)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(at, path, how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::accounts;
    use std::{
        fs,
        io::{Read, Write},
        os::unix::fs::symlink,
    };

    #[test]
    fn nothing_outside_is_reached() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path(), inside.path().join("way")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        let beneath = Beneath::open(inside.path(), &accounts::own().unwrap()).unwrap();
        let write = |path: &str| beneath.replace(path, Mode::from_bits_truncate(0o644), |f| f.write_all(b"x"));
        for path in ["way/secret", "file", "../secret", "/etc/passwd", "a/../../secret"] {
            assert!(beneath.file(path).is_err(), "{path}");
        }
        for path in ["way/new", "../new", "a/../../new", "", "a/", ".."] {
            assert!(write(path).is_err(), "{path}");
        }
        write("file").unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "s", "the link was replaced");
        assert!(fs::symlink_metadata(inside.path().join("file")).unwrap().is_file());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(folder.path(), &accounts::own().unwrap()).unwrap();
        let mode = Mode::from_bits_truncate(0o640);
        beneath.replace("a/b/c.txt", mode, |f| f.write_all(b"old")).unwrap();
        fs::write(folder.path().join(format!("a/b/c.txt{PART}")), "left by a killed agent").unwrap();
        let failed = beneath.replace("a/b/c.txt", mode, |f| {
            f.write_all(b"ne")?;
            Err(io::Error::other("injected"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "injected");
        let mut text = String::new();
        beneath.file("a/b/c.txt").unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
        assert!(beneath.file("a/b").is_err() && beneath.file("a/x").unwrap().is_none());
        assert!(beneath.has("a/b").unwrap() && !beneath.has("a/b/d").unwrap());
        beneath.rename("a/b/c.txt", "d.txt").unwrap();
        beneath.remove("d.txt").unwrap();
        assert!(!beneath.has("d.txt").unwrap());
    }
}
