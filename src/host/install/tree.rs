//! Makes a tree beneath one open folder: every name is made by its parent's descriptor, exclusively, and no link is ever
//! followed. Modes are final at once; times are those of the install.
use super::{
    collect::{Batch, Step},
    rules::{Admitted, What},
};
use crate::host::accounts::Account;
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{Mode, fchmod, mkdirat},
    unistd::{UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat},
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::PathBuf,
};

/// Folders kept open: an archive goes through its folders one after the other.
const MOST_OPEN: usize = 128;
const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW_FILE: OFlag =
    OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

pub(super) struct Tree<'a> {
    top: OwnedFd,
    open: HashMap<String, OwnedFd>,
    file: Option<(File, String)>,
    /// Whom everything shall belong to; `None`: whoever runs this.
    owner: Option<&'a Account>,
    /// Bits that the kernel takes from new modes.
    umask: u32,
}

/// What could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(super) struct TreeError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl<'a> Tree<'a> {
    pub fn new(top: OwnedFd, owner: Option<&'a Account>) -> io::Result<Self> {
        if let Some((uid, gid)) = owner.map(ids) {
            fchown(&top, Some(uid), Some(gid))?;
        }
        Ok(Tree { top, open: HashMap::new(), file: None, owner, umask: umask()? })
    }

    pub fn apply(&mut self, batch: &Batch) -> Result<(), TreeError> {
        for step in &batch.steps {
            match step {
                Step::Make(admitted) => {
                    self.make(admitted).map_err(|source| TreeError { path: admitted.path.clone().into(), source })?;
                }
                Step::Write(part) => self.write(&batch.piece[part.clone()])?,
                Step::Close => self.file = None,
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TreeError> {
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|source| TreeError { path: path.clone().into(), source })
    }

    pub fn make_folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        Ok(fchmod(self.folder(path)?, Mode::from_bits_truncate(mode))?)
    }

    fn make(&mut self, admitted: &Admitted) -> io::Result<()> {
        let (umask, owner) = (self.umask, self.owner.map(ids));
        let path = admitted.path.as_str();
        if let What::Folder { mode } = admitted.what {
            let folder = self.folder(path)?;
            return set_mode(folder, mode, 0o755 & !umask);
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let What::Hardlink { target } = &admitted.what {
            return self.link(target, above, name, admitted.again);
        }
        let parent = self.folder(above)?;
        if admitted.again {
            unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
        }
        match &admitted.what {
            What::File { mode } => {
                let file = openat(parent, name, NEW_FILE, Mode::from_bits_truncate(*mode))?;
                if let Some((uid, gid)) = owner {
                    fchown(&file, Some(uid), Some(gid))?;
                }
                set_mode(&file, *mode, mode & !umask)?;
                self.file = Some((file.into(), admitted.path.clone()));
            }
            What::Symlink { target } => {
                symlinkat(target.as_str(), parent, name)?;
                if let Some((uid, gid)) = owner {
                    fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
                }
            }
            What::Folder { .. } | What::Hardlink { .. } => {}
        }
        Ok(())
    }

    fn link(&mut self, target: &str, above: &str, name: &str, again: bool) -> io::Result<()> {
        let (target_above, target_name) = target.rsplit_once('/').unwrap_or(("", target));
        let from = self.folder(target_above)?.try_clone()?;
        let to = self.folder(above)?;
        if again {
            unlinkat(to, name, UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(linkat(&from, target_name, to, name, AtFlags::empty())?)
    }

    /// The open folder of this path, made if it is not there.
    pub fn folder(&mut self, path: &str) -> io::Result<&OwnedFd> {
        if path.is_empty() {
            return Ok(&self.top);
        }
        if !self.open.contains_key(path) {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            let owner = self.owner.map(ids);
            let parent = self.folder(above)?;
            let made = match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
                Err(Errno::EEXIST) => false,
                other => other.map(|()| true)?,
            };
            let folder = openat(parent, name, FOLDER, Mode::empty())?;
            if made {
                if let Some((uid, gid)) = owner {
                    fchown(&folder, Some(uid), Some(gid))?;
                }
                set_mode(&folder, 0o755, 0o755 & !self.umask)?;
            }
            if self.open.len() >= MOST_OPEN {
                self.open.clear();
            }
            self.open.insert(path.to_owned(), folder);
        }
        Ok(&self.open[path])
    }
}

fn ids(account: &Account) -> (nix::unistd::Uid, nix::unistd::Gid) {
    (account.uid.into(), account.gid.into())
}

fn set_mode(of: &OwnedFd, mode: u32, is: u32) -> io::Result<()> {
    if mode == is { Ok(()) } else { Ok(fchmod(of, Mode::from_bits_truncate(mode))?) }
}

/// Read from /proc: asking by umask(2) would change it for a moment, for every thread.
fn umask() -> io::Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .ok_or_else(|| io::Error::other("/proc/self/status names no umask"))
}
