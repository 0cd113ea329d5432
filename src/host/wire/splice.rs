//! Bytes from one socket to another without a way through our memory: splice(2), through a pipe that holds the pages.
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    task::{Context, Poll, ready},
};
use tokio::{io::Interest, net::TcpStream};

/// Room of the pipe where the system allows it; else it has the system's own, which serves as well with more turns.
const ROOM: i32 = 1 << 20;

/// What is between two sockets.
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    pub fn new() -> io::Result<Pipe> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        if let Err(why) = fcntl(&write, FcntlArg::F_SETPIPE_SZ(ROOM)) {
            tracing::trace!(%why, "a pipe keeps its usual size");
        }
        Ok(Pipe { read, write, held: 0 })
    }

    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes at most `most` bytes from a socket into the empty pipe; 0 when the socket has ended.
    pub fn poll_fill(&mut self, from: &TcpStream, most: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(ROOM as usize);
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || moved(from, &self.write, most)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                filled => {
                    let filled = filled?;
                    self.held += filled;
                    return Poll::Ready(Ok(filled));
                }
            }
        }
    }

    /// Gives what is in the pipe to a socket, as much as it takes.
    pub fn poll_drain(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || moved(&self.read, to, self.held)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                drained => {
                    let drained = drained?;
                    self.held -= drained;
                    return Poll::Ready(Ok(drained));
                }
            }
        }
    }
}

fn moved(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        match splice(&from, None, &to, None, most, flags) {
            Err(Errno::EINTR) => {}
            moved => return Ok(moved?),
        }
    }
}
