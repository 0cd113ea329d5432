//! Puts a tree in the place of another without replacing its folders: shells that stand in them and editors that watch
//! them see the new files (docs/adr/0020). Nothing is copied: names move between three trees of one file system.
//!
//! ```text
//!  clear:  live/x, in new not there ─────────────► old/x      what is left out, or could not be saved, stays
//!  fill:   live/x (a file) ──second name─► old/x;  new/x ─► live/x in one step
//! ```
//! Each phase can be begun again after a kill at any of its steps: clear needs only `new`, which it does not change, and
//! fill only moves what is still in `new`. [`Merge::undo`] can, too: it puts back what `old` holds.
use super::{
    error::{BackupError, failed},
    manifest::{Reader, What},
    plant::{beneath, split, time},
    snapshot::mode,
    walk::{FOLDER, is_cache, join, listing},
};
use crate::{host::failpoint, model::exclude::Excludes};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, renameat, renameat2},
    sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, futimens, mkdirat},
    unistd::{UnlinkatFlags, linkat, unlinkat},
};
use std::{
    collections::HashSet,
    ffi::{CString, OsStr},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

type Done = Result<(), BackupError>;

pub(super) struct Merge<'a> {
    pub live: OwnedFd,
    pub new: OwnedFd,
    pub old: OwnedFd,
    /// The folder that `new` and `old` lie in.
    pub around: OwnedFd,
    /// What the backup left out.
    pub excludes: &'a Excludes,
    /// What the checkpoint could not save: it stays.
    pub left: &'a HashSet<Vec<u8>>,
    /// For messages.
    pub place: &'a Path,
}

