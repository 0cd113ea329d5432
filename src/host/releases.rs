//! The agent's own programs: `opt/zlh-agent/releases/<version>/zlh`, side by side, and the link `current` to one of them.
use crate::model::catalog::{self, Digest};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

const PROGRAM: &str = "zlh";

/// Everything here is blocking.
#[derive(Clone, Debug)]
pub struct Releases {
    folder: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("version {version} is here already with other content (SHA-256 {known}); a version is never reused")]
    Reused { version: String, known: Digest },
    #[error("the program of version {version} changed while it was copied (SHA-256 {found}); fetch it again")]
    Changed { version: String, found: Digest },
    #[error("version {0} is not here")]
    Missing(String),
    #[error("{0}")]
    BadName(#[from] catalog::NotAName),
}

impl Releases {
    /// `home` is `opt/zlh-agent` beneath the agent's root.
    pub fn at(home: impl Into<PathBuf>) -> Releases {
        Releases { folder: home.into() }
    }

    /// The program of a version.
    pub fn program(&self, version: &str) -> Result<PathBuf, ReleaseError> {
        Ok(self.folder.join("releases").join(catalog::version(version)?).join(PROGRAM))
    }

    /// What `current` points at; `None` if there is no such link (an agent that was put there by a package, say).
    pub fn current(&self) -> Result<Option<String>, ReleaseError> {
        let link = self.folder.join("current");
        let target = match fs::read_link(&link) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => return Ok(None),
            other => other.map_err(failed(&link))?,
        };
        Ok(target.file_name().and_then(|name| name.to_str()).map(str::to_owned))
    }

    /// Takes a program in: whole, durable and executable, or not at all. The same content may be there already.
    pub fn keep(&self, version: &str, program: &Path, digest: &Digest) -> Result<PathBuf, ReleaseError> {
        let target = self.program(version)?;
        if let Some(known) = digest_at(&target)? {
            let version = version.to_owned();
            return if known == *digest { Ok(target) } else { Err(ReleaseError::Reused { version, known }) };
        }
        let folder = target.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let fresh = folder.join(".zlh.new");
        fs::copy(program, &fresh).map_err(failed(&fresh))?;
        let copied = digest_at(&fresh)?.ok_or_else(|| ReleaseError::Missing(version.to_owned()))?;
        if copied != *digest {
            fs::remove_file(&fresh).map_err(failed(&fresh))?;
            return Err(ReleaseError::Changed { version: version.to_owned(), found: copied });
        }
        let settle = || {
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
            File::open(&fresh)?.sync_all()?;
            fs::rename(&fresh, &target)?;
            File::open(folder)?.sync_all()
        };
        settle().map_err(failed(&target))?;
        Ok(target)
    }

    /// Points `current` at a version that is here, in one step: at every moment it points at the old or the new one.
    pub fn switch(&self, version: &str) -> Result<(), ReleaseError> {
        if !self.program(version)?.is_file() {
            return Err(ReleaseError::Missing(version.to_owned()));
        }
        let (link, fresh) = (self.folder.join("current"), self.folder.join(".current.new"));
        match fs::remove_file(&fresh) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&fresh)(e)),
            Ok(()) | Err(_) => {}
        }
        let switched = || {
            symlink(Path::new("releases").join(version), &fresh)?;
            fs::rename(&fresh, &link)?;
            File::open(&self.folder)?.sync_all()
        };
        switched().map_err(failed(&link))
    }

    /// Removes all but these versions.
    pub fn prune(&self, keep: &[&str]) -> Result<(), ReleaseError> {
        let releases = self.folder.join("releases");
        let entries = match fs::read_dir(&releases) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed(&releases))?,
        };
        for entry in entries {
            let path = entry.map_err(failed(&releases))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_none_or(|name| !keep.contains(&name)) {
                fs::remove_dir_all(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }
}

fn digest_at(path: &Path) -> Result<Option<Digest>, ReleaseError> {
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => {
            opened.and_then(|mut file| super::artifact_store::digest_of(&mut file)).map(Some).map_err(failed(path))
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ReleaseError {
    let path = path.to_owned();
    move |source| ReleaseError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(folder: &Path, content: &[u8]) -> (PathBuf, Digest) {
        let path = folder.join("fetched");
        fs::write(&path, content).unwrap();
        let digest = super::super::artifact_store::digest_of(&mut &content[..]).unwrap();
        (path, digest)
    }

    #[test]
    fn versions_lie_side_by_side_and_current_means_one() {
        let folder = tempfile::tempdir().unwrap();
        let releases = Releases::at(folder.path().join("home"));
        assert_eq!(releases.current().unwrap(), None);
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            let (program, digest) = offered(folder.path(), version.as_bytes());
            let kept = releases.keep(version, &program, &digest).unwrap();
            assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o755);
            releases.switch(version).unwrap();
            assert_eq!(releases.current().unwrap().as_deref(), Some(version));
            assert_eq!(fs::read(folder.path().join("home/current/zlh")).unwrap(), version.as_bytes());
        }
        releases.switch("1.0.0").unwrap();
        releases.prune(&["1.0.0", "1.2.0"]).unwrap();
        assert!(matches!(releases.switch("1.1.0"), Err(ReleaseError::Missing(_))));
        assert_eq!(releases.current().unwrap().as_deref(), Some("1.0.0"));
        assert!(matches!(releases.switch("../1.0.0"), Err(ReleaseError::BadName(_))));
    }

    #[test]
    fn a_version_is_never_reused() {
        let folder = tempfile::tempdir().unwrap();
        let releases = Releases::at(folder.path().join("home"));
        let (program, digest) = offered(folder.path(), b"one");
        releases.keep("1.0.0", &program, &digest).unwrap();
        releases.keep("1.0.0", &program, &digest).unwrap();
        let (program, digest) = offered(folder.path(), b"two");
        assert!(matches!(releases.keep("1.0.0", &program, &digest), Err(ReleaseError::Reused { .. })));
        assert_eq!(fs::read(releases.program("1.0.0").unwrap()).unwrap(), b"one");
    }

    #[test]
    fn a_torn_link_or_copy_of_a_killed_agent_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let releases = Releases::at(folder.path().join("home"));
        fs::create_dir_all(folder.path().join("home/releases/1.0.0")).unwrap();
        fs::write(folder.path().join("home/releases/1.0.0/.zlh.new"), "half").unwrap();
        symlink("releases/nowhere", folder.path().join("home/.current.new")).unwrap();
        let (program, digest) = offered(folder.path(), b"one");
        releases.keep("1.0.0", &program, &digest).unwrap();
        releases.switch("1.0.0").unwrap();
        assert_eq!(fs::read(folder.path().join("home/current/zlh")).unwrap(), b"one");
        assert!(!folder.path().join("home/releases/1.0.0/.zlh.new").exists());
    }
}
