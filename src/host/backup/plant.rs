//! Makes the entries of an archive beneath one empty folder that nobody else can reach. Every folder on the way is opened
//! by the kernel's own rule (`RESOLVE_BENEATH`, no links, no other file system), and every name is new (`O_EXCL`).
use super::{
    error::{BackupError, failed},
    manifest::{Entry, Time, What},
    snapshot::keeps_free,
    unpack::{Taker, shown},
};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2},
    sys::{
        stat::{Mode, UtimensatFlags, fchmod, mkdirat, utimensat},
        time::TimeSpec,
    },
    unistd::{linkat, symlinkat},
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

const NEW_FILE: OFlag =
    OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Folders get their own mode when all is in them.
const FOR_NOW: Mode = Mode::S_IRWXU;
/// setuid and setgid of files: nothing in a workspace or a server root needs them.
const FILE_MODE: u32 = 0o1777;
/// Bytes between two looks at the free space.
const LOOK_EVERY: u64 = 16 << 20;

/// How to open what lies beneath an open folder.
pub(super) fn beneath(top: &impl AsFd, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    if path.is_empty() {
        return openat(top, ".", flags | OFlag::O_CLOEXEC, Mode::empty());
    }
    let no_way_out = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(top, OsStr::from_bytes(path), OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(no_way_out))
}

/// Folder and name of a path.
pub(super) fn split(path: &[u8]) -> (&[u8], &OsStr) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], OsStr::from_bytes(&path[at + 1..])),
        None => (b"", OsStr::from_bytes(path)),
    }
}

pub(super) fn time((seconds, nanos): Time) -> TimeSpec {
    TimeSpec::new(seconds, nanos)
}

pub(super) struct Planter<'a> {
    top: &'a OwnedFd,
    /// The folder that was used last, and its path: entries of one folder mostly follow each other.
    at: Option<(Vec<u8>, OwnedFd)>,
    file: Option<File>,
    written: u64,
    least: u64,
    /// For messages.
    place: PathBuf,
}

impl<'a> Planter<'a> {
    /// `top`: an empty folder. `least`: bytes that stay free.
    pub fn new(top: &'a OwnedFd, place: PathBuf, least: u64) -> Planter<'a> {
        Planter { top, at: None, file: None, written: 0, least, place }
    }

    fn folder(&mut self, path: &[u8]) -> Result<&OwnedFd, BackupError> {
        if self.at.as_ref().is_none_or(|(at, _)| at != path) {
            let opened = beneath(self.top, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
            let folder = opened.map_err(|e| refused(path, e))?;
            self.at = Some((path.to_vec(), folder));
        }
        // Just put there.
        self.at.as_ref().map(|(_, folder)| folder).ok_or_else(|| refused(path, Errno::ENOENT))
    }

    fn make(&mut self, entry: &Entry) -> nix::Result<Result<(), BackupError>> {
        let (above, name) = split(&entry.path.0);
        let top = self.top;
        let folder = match self.folder(above) {
            Ok(folder) => folder,
            Err(e) => return Ok(Err(e)),
        };
        match &entry.what {
            What::Folder { .. } => mkdirat(folder, name, FOR_NOW)?,
            What::File { .. } => {
                let file = openat(folder, name, NEW_FILE, Mode::S_IRUSR | Mode::S_IWUSR)?;
                self.file = Some(file.into());
            }
            What::Symlink { target, mtime } => {
                symlinkat(OsStr::from_bytes(&target.0), folder, name)?;
                utimensat(folder, name, &time(*mtime), &time(*mtime), UtimensatFlags::NoFollowSymlink)?;
            }
            What::Hardlink { to } => {
                let (to_above, to_name) = split(&to.0);
                let from = beneath(&top, to_above, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
                linkat(&from, to_name, folder, name, AtFlags::empty())?;
            }
            What::Left { .. } => {}
        }
        Ok(Ok(()))
    }
}

impl Taker for Planter<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), BackupError> {
        match self.make(entry) {
            Ok(made) => made,
            Err(e @ (Errno::EEXIST | Errno::ELOOP | Errno::EXDEV | Errno::ENOENT | Errno::ENOTDIR | Errno::EPERM)) => {
                Err(refused(&entry.path.0, e))
            }
            Err(e) => Err(failed("make", &self.place.join(OsStr::from_bytes(&entry.path.0)))(e.into())),
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let look = self.written / LOOK_EVERY != (self.written + bytes.len() as u64) / LOOK_EVERY || self.written == 0;
        self.written += bytes.len() as u64;
        let room = if look { keeps_free(file, self.least) } else { Ok(()) };
        room.and_then(|()| file.write_all(bytes)).map_err(failed("unpack into", &self.place))
    }

    fn end(&mut self, entry: &Entry) -> Result<(), BackupError> {
        let (Some(file), What::File { mode, mtime, .. }) = (self.file.take(), &entry.what) else { return Ok(()) };
        let dress = || -> nix::Result<()> {
            fchmod(&file, Mode::from_bits_truncate(mode & FILE_MODE))?;
            nix::sys::stat::futimens(&file, &time(*mtime), &time(*mtime))
        };
        dress()
            .map_err(|e| failed("set mode and time of", &self.place.join(OsStr::from_bytes(&entry.path.0)))(e.into()))
    }
}

fn refused(path: &[u8], e: Errno) -> BackupError {
    let why = match e {
        Errno::EEXIST => "comes twice".to_owned(),
        Errno::ELOOP | Errno::EXDEV => "lies behind a link".to_owned(),
        Errno::ENOENT | Errno::ENOTDIR => "lies in, or is another name of, something that is not there".to_owned(),
        e => format!("cannot be made: {}", io::Error::from(e)),
    };
    BackupError::Refused { entry: shown(path), why }
}
