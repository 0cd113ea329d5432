//! The folder of one keeper: where its socket, lock and state file are, however long the path to it is.
use crate::keeper::layout::SOCKET_FILE;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
        stat::Mode,
    },
};
use std::{
    fs::DirBuilder,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Folder {
        Folder { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// A connection to the keeper that listens here; `None` if nobody does.
    ///
    /// A socket's address has 107 bytes, and a root folder may be deeper than that: the way leads through a descriptor.
    pub(super) fn connect(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = match open(&self.path, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::ENOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let address = UnixAddr::new(&PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_FILE}", folder.as_raw_fd())))?;
        // Not blocking: a keeper that is stopped must not stop us when its queue is full.
        let socket_flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, socket_flags, None)?;
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => Ok(Some(socket)),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_deep_folder_can_be_reached_and_an_empty_one_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        let folder = Folder::new(deep.clone());
        assert!(folder.connect().unwrap().is_none(), "no folder");
        folder.create().unwrap();
        folder.create().unwrap();
        assert!(folder.connect().unwrap().is_none(), "no socket");
        let here = std::fs::File::open(&deep).unwrap();
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/sock", here.as_raw_fd())).unwrap();
        assert!(folder.connect().unwrap().is_some());
        drop(listener);
        assert!(folder.connect().unwrap().is_none(), "its file is there, but nobody listens");
    }
}
