//! The pseudo terminal of one run.
use super::sys;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    pty::{PtyMaster, posix_openpt},
    sys::termios::{InputFlags, LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr},
    unistd::{Gid, Uid, fchown},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Both sides. The keeper holds the slave too: a program that closes its own output must not look like a hang-up.
pub struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Terminal {
    pub fn open() -> io::Result<Terminal> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master: OwnedFd = PtyMaster::into(posix_openpt(flags)?);
        let unlock: libc::c_int = 0;
        // SAFETY: reads one int.
        if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Terminal::from_master(master)
    }

    /// Finds the other side of a master that an earlier keeper opened.
    pub fn from_master(master: OwnedFd) -> io::Result<Terminal> {
        let slave = open_slave(&master)?;
        let flags = nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_GETFL)?;
        let flags = OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(flags))?;
        Ok(Terminal { master, slave })
    }

    /// After somebody hung up on all who had it open.
    pub fn open_slave_again(&mut self) -> io::Result<()> {
        self.slave = open_slave(&self.master)?;
        Ok(())
    }

    /// Raw for games: a line of any length arrives whole and no byte is a command to the terminal. Only Enter becomes the
    /// newline that games wait for: browser terminals send it as a carriage return. Otherwise the usual ways, but never
    /// flow control, which lets one byte stop the program's output for good.
    pub fn set_mode(&self, raw: bool) -> Result<(), Errno> {
        let mut modes = tcgetattr(&self.slave)?;
        modes.input_flags.remove(InputFlags::IXON | InputFlags::IXOFF);
        if raw {
            modes.input_flags.remove(InputFlags::INLCR | InputFlags::IGNCR | InputFlags::ISTRIP);
            modes.input_flags.insert(InputFlags::ICRNL);
            modes.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
            modes.output_flags.remove(OutputFlags::ONLCR);
        } else {
            modes.input_flags.insert(InputFlags::IUTF8);
        }
        tcsetattr(&self.slave, SetArg::TCSANOW, &modes)
    }

    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: reads one winsize.
        if unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// So that the workload's user may open its own terminal by name (`> /dev/stderr` in a start script does).
    pub fn give_to(&self, uid: u32, gid: u32) -> Result<(), Errno> {
        fchown(&self.slave, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }

    /// One `write(2)` of input: how many bytes the terminal took, 0 if it takes none now.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match nix::unistd::write(&self.master, bytes) {
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            other => other.map_err(io::Error::from),
        }
    }

    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    pub fn slave(&self) -> BorrowedFd<'_> {
        self.slave.as_fd()
    }
}

/// By ioctl and not by path: no race with another devpts, and no /dev/pts needed in our own mount namespace.
fn open_slave(master: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: a new descriptor that nobody else owns.
    unsafe {
        let fd = libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// What came of reading a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    pub bytes: usize,
    /// Not all that was there: nobody else will say that there is more.
    pub more: bool,
}

/// Reads what is there into the ring, up to `most` bytes, and no further than a read that gave `enough` or less. A read
/// that gave less than it could have has emptied the terminal: what comes later is news.
pub fn drain(state: super::state_file::StateFile, master: BorrowedFd<'_>, most: usize, enough: usize) -> Drained {
    let mut bytes = 0;
    while bytes < most {
        let room = super::ring::room(state);
        match super::ring::fill(state, master) {
            super::ring::Filled::Bytes(n) => {
                bytes += n;
                if n <= enough && n < room {
                    return Drained { bytes, more: false };
                }
            }
            super::ring::Filled::Dry | super::ring::Filled::Closed => return Drained { bytes, more: false },
        }
    }
    Drained { bytes, more: true }
}

/// The errno of an I/O error, for reports.
pub fn errno_of(e: &io::Error) -> i32 {
    e.raw_os_error().unwrap_or_else(sys::last_errno)
}
