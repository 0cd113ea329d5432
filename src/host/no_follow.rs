//! Walks a folder that somebody else writes to: one name at a time from an open folder, and never along a symbolic link.
use nix::{
    dir::Dir,
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
};
use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::Path,
};

/// An open folder: what it contains stays the same folder even if its path is replaced meanwhile.
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens the root of a walk; links on the way to it are the operator's own and allowed.
    pub fn root(path: &Path) -> io::Result<Self> {
        Ok(Folder(open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?))
    }

    /// A folder in this one; `None` if there is none of that name (a link or a file is none).
    pub fn folder(&self, name: &str) -> io::Result<Option<Self>> {
        absent(self.open(name, OFlag::O_DIRECTORY)).map(|fd| fd.map(Folder))
    }

    /// A regular file in this one. Links, pipes, sockets, devices and files with a second name elsewhere are not
    /// taken; opening never waits.
    pub fn file(&self, name: &str) -> io::Result<Option<(File, Metadata)>> {
        let Some(fd) = absent(self.open(name, OFlag::O_NONBLOCK | OFlag::O_NOCTTY))? else { return Ok(None) };
        let file = File::from(fd);
        let about = file.metadata()?;
        Ok((about.is_file() && about.nlink() == 1).then_some((file, about)))
    }

    /// A regular file in this one, however many names it has: for trees that only we write to.
    pub fn regular(&self, name: &str) -> io::Result<Option<File>> {
        let Some(fd) = absent(self.open(name, OFlag::O_NONBLOCK | OFlag::O_NOCTTY))? else { return Ok(None) };
        let file = File::from(fd);
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// The same folder, opened once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Folder)
    }

    /// The names in it, sorted, of which `most` are looked at. Names that are not UTF-8 are left out.
    pub fn names(&self, most: usize) -> io::Result<Vec<String>> {
        let mut dir =
            Dir::openat(&self.0, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for entry in dir.iter().take(most.saturating_add(2)) {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            names.extend(name.to_str().filter(|n| !matches!(*n, "." | "..")).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str, flags: OFlag) -> io::Result<OwnedFd> {
        if name.is_empty() || name.contains('/') || name == ".." {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not a plain file name")));
        }
        let flags = flags | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, name, flags, Mode::empty())?)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is not there, or is something else than asked for, is no failure of the walk.
fn absent<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR | libc::ENXIO | libc::ENODEV)) => {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Modification time in Unix milliseconds.
pub(super) fn modified_ms(about: &Metadata) -> i64 {
    about.mtime().saturating_mul(1000).saturating_add(about.mtime_nsec() / 1_000_000)
}
