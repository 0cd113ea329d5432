//! Copies a tree into an archive while others go on writing to it.
//!
//! Two walks: one measures, so that a person sees how far it is, one copies. A file that changes under our eyes is in the
//! archive as long as it was when it was opened, and named in the warnings; one that goes away is left out.
use super::{
    error::{BackupError, NoRoom, failed},
    manifest::{Entry, Name, Time, What, Writer},
    walk::{FILE, Found, Visitor, told, walk},
};
use crate::model::{backup::Backup, catalog::Digest, exclude::Excludes, settings};
use nix::{
    errno::Errno,
    fcntl::{openat, readlinkat},
    sys::{
        stat::{FileStat, Mode, fstat},
        statvfs::fstatvfs,
    },
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};
use tar::{Builder, EntryType, Header};
use tokio_util::sync::CancellationToken;

const LEVEL: i32 = 3;
/// Files with several names that are remembered; of more, each name becomes a file of its own.
const MOST_LINKED: usize = 200_000;
/// Between two looks at the free space.
const LOOK_EVERY: u64 = 16 << 20;

/// What was copied, as far as the archive tells.
pub(super) struct Copied {
    pub entries: u64,
    pub bytes: u64,
    pub archive_bytes: u64,
    pub sha256: Digest,
    pub warnings: Vec<String>,
    pub warning_count: u64,
}

/// How the copying is told, and ended early.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// What is being done, for a person, and how much of it is done (0 to 1).
    pub tell: &'a (dyn Fn(&str, Option<f64>) + Sync),
    pub cancel: &'a CancellationToken,
}

/// Copies what `top` holds into these two files.
pub(super) fn copy(
    top: &Path,
    (archive, manifest): (File, File),
    excludes: &Excludes,
    limits: &settings::Backups,
    line: Line,
) -> Result<Copied, BackupError> {
    (line.tell)("looking at what is there", None);
    let mut size = Size::default();
    walk(top, excludes, line.cancel, &mut size)?;
    let sealed = Sealed { file: archive, hash: Sha256::new(), bytes: 0, look_at: 0, least: limits.min_free_bytes };
    let begun = zstd::stream::write::Encoder::new(sealed, LEVEL).and_then(|out| Ok((out, Writer::new(manifest)?)));
    let (out, manifest) = begun.map_err(failed("begin the copy of", top))?;
    let mut pack = Pack {
        tar: Builder::new(out),
        manifest,
        top,
        limits,
        line,
        total: size.bytes.max(1),
        linked: HashMap::new(),
        entries: 0,
        bytes: 0,
        warnings: Vec::new(),
        warning_count: 0,
    };
    walk(top, excludes, line.cancel, &mut pack)?;
    pack.finish()
}

/// The first walk.
#[derive(Default)]
struct Size {
    bytes: u64,
}

impl Visitor for Size {
    fn folder(&mut self, _: &Found) -> Result<(), BackupError> {
        Ok(())
    }
    fn file(&mut self, found: &Found) -> Result<(), BackupError> {
        self.bytes += found.about.st_size as u64;
        Ok(())
    }
    fn symlink(&mut self, _: &Found) -> Result<(), BackupError> {
        Ok(())
    }
    fn left(&mut self, _: &[u8], _: &str) -> Result<(), BackupError> {
        Ok(())
    }
}

struct Pack<'a> {
    tar: Builder<zstd::stream::write::Encoder<'static, Sealed>>,
    manifest: Writer,
    top: &'a Path,
    limits: &'a settings::Backups,
    line: Line<'a>,
    total: u64,
    /// First names of files that have several.
    linked: HashMap<(libc::dev_t, libc::ino_t), Vec<u8>>,
    entries: u64,
    bytes: u64,
    warnings: Vec<String>,
    warning_count: u64,
}

