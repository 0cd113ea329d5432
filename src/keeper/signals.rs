//! Signals go to exactly the process meant: through its pidfd, or to a group that is proved to be its own.
use super::sys;
use nix::{
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    sys::signalfd::{SfdFlags, SignalFd},
    unistd::{Pid, getpgid},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// The main process of a run. Its number is never 0, 1 or negative.
pub struct Leader {
    pid: i32,
    pidfd: OwnedFd,
}

impl Leader {
    pub fn new(pid: i32, pidfd: OwnedFd) -> Option<Leader> {
        (pid > 1).then_some(Leader { pid, pidfd })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// To the process alone. SIGCONT follows, or a stopped process would never hear it.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        sys::pidfd_signal(self.pidfd(), signal)?;
        let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal);
        if stops || signal == libc::SIGKILL || signal == libc::SIGCONT {
            return Ok(());
        }
        match sys::pidfd_signal(self.pidfd(), libc::SIGCONT) {
            Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err(e),
            _ => Ok(()),
        }
    }

    /// To its process group, as long as the process leads one.
    pub fn signal_group(&self, signal: i32) -> io::Result<()> {
        sys::pidfd_signal(self.pidfd(), 0)?;
        let group = getpgid(Some(Pid::from_raw(self.pid)))?;
        if group.as_raw() != self.pid {
            return Err(io::Error::other("the process no longer leads a group of its own"));
        }
        // SAFETY: pid is greater than 1 (see `new`), so this names one group.
        if unsafe { libc::killpg(self.pid, signal) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// Signals that would end the keeper and are not meant for it: it lives as long as its workload needs it.
const DEAF_TO: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGPIPE,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// Sets the keeper's own dispositions; the descriptor becomes readable when a child ends.
pub fn prepare() -> Result<SignalFd, nix::errno::Errno> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in DEAF_TO {
        // SAFETY: no handler code is installed.
        unsafe { sigaction(signal, &ignore) }?;
    }
    // An inherited "ignore" would let the kernel reap our children before we have their status.
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::SA_NOCLDSTOP, SigSet::empty());
    // SAFETY: as above.
    unsafe { sigaction(Signal::SIGCHLD, &default) }?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_set_mask()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_leader_has_a_number_that_means_many() {
        for pid in [1, 0, -1, -77] {
            let own = sys::pidfd_open(std::process::id() as i32).unwrap();
            assert!(Leader::new(pid, own).is_none(), "{pid}");
        }
    }

    #[test]
    fn a_process_that_leads_no_group_gets_no_group_signal() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let leader = Leader::new(pid, sys::pidfd_open(pid).unwrap()).unwrap();
        assert!(leader.signal_group(libc::SIGKILL).is_err());
        leader.signal(libc::SIGKILL).unwrap();
        child.wait().unwrap();
        assert_eq!(leader.signal(libc::SIGTERM).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
