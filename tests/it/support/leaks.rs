//! Which processes belong to a test, and how to end them safely: by pidfd, after a second look at who it is.
use std::{
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

/// A living process that belongs to a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    pub pid: i32,
    pub command: String,
}

/// Living processes, other than this one, that carry `marker` (a sandbox's folder or id) in their command line,
/// environment, program or working directory.
pub fn strays(marker: &str) -> Vec<Stray> {
    let own = std::process::id() as i32;
    let entries = fs::read_dir("/proc").expect("/proc can be listed");
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own).filter_map(|pid| belongs(pid, marker)).collect()
}

/// Looks once; a process that goes away meanwhile is none. Zombies have nothing of this left and are none either.
fn belongs(pid: i32, marker: &str) -> Option<Stray> {
    let dir = Path::new("/proc").join(pid.to_string());
    let command = fs::read(dir.join("cmdline")).ok()?;
    let environment = fs::read(dir.join("environ")).unwrap_or_default();
    let links = ["exe", "cwd"].map(|l| fs::read_link(dir.join(l)).unwrap_or_default());
    let named = [&command, &environment].iter().any(|bytes| contains(bytes, marker.as_bytes()));
    let lives = named || links.iter().any(|l| l.to_string_lossy().contains(marker));
    lives.then(|| Stray { pid, command: String::from_utf8_lossy(&command).replace('\0', " ") })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

/// Kills every process of this marker until none is left; those that came and went while it did so are fine.
pub fn end_all(marker: &str) {
    super::eventually_now(std::time::Duration::from_secs(60), || {
        let left = strays(marker);
        left.iter().for_each(|s| kill(s.pid, marker));
        left.is_empty().then_some(())
    });
}

/// SIGKILL through a pidfd: between the second look and the signal the pid cannot become somebody else's.
fn kill(pid: i32, marker: &str) {
    assert!(pid > 1, "pid {pid} is never ours to kill");
    // SAFETY: plain system call; the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
    if fd < 0 {
        return; // gone
    }
    // SAFETY: `fd` was just opened and is owned by nobody else.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    if belongs(pid, marker).is_some() {
        // SAFETY: plain system call on an open pidfd. It fails only if the process is gone.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0, 0) };
    }
}
