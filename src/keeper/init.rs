//! PID 1 of a container, when that is us: a tiny init that starts the agent as its child, forwards signals, reaps
//! every orphan, and starts the agent again if it dies. Keepers hold the workloads, so that costs a second of API.
//!
//! The agent itself cannot do this: `waitpid(-1)` in it would steal the statuses of its own children.
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid, getppid},
};
use std::{
    ffi::{OsStr, OsString},
    io::Write,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Set in the agent's environment; see [`is_above`].
pub const MARKER: &str = "ZLH_UNDER_INIT";

/// Codes with which the agent says that starting it again is of no use: wrong command line, wrong configuration.
const FINAL_CODES: [i32; 3] = [0, 2, 78];
const FORWARDED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// An agent that ran this long has earned the first delay again.
const STABLE: Duration = Duration::from_secs(60);

/// Must this process become the init? `args`: the command line without the program's name.
pub fn wanted(args: &[OsString]) -> bool {
    getpid().as_raw() == 1 && args.first().is_some_and(|word| word == "agent" || word == "up")
}

/// Is our init the parent of this process? `marker`: the value of [`MARKER`] in the environment.
pub fn is_above(marker: Option<&OsStr>) -> bool {
    marker.is_some() && getppid().as_raw() == 1
}

/// On stderr, and nowhere if that is closed: an init must not panic.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "zlh init: {what}");
}

/// The whole life of the init; the code to exit with.
pub fn run(args: &[OsString]) -> u8 {
    let program = own_path();
    let mut init = Init::new(Signals::block());
    loop {
        match start(&program, args) {
            Ok(agent) => {
                init.agent = Some(agent);
                init.started = Instant::now();
                if let Some(code) = init.until_the_agent_ends() {
                    return code;
                }
            }
            Err(e) => say(&format!("the agent {} did not start: {e}", program.display())),
        }
        if let Some(code) = init.rest() {
            return code;
        }
    }
}

/// Where this program is installed. A path and not /proc/self/exe: after an upgrade the next agent is the new one.
fn own_path() -> PathBuf {
    let path = std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    // What the kernel appends if the upgrade came first.
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(installed) => PathBuf::from(OsStr::from_bytes(installed)),
        None => path,
    }
}

fn start(program: &Path, args: &[OsString]) -> std::io::Result<Pid> {
    let run = |program: &Path| {
        let mut agent = Command::new(program);
        agent.arg0("zlh").args(args).env(MARKER, "1");
        // Our own mask must not be its: it would never hear a signal.
        // SAFETY: one async-signal-safe call.
        unsafe { agent.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?)) };
        agent.spawn()
    };
    // In the middle of an upgrade the path may be empty; the binary we run from is still there.
    let child = run(program).or_else(|_| run(Path::new("/proc/self/exe")))?;
    Ok(Pid::from_raw(child.id() as i32))
}

struct Init {
    signals: Signals,
    agent: Option<Pid>,
    started: Instant,
    delay: Duration,
    /// The signal that asked us to end, if one did.
    asked: Option<Signal>,
}

/// What came of a look at the signals.
enum Event {
    /// A child ended, or several.
    Children,
    Signal(Signal, FromTerminal),
    Nothing,
}

type FromTerminal = bool;

impl Init {
    fn new(signals: Signals) -> Init {
        Init { signals, agent: None, started: Instant::now(), delay: FIRST_DELAY, asked: None }
    }

    /// `Some(code)`: the agent's end is ours too. `None`: it is to be started again.
    fn until_the_agent_ends(&mut self) -> Option<u8> {
        loop {
            match self.signals.wait(None) {
                Event::Signal(signal, from_terminal) => self.forward(signal, from_terminal),
                Event::Children => {
                    if let Some(status) = self.reap() {
                        return self.verdict(status);
                    }
                }
                Event::Nothing => {}
            }
        }
    }

