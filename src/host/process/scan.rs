//! One pass over the command lines of all processes, for as little as the kernel takes: names by getdents64 on one open
//! `/proc`, one open, read and close a process beneath it, two buffers for all, nothing allocated.
//!
//! There is no shortcut: reading `comm` first costs nearly as much as the command line itself (most of it is the kernel
//! making the process's folder), `stat` half as much again. See docs/performance.md.
use nix::{
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
    unistd::read,
};
use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

/// Bytes of one command line that are looked at: two of the longest paths.
const MOST: usize = 8 << 10;
/// Names of some thousand processes a system call.
const NAMES: usize = 32 << 10;
/// Of `struct linux_dirent64`: where its length and its name are (getdents64(2)).
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;
/// `4194304/cmdline` and its end.
const LONGEST: usize = 32;

#[cfg(test)]
thread_local! {
    /// Passes made by this thread.
    pub static PASSES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Shows `look` the pid of each process and the beginning of its command line, each word of which ends with NUL. What
/// this account may not see (`hidepid`), ended meanwhile or has no command line is passed over.
pub fn command_lines(mut look: impl FnMut(i32, &[u8])) -> io::Result<()> {
    #[cfg(test)]
    PASSES.with(|passes| passes.set(passes.get() + 1));
    let proc = open("/proc", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let (mut names, mut line) = ([0u8; NAMES], [0u8; MOST]);
    loop {
        let filled = getdents(&proc, &mut names)?;
        if filled == 0 {
            return Ok(());
        }
        let mut rest = &names[..filled];
        while let Some((name, after)) = first_name(rest) {
            rest = after;
            if let Some(pid) = number(name)
                && let Some(length) = command_line(&proc, name, &mut line)
            {
                look(pid, &line[..length]);
            }
        }
    }
}

/// The file that a process runs; `None` if this account may not know.
pub fn program(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn getdents(folder: &OwnedFd, into: &mut [u8; NAMES]) -> io::Result<usize> {
    // SAFETY: the descriptor is open, and the kernel writes at most NAMES bytes into the buffer.
    let filled = unsafe { libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), into.as_mut_ptr(), NAMES) };
    usize::try_from(filled).map_err(|_| io::Error::last_os_error())
}

/// The name of the first entry, and the entries after it.
fn first_name(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = entries.get(LENGTH_AT..LENGTH_AT + 2)?;
    let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
    let name = entries.get(NAME_AT..length)?;
    let end = name.iter().position(|b| *b == 0)?;
    Some((&name[..end], &entries[length..]))
}

fn number(name: &[u8]) -> Option<i32> {
    name.iter().try_fold(0i32, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(i32::from(digit - b'0')),
        _ => None,
    })
}

fn command_line(proc: &OwnedFd, pid: &[u8], into: &mut [u8]) -> Option<usize> {
    let mut path = [0u8; LONGEST];
    let end = pid.len() + b"/cmdline".len();
    path.get_mut(..pid.len())?.copy_from_slice(pid);
    path.get_mut(pid.len()..end)?.copy_from_slice(b"/cmdline");
    let path = CStr::from_bytes_with_nul(path.get(..=end)?).ok()?;
    let file = openat(proc, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    read(&file, into).ok().filter(|length| *length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        collections::BTreeSet,
        os::unix::process::CommandExt,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    #[test]
    fn this_process_and_a_child_are_seen_with_all_their_words() {
        let words_of_it = ["-c", "read line", "", "last"];
        let mut child = Command::new("sh").arg0("a word").args(words_of_it).stdin(Stdio::piped()).spawn().unwrap();
        let words_of = |wanted: u32| {
            let (mut pids, mut words) = (BTreeSet::new(), Vec::new());
            command_lines(|pid, line| {
                assert!(pids.insert(pid), "seen twice");
                if pid == wanted as i32 {
                    words = line.to_vec();
                }
            })
            .unwrap();
            words
        };
        // Its spawner may go on a moment before the kernel has noted its words.
        let deadline = Instant::now() + Duration::from_secs(10);
        let words = loop {
            let words = words_of(child.id());
            if !words.is_empty() || Instant::now() > deadline {
                break words;
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(words, b"a word\0-c\0read line\0\0last\0");
        assert!(!words_of(std::process::id()).is_empty());
    }

    #[test]
    fn only_numbers_are_processes() {
        for (name, pid) in [("1", Some(1)), ("4194304", Some(4_194_304)), ("self", None), ("12a", None), ("acpi", None)]
        {
            assert_eq!(number(name.as_bytes()), pid, "{name}");
        }
        assert_eq!(number(b"99999999999"), None, "no pid is so large");
    }

    proptest! {
        #[test]
        fn entries_that_are_no_entries_end_the_walk(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = bytes.as_slice();
            let mut seen = 0;
            while let Some((_, after)) = first_name(rest) {
                prop_assert!(after.len() < rest.len());
                (rest, seen) = (after, seen + 1);
            }
            prop_assert!(seen <= bytes.len());
        }
    }
}
