//! Processes by their true name: pid, start time and boot. Every signal goes through a type that has checked whom it hits.
use super::clock::BootId;
use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
};
use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};
use tokio::io::{Interest, unix::AsyncFd};

pub mod scan;
mod stat;
mod tree;
pub use stat::Stat;
pub use tree::{OrphanReaper, descendants, is_descendant_of_this, session_members};

/// Who a process is, also after its pid was given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
    pub boot_id: BootId,
}

impl Identity {
    /// Reads who holds `pid` now; `None` if nobody does.
    pub fn of(pid: i32) -> io::Result<Option<Identity>> {
        let Some(stat) = Stat::read(pid)? else { return Ok(None) };
        Ok(Some(Identity { pid, start_ticks: stat.start_ticks, boot_id: BootId::current()? }))
    }

    /// It exists and has not ended: a zombie does not live.
    pub fn lives(&self) -> bool {
        let stat = Stat::read(self.pid).ok().flatten();
        stat.is_some_and(|s| !s.is_zombie()) && self.is_current().unwrap_or(false)
    }

    fn is_current(&self) -> io::Result<bool> {
        Ok(Identity::of(self.pid)?.is_some_and(|now| now == *self))
    }
}

/// A handle that never means another process. Readable once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process `who` names; `None` if it is gone or its pid belongs to another now.
    /// The handle is taken first and the name checked second, so the pid cannot change hands in between.
    pub fn open(who: &Identity) -> io::Result<Option<PidFd>> {
        match PidFd::open_unchecked(who.pid) {
            Ok(fd) if who.is_current()? => Ok(Some(fd)),
            Ok(_) => Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A pidfd someone else opened and sent.
    pub fn from_fd(fd: OwnedFd) -> PidFd {
        PidFd(fd)
    }

    fn open_unchecked(pid: i32) -> io::Result<PidFd> {
        if pid <= 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("pid {pid} is never ours")));
        }
        // SAFETY: no pointers are passed; a non-negative result is a new descriptor nobody else owns.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, libc::PIDFD_NONBLOCK);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(PidFd(OwnedFd::from_raw_fd(fd as i32))) }
        }
    }

    /// Sends a signal; `false` if the process has ended already.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is ours, and a null siginfo is allowed by pidfd_send_signal(2).
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal as i32, none, 0) };
        match (sent, Errno::last()) {
            (0, _) => Ok(true),
            (_, Errno::ESRCH) => Ok(false),
            (_, e) => Err(e.into()),
        }
    }

    /// Takes the status of an ended child of this process; `None` while it lives. Fails with ECHILD for anyone else's.
    pub fn reap(&self) -> io::Result<Option<Ended>> {
        let status = waitid(Id::PIDFd(self.0.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        match status {
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(Ended::Code(code))),
            Ok(WaitStatus::Signaled(_, signal, core)) => Ok(Some(Ended::Signal(signal as i32, core))),
            Ok(_) | Err(Errno::EAGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// How a process ended that was somebody else's child and has been reaped (Linux 6.15 and later, else `None`).
    pub fn status_after_reap(&self) -> Option<Ended> {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: `info` has the size encoded in the request and lives across the call.
        let asked = unsafe { libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO, &mut info) };
        (asked == 0 && info.mask & PIDFD_INFO_EXIT != 0).then(|| Ended::from_wait_status(info.exit_code))
    }

    /// Resolves when the process has ended (it may still be a zombie). Works for any process, not only children.
    pub async fn gone(&self) -> io::Result<()> {
        // SAFETY: a duplicate of its own, which the AsyncFd owns and nothing closes before it.
        let fd = unsafe { AsyncFd::register_with_interest(self.0.try_clone()?, Interest::READABLE)? };
        fd.readable().await.map(|_| ())
    }

    /// The descriptor itself, to be handed to another process.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    pub fn try_clone(&self) -> io::Result<PidFd> {
        self.0.try_clone().map(PidFd)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What wait(2) says about an ended process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    /// Signal number, core dumped.
    Signal(i32, bool),
}

impl Ended {
    fn from_wait_status(raw: i32) -> Ended {
        match libc::WIFSIGNALED(raw) {
            true => Ended::Signal(libc::WTERMSIG(raw), libc::WCOREDUMP(raw)),
            false => Ended::Code(libc::WEXITSTATUS(raw)),
        }
    }
}

/// `struct pidfd_info`, first published size (linux/pidfd.h).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
const PIDFD_GET_INFO: libc::Ioctl = nix::request_code_readwrite!(0xFF, 11, size_of::<PidfdInfo>()) as libc::Ioctl;

/// A process group that was checked to be led by a known process: never 0, 1 or negative, never our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessGroup(i32);

impl ProcessGroup {
    /// The group `leader` leads; `None` if it has ended, is someone else now, or leads no group.
    pub fn led_by(leader: &Identity) -> io::Result<Option<ProcessGroup>> {
        let Some(stat) = Stat::read(leader.pid)? else { return Ok(None) };
        let ours = stat.group == nix::unistd::getpgrp().as_raw();
        let leads = stat.group == leader.pid && leader.pid > 1 && !ours;
        Ok((leads && leader.is_current()?).then_some(ProcessGroup(leader.pid)))
    }

    /// `false` if nobody is left in the group.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        match nix::sys::signal::killpg(nix::unistd::Pid::from_raw(self.0), signal) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// Makes orphaned descendants children of this process, so that their exit status reaches us.
pub fn set_child_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Lines of a `/proc` file that lists pids.
fn pids_in(path: &str) -> Vec<i32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|p| p.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
