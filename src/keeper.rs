//! Who holds a workload: a small single-threaded process that owns PTY, child and exit status of one workload
//! while agents come and go. std, nix and libc only; no async, no JSON, no policy.
//!
//! `zlh keeper --dir DIR` takes the folder's lock for life, maps the state file, binds the socket, serves whoever sits
//! at the other end of descriptor 3, and leaves when no run is alive and the agent has gone. What it promises: the
//! terminal is always read, so nobody can make the program wait; a program that runs is named by a record in the state
//! file before its first instruction; its end is recorded before anybody hears of it; whatever it leaves behind is ended.
pub mod init;
pub mod layout;
pub mod protocol;

mod ahead;
mod between;
mod birth;
mod cgroups;
mod child;
mod client;
mod failpoint;
mod input;
mod launch;
mod notes;
mod orders;
mod ring;
mod run;
mod segments;
mod serve;
mod signals;
mod state_file;
mod sys;
mod terminal;
mod tree;
mod trim;
mod watch;

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag, open},
    sys::{
        prctl,
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket, sockopt},
        stat::{Mode, umask},
    },
    unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::fd::{FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

/// Exit codes, after sysexits.h.
pub const EXIT_USAGE: u8 = 64;
pub const EXIT_SET_UP: u8 = 74;
/// Another keeper holds the folder.
pub const EXIT_LOCKED: u8 = 75;

/// A keeper killed in the middle of a launch leaves the lock to the child until that executes its program.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// First client, if the one who started us left a socket there.
const FIRST_CLIENT: i32 = 3;

/// Is this command line (without the program's name) a keeper's? Asked before anything else in `main` runs.
pub fn invoked(args: &[OsString]) -> Option<Result<PathBuf, String>> {
    match args {
        [word, rest @ ..] if word == "keeper" => Some(match rest {
            [flag, dir] if flag == "--dir" => Ok(PathBuf::from(dir)),
            _ => Err("usage: zlh keeper --dir DIR (started by the agent, not by hand)".into()),
        }),
        _ => None,
    }
}

/// The whole life of a keeper; its exit code.
pub fn run(dir: &Path) -> u8 {
    let first = first_client();
    match set_up(dir, first) {
        Ok(mut keeper) => {
            keeper.serve();
            // The lock is still held, so this socket is ours; a leftover would only make an agent knock in vain.
            let _ = std::fs::remove_file(dir.join(layout::SOCKET_FILE));
            0
        }
        Err(SetUpError::Locked) => {
            say(&format!("{} is held by another keeper", dir.display()));
            EXIT_LOCKED
        }
        Err(SetUpError::Step(step, e)) => {
            say(&format!("could not {step} in {}: {e}", dir.display()));
            EXIT_SET_UP
        }
    }
}

/// On stderr, and nowhere if that is closed: `eprintln` would panic.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "zlh keeper: {what}");
}

enum SetUpError {
    Locked,
    Step(&'static str, io::Error),
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> SetUpError {
    move |e| SetUpError::Step(step, e.into())
}

/// Lock, state, socket, then the process's own ways. What fails is said on stderr, so stdio goes to /dev/null last.
fn set_up(dir: &Path, first: Option<OwnedFd>) -> Result<serve::Keeper, SetUpError> {
    // Relative names from here on: a socket's path may have 107 bytes, a folder's more.
    chdir(dir).map_err(failed("enter the folder"))?;
    umask(Mode::from_bits_truncate(0o077));
    take_lock()?;
    let state = state_file::StateFile::open(Path::new(layout::STATE_FILE)).map_err(failed("set up the state file"))?;
    failpoint::reach(c"keeper.after_state_alloc").map_err(failed("reach a failpoint"))?;
    let listener = listen_here().map_err(failed("bind the socket"))?;
    failpoint::reach(c"keeper.after_bind").map_err(failed("reach a failpoint"))?;
    chdir("/").map_err(failed("leave the folder"))?;
    let children = signals::prepare().map_err(failed("set up signals"))?;
    prctl::set_child_subreaper(true).map_err(failed("become the reaper"))?;
    become_inconspicuous().map_err(failed("detach"))?;
    let mut keeper = serve::Keeper::new(state, listener, children, first);
    // What an earlier keeper had not yet written goes to disk.
    if let Some(notes) = notes::Notes::load(state) {
        orders::take_up_log(&mut keeper, &notes);
    }
    Ok(keeper)
}

/// Own session, name, no terminal, last in line for the OOM killer.
fn become_inconspicuous() -> io::Result<()> {
    // Refused only to the leader of a group, which is detached enough.
    let _ = setsid();
    prctl::set_name(c"zlh-keeper")?;
    // Needs privilege; without it the keeper is as likely a victim as any small process.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

fn take_lock() -> Result<(), SetUpError> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut file: File =
        open(layout::LOCK_FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed("open the lock"))?.into();
    let deadline = sys::boot_time() + LOCK_PATIENCE;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                // Held until the process ends, however it ends.
                Box::leak(Box::new(lock));
                return Ok(());
            }
            Err((_, Errno::EWOULDBLOCK)) if sys::boot_time() >= deadline => return Err(SetUpError::Locked),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, e)) => return Err(SetUpError::Step("take the lock", e.into())),
        };
        sys::poll(&mut [], Some(LOCK_PAUSE));
    }
}

fn listen_here() -> io::Result<OwnedFd> {
    match std::fs::remove_file(layout::SOCKET_FILE) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &UnixAddr::new(layout::SOCKET_FILE)?)?;
    listen(&listener, Backlog::new(8)?)?;
    Ok(listener)
}

/// Descriptor 3 if it is a socket. Whatever else came along is closed: it is nobody's business here.
fn first_client() -> Option<OwnedFd> {
    // SAFETY: nothing in this process has opened a descriptor yet, so 3 and above are only what we inherited.
    unsafe {
        libc::close_range(4, u32::MAX, 0);
        if libc::fcntl(FIRST_CLIENT, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return None;
        }
        let fd = OwnedFd::from_raw_fd(FIRST_CLIENT);
        getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream).then_some(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_command_line_is_a_keeper() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(invoked(&args(&["keeper", "--dir", "/run/x"])), Some(Ok(PathBuf::from("/run/x"))));
        assert_eq!(invoked(&args(&["agent"])), None);
        assert_eq!(invoked(&args(&[])), None);
        for bad in [&["keeper"][..], &["keeper", "--dir"], &["keeper", "--help"], &["keeper", "--dir", "a", "b"]] {
            assert!(matches!(invoked(&args(bad)), Some(Err(_))), "{bad:?}");
        }
    }
}