impl Merge<'_> {
    /// Moves to `old` what is in `live` and not in `new`.
    pub fn clear(&self) -> Done {
        self.clear_folder(&self.live, Some(&self.new), &mut Vec::new())
    }

    fn clear_folder(&self, live: &OwnedFd, new: Option<&OwnedFd>, path: &mut Vec<u8>) -> Done {
        let device = fstat(live).map_err(self.at(path))?.st_dev;
        for name in self.names(live, path)? {
            let above = path.len();
            join(path, &name);
            let done = self.clear_name((live, new, device), &name, path);
            path.truncate(above);
            done?;
        }
        Ok(())
    }

    fn clear_name(
        &self,
        (live, new, device): (&OwnedFd, Option<&OwnedFd>, libc::dev_t),
        name: &CString,
        path: &mut Vec<u8>,
    ) -> Done {
        let Some(about) = look(live, name).map_err(self.at(path))? else { return Ok(()) };
        let is_folder = kind(&about) == libc::S_IFDIR;
        let taken = matches!(kind(&about), libc::S_IFDIR | libc::S_IFREG | libc::S_IFLNK) && about.st_dev == device;
        if !taken || self.stays(live, name, path, is_folder) {
            return Ok(());
        }
        let next = match new {
            Some(new) => look(new, name).map_err(self.at(path))?,
            None => None,
        };
        match next {
            None if !is_folder || !self.has_left_beneath(path) => self.put_aside(live, name, path),
            None => self.clear_folder(&enter(live, name).map_err(self.at(path))?, None, path),
            Some(next) if is_folder && kind(&next) == libc::S_IFDIR => {
                let inside = new.map(|new| enter(new, name)).transpose().map_err(self.at(path))?;
                self.clear_folder(&enter(live, name).map_err(self.at(path))?, inside.as_ref(), path)
            }
            // The next phase replaces it.
            Some(_) => Ok(()),
        }
    }

    fn stays(&self, live: &OwnedFd, name: &CString, path: &[u8], is_folder: bool) -> bool {
        self.left.contains(path)
            || self.excludes.leave_out(&String::from_utf8_lossy(path), is_folder)
            || (is_folder && enter(live, name).is_ok_and(|folder| is_cache(&folder)))
    }

    fn has_left_beneath(&self, path: &[u8]) -> bool {
        self.left.iter().any(|left| left.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/")))
    }

    fn put_aside(&self, live: &OwnedFd, name: &CString, path: &[u8]) -> Done {
        let old = self.aside(split(path).0)?;
        failpoint::reach("restore.clears");
        match renameat(live, name.as_c_str(), &old, name.as_c_str()) {
            Err(Errno::ENOENT) => Ok(()),
            done => done.map_err(self.at(path)),
        }
    }

    /// Moves all of `new` into `live`; what was there goes to `old`.
    pub fn fill(&self) -> Done {
        self.fill_folder(&self.live, &self.new, &mut Vec::new())
    }

    fn fill_folder(&self, live: &OwnedFd, new: &OwnedFd, path: &mut Vec<u8>) -> Done {
        for name in self.names(new, path)? {
            let above = path.len();
            join(path, &name);
            let done = self.fill_name(live, new, &name, path);
            path.truncate(above);
            done?;
        }
        Ok(())
    }

    fn fill_name(&self, live: &OwnedFd, new: &OwnedFd, name: &CString, path: &mut Vec<u8>) -> Done {
        let Some(fresh) = look(new, name).map_err(self.at(path))? else { return Ok(()) };
        let there = look(live, name).map_err(self.at(path))?;
        match there {
            Some(_) if self.left.contains(path.as_slice()) => return Ok(()),
            Some(there) if kind(&there) == libc::S_IFDIR && kind(&fresh) == libc::S_IFDIR => {
                let (live, new) = (enter(live, name).map_err(self.at(path))?, enter(new, name).map_err(self.at(path))?);
                return self.fill_folder(&live, &new, path);
            }
            Some(there) => {
                self.make_way(live, name, path, kind(&there) != libc::S_IFDIR && kind(&fresh) != libc::S_IFDIR)?
            }
            None => {}
        }
        failpoint::reach("restore.fills");
        renameat(new, name.as_c_str(), live, name.as_c_str()).map_err(self.at(path))
    }

    /// `in_one_step`: the next rename replaces it, so that the name is never missing; `old` gets a second name of it.
    fn make_way(&self, live: &OwnedFd, name: &CString, path: &[u8], in_one_step: bool) -> Done {
        let old = self.aside(split(path).0)?;
        if in_one_step {
            match linkat(live, name.as_c_str(), &old, name.as_c_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::EEXIST | Errno::ENOENT) => return Ok(()),
                // Too many names of it, or a file system that has no second names.
                Err(_) => {}
            }
        }
        match renameat2(live, name.as_c_str(), &old, name.as_c_str(), RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::ENOENT) => Ok(()),
            // Somebody made it anew after we had put the true one aside.
            Err(Errno::EEXIST) => self.drop_newcomer(live, name, path),
            done => done.map_err(self.at(path)),
        }
    }

    fn drop_newcomer(&self, live: &OwnedFd, name: &CString, path: &[u8]) -> Done {
        let unique = format!("newcomer-{}", uuid::Uuid::new_v4().simple());
        renameat(live, name.as_c_str(), &self.around, unique.as_str()).map_err(self.at(path))
    }

    /// Modes and times of folders, which change with what is put into them. Run it with the rights of the owner: what
    /// is no longer a folder of theirs is passed over.
    pub fn dress(&self, mut manifest: Reader) -> Done {
        while let Some(entry) = manifest.next()? {
            let What::Folder { mode: bits, mtime } = entry.what else { continue };
            let Ok(folder) = beneath(&self.live, &entry.path.0, OFlag::O_RDONLY | OFlag::O_DIRECTORY) else { continue };
            let same = fstat(&folder).is_ok_and(|about| mode(&about) == bits);
            let moded = if same { Ok(()) } else { fchmod(&folder, Mode::from_bits_truncate(bits)) };
            if let Err(e) = moded.and_then(|()| futimens(&folder, &time(mtime), &time(mtime))) {
                tracing::warn!(folder = %String::from_utf8_lossy(&entry.path.0), error = %e, "mode or time could not be restored");
            }
        }
        Ok(())
    }

    /// Back to what was there before [`Merge::clear`]. `manifest`: of what was in `new`.
    pub fn undo(&self, mut manifest: Reader) -> Done {
        while let Some(entry) = manifest.next()? {
            if !matches!(entry.what, What::Left { .. }) {
                self.take_out(&entry.path.0)?;
            }
        }
        self.return_folder(&self.old, &self.live, &mut Vec::new())
    }

    /// What is gone from `new` was moved; folders come before what is in them and take it along.
    fn take_out(&self, path: &[u8]) -> Done {
        let (above, name) = split(path);
        let Some(new) = open(&self.new, above).map_err(self.at(path))? else { return Ok(()) };
        let Some(live) = open(&self.live, above).map_err(self.at(path))? else { return Ok(()) };
        if fstatat(&new, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
            return Ok(());
        }
        match renameat(&live, name, &new, name) {
            Err(Errno::ENOENT) => Ok(()),
            done => done.map_err(self.at(path)),
        }
    }

    fn return_folder(&self, old: &OwnedFd, live: &OwnedFd, path: &mut Vec<u8>) -> Done {
        for name in self.names(old, path)? {
            let above = path.len();
            join(path, &name);
            let done = self.return_name(old, live, &name, path);
            path.truncate(above);
            done?;
        }
        Ok(())
    }

    fn return_name(&self, old: &OwnedFd, live: &OwnedFd, name: &CString, path: &mut Vec<u8>) -> Done {
        let (Some(from), to) = (look(old, name).map_err(self.at(path))?, look(live, name).map_err(self.at(path))?)
        else {
            return Ok(());
        };
        if let Some(to) = to
            && kind(&to) == libc::S_IFDIR
            && kind(&from) == libc::S_IFDIR
        {
            let (old, live) = (enter(old, name).map_err(self.at(path))?, enter(live, name).map_err(self.at(path))?);
            return self.return_folder(&old, &live, path);
        }
        if to.is_some_and(|to| kind(&to) == libc::S_IFDIR || kind(&from) == libc::S_IFDIR) {
            self.drop_newcomer(live, name, path)?;
        }
        renameat(old, name.as_c_str(), live, name.as_c_str()).map_err(self.at(path))?;
        // Two names of one file: rename(2) leaves both.
        match unlinkat(old, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.at(path)(e)),
        }
    }

    /// The folder of `old` that answers to this one of `live`, made if it is not there.
    fn aside(&self, path: &[u8]) -> Result<OwnedFd, BackupError> {
        let mut at = openat(&self.old, ".", FOLDER, Mode::empty()).map_err(self.at(path))?;
        for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            let name = OsStr::from_bytes(name);
            match mkdirat(&at, name, Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => return Err(self.at(path)(e)),
            }
            at = openat(&at, name, FOLDER, Mode::empty()).map_err(self.at(path))?;
        }
        Ok(at)
    }

    /// All names of a folder: it changes while we go through it.
    fn names(&self, folder: &OwnedFd, path: &[u8]) -> Result<Vec<CString>, BackupError> {
        let mut dir = listing(folder).map_err(self.at(path))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(self.at(path))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        Ok(names)
    }

    fn at(&self, path: &[u8]) -> impl FnOnce(Errno) -> BackupError {
        let place = self.place.join(OsStr::from_bytes(path));
        move |e| failed("exchange", &place)(e.into())
    }
}

/// `None`: there is no such folder.
fn open(top: &OwnedFd, path: &[u8]) -> nix::Result<Option<OwnedFd>> {
    match beneath(top, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(e) => Err(e),
    }
}

fn enter(folder: &OwnedFd, name: &CString) -> nix::Result<OwnedFd> {
    openat(folder, name.as_c_str(), FOLDER, Mode::empty())
}

fn look(folder: &OwnedFd, name: &CString) -> nix::Result<Option<FileStat>> {
    match fstatat(folder, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(Some(about)),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn kind(about: &FileStat) -> libc::mode_t {
    about.st_mode & libc::S_IFMT
}

/// Is this one of our own folders, which nobody else could have made?
pub(super) fn is_ours(folder: &Path) -> nix::Result<bool> {
    let about = fstatat(AT_FDCWD, folder, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let own = nix::unistd::geteuid().as_raw() == about.st_uid;
    Ok(own && kind(&about) == libc::S_IFDIR && mode(&about) == 0o700)
}
