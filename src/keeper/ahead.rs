//! The next run's process, made while the present run lives: born in its cgroup, with its own session and terminal, up to the
//! point where it would execute the program. There it waits for a word, so that a restart that is ordered at once costs an
//! exec and no birth, which is half of the keeper's time.
//!
//! Nobody decides anything here: without the agent's order, or its permit beforehand, the word is never said. It is made only where it is likely to be
//! of use, for the same program after a crash that was answered at once, and it is let go as soon as anything is unusual.
//! It holds nothing but its socket and its terminal and ends with the keeper. It is still root, so that the workload,
//! whose user it will be, cannot touch it; and an ordinary wait(2) does not see it, so "no child is left" stays true.
use super::{
    cgroups::Groups,
    child::Word,
    launch::{self, Failure},
    layout::RunRecord,
    protocol::{Launch, LaunchStep},
    signals::Leader,
    state_file::StateFile,
    sys,
    terminal::Terminal,
};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

/// A run that is younger has other worries.
const SETTLED: Duration = Duration::from_millis(500);

/// What is known of the next run.
#[derive(Default)]
pub enum Next {
    #[default]
    Unknown,
    /// Likely the same again: worth a process at this time.
    Expected(Duration, Box<Launch>),
    Made(Box<Ahead>),
}

impl Next {
    /// The run of this order has begun, and a crash of it may be answered at once.
    pub fn expect(order: &Launch) -> Next {
        let order = Launch { run: order.run + 1, ..order.clone() };
        Next::Expected(sys::boot_time() + SETTLED, Box::new(order))
    }

    pub fn due(&self) -> Option<Duration> {
        if let Next::Expected(at, _) = self { Some(*at) } else { None }
    }

    /// Its time has come. What cannot be made ahead is made when it is ordered.
    pub fn make(&mut self, groups: &mut Groups) {
        if let Next::Expected(_, order) = std::mem::take(self) {
            *self = Ahead::make(*order, groups).map_or(Next::Unknown, |ahead| Next::Made(Box::new(ahead)));
        }
    }

    /// What its process was made for, once that waits.
    pub fn made(&self) -> Option<&Launch> {
        if let Next::Made(ahead) = self { Some(&ahead.order) } else { None }
    }

    /// The process and its terminal, ready to use, if they were made for just this order.
    pub fn take_for(&mut self, order: &Launch) -> Option<(Terminal, Waiting)> {
        match std::mem::take(self) {
            Next::Made(ahead) if ahead.order == *order => Some((ahead.terminal, ahead.child)),
            _ => None,
        }
    }
}

pub struct Ahead {
    order: Launch,
    terminal: Terminal,
    child: Waiting,
}

/// Killed when it is dropped, unless it has been called.
pub struct Waiting {
    pid: i32,
    start_ticks: u64,
    gate: OwnedFd,
    pidfd: Option<OwnedFd>,
}

impl Ahead {
    fn make(order: Launch, groups: &mut Groups) -> Option<Ahead> {
        let terminal = launch::open_terminal(&order, None).ok()?;
        let entrance = groups.entrance(&order).ok()?;
        let (gate, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).ok()?;
        let (pid, pidfd) = launch::make_ahead(&order, &entrance, &terminal, &theirs)?;
        let mut child = Waiting { pid, start_ticks: 0, gate, pidfd: Some(pidfd) };
        child.start_ticks = sys::start_ticks(pid)?;
        Some(Ahead { order, terminal, child })
    }
}

impl Waiting {
    /// Executes the program; `record` then names it, in memory and in the state file. `None`: it has not survived the wait,
    /// nothing has happened, and another must be made.
    pub fn call(mut self, state: StateFile, record: &mut RunRecord) -> Option<Result<Leader, Failure>> {
        (record.pid, record.start_ticks) = (self.pid, self.start_ticks);
        state.write_record(record);
        send(self.gate.as_raw_fd(), b"!", MsgFlags::MSG_NOSIGNAL).ok()?;
        let mut word = Word::default();
        // Our signals are blocked or ignored, so that nothing interrupts this. Its end closes with exec or with the process.
        if recv(self.gate.as_raw_fd(), &mut word, MsgFlags::MSG_WAITALL) == Ok(word.len()) {
            return Some(Err(failure(word)));
        }
        if sys::is_before_exec(self.pid) {
            return None;
        }
        let pidfd = self.pidfd.take()?;
        Some(Leader::new(self.pid, pidfd).ok_or(Failure { step: LaunchStep::Fork, errno: libc::ESRCH }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            // Gone already is as good.
            let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
            sys::reap(self.pid);
        }
    }
}

fn failure(word: Word) -> Failure {
    let [step, _, _, _, errno @ ..] = word;
    let step = LaunchStep::from_u8(step).unwrap_or(LaunchStep::Exec);
    Failure { step, errno: i32::from_le_bytes(errno) }
}