impl Visitor for Pack<'_> {
    fn folder(&mut self, found: &Found) -> Result<(), BackupError> {
        let mut header = header(EntryType::Directory, &found.about);
        let mut path = found.path.to_vec();
        path.push(b'/');
        self.append(found, |tar| tar.append_data(&mut header, OsStr::from_bytes(&path), io::empty()))?;
        self.record(found.path, What::Folder { mode: mode(&found.about), mtime: mtime(&found.about) })
    }

    fn file(&mut self, found: &Found) -> Result<(), BackupError> {
        let node = (found.about.st_dev, found.about.st_ino);
        if found.about.st_nlink > 1
            && let Some(first) = self.linked.get(&node).cloned()
        {
            let mut header = header(EntryType::Link, &found.about);
            let (path, to) = (OsStr::from_bytes(found.path), OsStr::from_bytes(&first));
            self.append(found, |tar| tar.append_link(&mut header, path, to))?;
            return self.record(found.path, What::Hardlink { to: Name(first) });
        }
        let file = match openat(found.folder, found.name, FILE, Mode::empty()) {
            // Gone, or something else by now.
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return self.vanished(found.path),
            Err(e) => return self.left(found.path, &told(e)),
            Ok(file) => File::from(file),
        };
        let before = fstat(&file).map_err(|e| failed("look at", &self.shown(found.path))(e.into()))?;
        if before.st_mode & libc::S_IFMT != libc::S_IFREG {
            return self.vanished(found.path);
        }
        self.content(found, file, &before)?;
        if found.about.st_nlink > 1 && self.linked.len() < MOST_LINKED {
            self.linked.insert(node, found.path.to_vec());
        }
        Ok(())
    }

    fn symlink(&mut self, found: &Found) -> Result<(), BackupError> {
        let target = match readlinkat(found.folder, found.name) {
            Err(Errno::ENOENT | Errno::EINVAL) => return self.vanished(found.path),
            Err(e) => return self.left(found.path, &told(e)),
            Ok(target) => target,
        };
        let mut header = header(EntryType::Symlink, &found.about);
        self.append(found, |tar| tar.append_link(&mut header, OsStr::from_bytes(found.path), &target))?;
        self.record(found.path, What::Symlink { target: Name(target.into_vec()), mtime: mtime(&found.about) })
    }

    fn left(&mut self, path: &[u8], why: &str) -> Result<(), BackupError> {
        self.warn(path, &format!("{why} and is not in the backup"));
        self.record(path, What::Left { why: why.to_owned() })
    }
}

impl Pack<'_> {
    /// As long as it was when it was opened: what it lacks by now is filled with zeros, what it has gained is left out.
    fn content(&mut self, found: &Found, file: File, before: &FileStat) -> Result<(), BackupError> {
        let size = before.st_size as u64;
        self.bytes += size;
        if self.bytes > self.limits.max_bytes {
            let (what, setting) = ("the size of its files", "backups.max_bytes");
            return Err(BackupError::TooMuch { what, most: self.limits.max_bytes, setting });
        }
        let mut header = header(EntryType::Regular, before);
        header.set_size(size);
        let (line, so_far, total) = (self.line, self.bytes - size, self.total);
        let progress = |read: u64| (line.tell)("copying", Some(((so_far + read) as f64 / total as f64).min(1.0)));
        let mut content = Content {
            file,
            left: size,
            read: 0,
            hash: Sha256::new(),
            short: false,
            cancel: line.cancel,
            progress: &progress,
        };
        self.append(found, |tar| tar.append_data(&mut header, OsStr::from_bytes(found.path), &mut content))?;
        let after = fstat(&content.file).map_err(|e| failed("look at", &self.shown(found.path))(e.into()))?;
        if content.short || changed(before) != changed(&after) {
            self.warn(found.path, "changed while it was read");
        }
        let sha256 = Digest(content.hash.finalize().into());
        self.record(found.path, What::File { mode: mode(before), mtime: mtime(before), size, sha256 })
    }

    fn append(
        &mut self,
        found: &Found,
        add: impl FnOnce(&mut Builder<zstd::stream::write::Encoder<'static, Sealed>>) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        add(&mut self.tar).map_err(|e| match self.line.cancel.is_cancelled() {
            true => BackupError::Cancelled,
            false => failed("copy", &self.shown(found.path))(e),
        })
    }

    fn record(&mut self, path: &[u8], what: What) -> Result<(), BackupError> {
        self.entries += 1;
        if self.entries > self.limits.max_entries {
            let (what, setting) = ("the number of its names", "backups.max_entries");
            return Err(BackupError::TooMuch { what, most: self.limits.max_entries, setting });
        }
        if self.entries.is_multiple_of(1000) {
            (self.line.tell)("copying", Some((self.bytes as f64 / self.total as f64).min(1.0)));
        }
        let entry = Entry { path: Name(path.to_vec()), what };
        self.manifest.add(&entry).map_err(failed("write the manifest of", self.top))
    }

    fn vanished(&mut self, path: &[u8]) -> Result<(), BackupError> {
        self.warn(path, "went away before it was read");
        Ok(())
    }

    fn warn(&mut self, path: &[u8], what: &str) {
        self.warning_count += 1;
        if self.warnings.len() < Backup::WARNINGS {
            self.warnings.push(format!("{} {what}", String::from_utf8_lossy(path)));
        }
    }

    fn shown(&self, path: &[u8]) -> std::path::PathBuf {
        self.top.join(OsStr::from_bytes(path))
    }

    fn finish(self) -> Result<Copied, BackupError> {
        let (top, manifest) = (self.top, self.manifest);
        let sealed = self.tar.into_inner().and_then(|out| out.finish()).map_err(failed("finish the copy of", top))?;
        let synced = sealed.file.sync_all().and_then(|()| manifest.finish());
        synced.map_err(failed("finish the copy of", top))?;
        Ok(Copied {
            entries: self.entries,
            bytes: self.bytes,
            archive_bytes: sealed.bytes,
            sha256: Digest(sealed.hash.finalize().into()),
            warnings: self.warnings,
            warning_count: self.warning_count,
        })
    }
}