    /// A terminal sends its signals to the whole group, so the agent has those already.
    fn forward(&mut self, signal: Signal, from_terminal: bool) {
        if matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT) {
            self.asked = Some(signal);
        }
        // The agent is our child and not yet reaped, so the number is still its own.
        if let Some(agent) = self.agent.filter(|_| !from_terminal)
            && let Err(e) = kill(agent, signal)
        {
            say(&format!("{signal} did not reach the agent: {e}"));
        }
    }

    /// Takes every child that has ended; the agent's status if it is among them.
    fn reap(&mut self) -> Option<WaitStatus> {
        let mut ours = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ours,
                Ok(status) if status.pid().is_some() && status.pid() == self.agent => {
                    self.agent = None;
                    ours = Some(status);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn verdict(&mut self, status: WaitStatus) -> Option<u8> {
        let last_word = match status {
            WaitStatus::Exited(_, code) if FINAL_CODES.contains(&code) || self.asked.is_some() => Some(code as u8),
            WaitStatus::Signaled(_, signal, _) if self.asked.is_some() => Some(128 + signal as u8),
            _ => None,
        };
        if last_word.is_none() {
            if self.started.elapsed() >= STABLE {
                self.delay = FIRST_DELAY;
            }
            say(&format!("the agent ended ({status:?}); starting it again in {:?}", self.delay));
        }
        last_word
    }

    /// Waits before the next try, reaping on. `Some(code)`: told to end meanwhile.
    fn rest(&mut self) -> Option<u8> {
        let until = Instant::now() + self.delay;
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            match self.signals.wait(Some(left)) {
                Event::Signal(signal @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT), _) => {
                    return Some(128 + signal as u8);
                }
                Event::Children => {
                    self.reap();
                }
                Event::Signal(..) | Event::Nothing => {}
            }
        }
    }
}

/// The signals we wait for, blocked so that none is lost.
struct Signals(SigSet);

impl Signals {
    fn block() -> Signals {
        let mut set = SigSet::empty();
        FORWARDED.into_iter().chain([Signal::SIGCHLD]).for_each(|s| set.add(s));
        if let Err(e) = set.thread_block() {
            say(&format!("signals could not be blocked: {e}"));
        }
        Signals(set)
    }

    fn wait(&self, at_most: Option<Duration>) -> Event {
        let ts =
            at_most.map(|t| libc::timespec { tv_sec: t.as_secs() as libc::time_t, tv_nsec: t.subsec_nanos().into() });
        // SAFETY: siginfo is plain data; all pointers outlive the call.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let number =
            unsafe { libc::sigtimedwait(self.0.as_ref(), &mut info, ts.as_ref().map_or(std::ptr::null(), |t| t)) };
        match Signal::try_from(number) {
            Ok(Signal::SIGCHLD) => Event::Children,
            Ok(signal) => Event::Signal(signal, info.si_code == libc::SI_KERNEL),
            Err(_) => Event::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(asked: Option<Signal>, status: WaitStatus) -> Option<u8> {
        Init { asked, ..Init::new(Signals(SigSet::empty())) }.verdict(status)
    }

    #[test]
    fn the_agent_is_started_again_unless_its_end_was_wanted_or_final() {
        let pid = Pid::from_raw(7);
        let exited = |code| WaitStatus::Exited(pid, code);
        let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
        for (asked, status, want) in [
            (None, exited(0), Some(0)),
            (None, exited(2), Some(2)),
            (None, exited(78), Some(78)),
            (None, exited(1), None),
            (None, exited(70), None),
            (None, killed, None),
            (Some(Signal::SIGTERM), exited(1), Some(1)),
            (Some(Signal::SIGTERM), killed, Some(137)),
        ] {
            assert_eq!(verdict(asked, status), want, "{asked:?} {status:?}");
        }
    }

    #[test]
    fn only_pid_one_of_a_server_becomes_the_init() {
        assert!(!wanted(&["agent".into()]), "this test is not PID 1");
        assert!(!is_above(None));
    }
}
