//! A folder that is offered for reading: opened beneath its root by the kernel's own rule, whatever links lie in it.
use crate::model::catalog::ArtifactPath;
use nix::{
    dir::Dir,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use std::{
    ffi::CStr,
    fs::{File, Metadata},
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

/// Names listed of one folder.
const MOST_NAMES: usize = 10_000;

/// An open folder. Links within it are followed, links out of it are not there (openat2(2), RESOLVE_BENEATH).
#[derive(Clone)]
pub struct Shelf(Arc<OwnedFd>);

impl Shelf {
    pub fn open(root: &Path) -> io::Result<Shelf> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Shelf(Arc::new(nix::fcntl::open(root, flags, Mode::empty())?)))
    }

    /// A regular file or a folder; `None` is the root itself. Never waits for a pipe, never opens a device.
    pub fn file(&self, path: Option<&ArtifactPath>) -> io::Result<(File, Metadata)> {
        let fd = self.beneath(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        let file = File::from(fd);
        let about = file.metadata()?;
        if about.is_file() || about.is_dir() {
            return Ok((file, about));
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Names in a folder with what they are, sorted; hidden and unreadable ones are left out.
    pub fn list(&self, path: Option<&ArtifactPath>) -> io::Result<Vec<(String, Metadata)>> {
        let mut folder = Dir::from_fd(self.beneath(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)?;
        let mut found = Vec::new();
        for entry in folder.iter().take(MOST_NAMES) {
            let Some(name) = plain(entry?.file_name()) else { continue };
            let inner = match path {
                Some(path) => format!("{path}/{name}"),
                None => name.clone(),
            };
            let about = inner.parse().ok().and_then(|inner| self.file(Some(&inner)).ok());
            found.extend(about.map(|(_, about)| (name, about)));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    fn beneath(&self, path: Option<&ArtifactPath>, flags: OFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(&*self.0, path.map_or(".", ArtifactPath::as_str), how) {
            Ok(fd) => Ok(fd),
            // A link that leads out.
            Err(nix::Error::EXDEV | nix::Error::ELOOP | nix::Error::ENXIO) => Err(io::ErrorKind::NotFound.into()),
            Err(e) => Err(e.into()),
        }
    }
}

fn plain(name: &CStr) -> Option<String> {
    name.to_str().ok().filter(|name| !name.starts_with('.')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn links_stay_inside_and_odd_things_are_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("s");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/file"), "x").unwrap();
        fs::write(root.join(".secret"), "x").unwrap();
        fs::write(folder.path().join("outside"), "x").unwrap();
        symlink("a/file", root.join("inside")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink(folder.path().join("outside"), root.join("absolute")).unwrap();
        symlink("/", root.join("a/root")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::from_bits_truncate(0o644)).unwrap();
        let shelf = Shelf::open(&root).unwrap();
        let open = |path: &str| shelf.file(Some(&path.parse().unwrap())).map(|(_, about)| about.len());
        assert_eq!((open("a/file").unwrap(), open("inside").unwrap()), (1, 1));
        for path in ["out", "absolute", "a/root/etc/passwd", "pipe", "missing", "a/file/x"] {
            assert!(open(path).is_err(), "{path}");
        }
        let names = |path: Option<&str>| {
            let path = path.map(|path| path.parse().unwrap());
            shelf.list(path.as_ref()).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["a", "inside"]);
        assert_eq!(names(Some("a")), ["file"]);
        assert!(shelf.list(Some(&"inside".parse().unwrap())).is_err());
    }
}
