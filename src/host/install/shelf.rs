//! The versions of one thing side by side: `<folder>/<version>/`, and `<folder>/current`, which names the one in use.
use super::{
    in_use::{Users, users_of},
    manifest::{Installed, Manifest},
    staging,
};
use crate::{host::failpoint, model::catalog};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// The link to the active version.
const CURRENT: &str = "current";

/// A folder of versions, such as `/opt/zlh/runtimes/node`.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("{} is not installed", .0.display())]
    Absent(PathBuf),
    #[error("{} is the active version; activate another one first", .0.display())]
    Active(PathBuf),
    #[error("{} is in use by {}; stop them first", path.display(), told(users))]
    InUse { path: PathBuf, users: Users },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn told(users: &Users) -> String {
    let names: Vec<String> = users.seen.iter().map(|user| format!("{} ({})", user.name, user.pid)).collect();
    names.join(", ")
}

impl Shelf {
    /// `folder` is absolute; it need not be there.
    pub fn at(folder: impl Into<PathBuf>) -> Shelf {
        Shelf { folder: folder.into() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a version lies or is to lie. Fails for what is no name of a version.
    pub fn place(&self, version: &str) -> io::Result<PathBuf> {
        let name = catalog::version(version).map_err(io::Error::other)?;
        if name == CURRENT {
            return Err(io::Error::other("\"current\" is no version"));
        }
        Ok(self.folder.join(name))
    }

    /// The versions that are whole. One whose manifest cannot be read is named in the log and left out.
    pub fn versions(&self) -> io::Result<Vec<Installed>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let named = entry.file_name().to_str().is_some_and(|name| self.place(name).is_ok());
            if !named || !entry.file_type()?.is_dir() {
                continue;
            }
            match Installed::read(&entry.path()) {
                Ok(installed) => found.extend(installed),
                Err(e) => tracing::warn!(error = %e, "an installed version is left out"),
            }
        }
        found.sort_by(|a, b| a.label.version.cmp(&b.label.version));
        Ok(found)
    }

    pub fn manifest(&self, version: &str) -> io::Result<Option<Manifest>> {
        Manifest::read(&self.place(version)?)
    }

    /// The version that `current` names, if that is installed.
    pub fn active(&self) -> io::Result<Option<String>> {
        match fs::read_link(self.folder.join(CURRENT)) {
            Ok(to) => {
                let version = to.to_str().filter(|v| self.place(v).is_ok_and(|place| place.is_dir()));
                Ok(version.map(str::to_owned))
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes `current` name `version`, which must be whole, at once for everyone and for good.
    pub fn activate(&self, version: &str) -> io::Result<()> {
        let place = self.place(version)?;
        if Installed::read(&place)?.is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not installed", place.display())));
        }
        let fresh = self.folder.join(format!(".zlh-current-{}", Uuid::new_v4().simple()));
        symlink(version, &fresh)?;
        failpoint::reach("install.linked");
        fs::rename(&fresh, self.folder.join(CURRENT)).inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Who uses this version.
    pub fn users(&self, version: &str) -> io::Result<Users> {
        users_of(&self.place(version)?)
    }

    /// Takes a version away, unless it is active or in use; it is deleted when the trash is emptied. `force`: also one that
    /// is in use (programs that run keep what they have open). Hidden processes are told and do not prevent it.
    pub fn remove(&self, version: &str, force: bool) -> Result<Users, RemoveError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| RemoveError::Io { path, source }
        };
        let place = self.place(version).map_err(io(&self.folder))?;
        if place.symlink_metadata().is_err() {
            return Err(RemoveError::Absent(place));
        }
        if self.active().map_err(io(&place))?.as_deref() == Some(version) {
            return Err(RemoveError::Active(place));
        }
        let users = users_of(&place).map_err(io(&place))?;
        if !users.seen.is_empty() && !force {
            return Err(RemoveError::InUse { path: place, users });
        }
        staging::discard(&place, &place).map_err(io(&place))?;
        Ok(users)
    }

    /// Cleans up after installs that were killed ([`super::sweep`]), and after a switch that was.
    pub fn sweep(&self) -> io::Result<staging::Swept> {
        let swept = staging::sweep(&self.folder)?;
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(swept),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(".zlh-current-") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(swept)
    }

    /// Deletes what was removed or replaced. Blocking and long.
    pub fn empty_trash(&self, stop: impl Fn() -> bool) -> io::Result<u64> {
        staging::empty_trash(&self.folder, stop)
    }
}