fn header(kind: EntryType, about: &FileStat) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode(about));
    header.set_mtime(about.st_mtime.max(0) as u64);
    header.set_uid(about.st_uid.into());
    header.set_gid(about.st_gid.into());
    header.set_size(0);
    header
}

pub(super) fn mode(about: &FileStat) -> u32 {
    about.st_mode & 0o7777
}

fn mtime(about: &FileStat) -> Time {
    (about.st_mtime, about.st_mtime_nsec)
}

/// What is another as soon as somebody has written.
fn changed(about: &FileStat) -> (i64, i64, i64, i64, i64) {
    (about.st_size, about.st_mtime, about.st_mtime_nsec, about.st_ctime, about.st_ctime_nsec)
}

/// Exactly as many bytes as were announced.
struct Content<'a> {
    file: File,
    left: u64,
    read: u64,
    hash: Sha256,
    /// It ended early.
    short: bool,
    cancel: &'a CancellationToken,
    progress: &'a dyn Fn(u64),
}

impl Read for Content<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(to.len());
        let to = &mut to[..room];
        let mut got = if self.short { 0 } else { self.file.read(to)? };
        if got == 0 && room > 0 {
            self.short = true;
            to.fill(0);
            got = room;
        }
        self.hash.update(&to[..got]);
        self.left -= got as u64;
        let before = self.read / LOOK_EVERY;
        self.read += got as u64;
        if self.read / LOOK_EVERY != before {
            (self.progress)(self.read);
        }
        Ok(got)
    }
}

/// Hashes what is written, and stops before the disk is full.
struct Sealed {
    file: File,
    hash: Sha256,
    bytes: u64,
    /// Written bytes at which the free space is looked at again.
    look_at: u64,
    least: u64,
}

impl Write for Sealed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes >= self.look_at {
            keeps_free(&self.file, self.least)?;
            self.look_at = self.bytes + LOOK_EVERY;
        }
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error once less than `least` bytes are free where `file` lies.
pub(super) fn keeps_free(file: &impl std::os::fd::AsFd, least: u64) -> io::Result<()> {
    let about = fstatvfs(file)?;
    let free = about.blocks_available() * about.fragment_size();
    if free < least { Err(io::Error::other(NoRoom { least })) } else { Ok(()) }
}
