//! Ends everything a run has left behind: whatever it forked, detached or moved into sessions of its own.
//!
//! The keeper is the subreaper, so every orphan comes to it and a descendant cannot slip out of sight. A pass freezes
//! the tree first (a frozen process forks nothing, and no number in it can be given to somebody else), then kills it
//! from the leaves up. Passes repeat until nothing is left.
use super::{signals::Leader, sys};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
    time::Duration,
};

/// Freezing rounds in one pass: a fork bomb is caught in a few; the next pass goes on.
const ROUNDS: usize = 16;
/// Most processes looked at in one round; later passes find the rest.
const MOST: usize = 1 << 16;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A process below a root, and who its parent was when seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descendant {
    pid: i32,
    parent: i32,
}

/// How many processes below `root` live. Zombies do not count.
pub fn count(root: i32) -> u32 {
    descendants(root).len() as u32
}

/// Everything alive below `root`, parents before children. `/proc/<pid>/task/*/children` would be shorter but needs a
/// kernel option that is often off.
fn descendants(root: i32) -> Vec<Descendant> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()).filter(|pid| *pid > 1);
    let mut zombies = Vec::new();
    for pid in pids.take(MOST) {
        if let Some(stat) = sys::stat_of(pid) {
            children.entry(stat.parent).or_default().push(pid);
            if stat.zombie {
                zombies.push(pid);
            }
        }
    }
    let mut found: Vec<Descendant> = Vec::new();
    let mut next = 0;
    let mut parent = root;
    loop {
        found.extend(children.remove(&parent).unwrap_or_default().into_iter().map(|pid| Descendant { pid, parent }));
        let Some(d) = found.get(next) else { break };
        parent = d.pid;
        next += 1;
    }
    zombies.sort_unstable();
    found.retain(|d| zombies.binary_search(&d.pid).is_err());
    found
}

/// Signals a descendant unless its number has gone to somebody outside the tree in the meantime: the descriptor is
/// opened first, the parent compared afterwards.
fn strike(d: Descendant, signal: i32) -> io::Result<()> {
    let pidfd = sys::pidfd_open(d.pid)?;
    let parent = sys::stat_of(d.pid).map(|s| s.parent);
    // An orphan of this moment has come to us.
    if parent == Some(d.parent) || parent == Some(std::process::id() as i32) {
        sys::pidfd_signal(pidfd.as_fd(), signal)?;
    }
    Ok(())
}

/// A run whose tree is being ended.
pub struct Clearing {
    cgroup_kill: Option<Vec<u8>>,
    pause: Duration,
    /// When the next pass is due.
    pub next: Duration,
}

impl Clearing {
    pub fn new(cgroup_kill: Option<Vec<u8>>) -> Clearing {
        Clearing { cgroup_kill, pause: FIRST_PAUSE, next: Duration::ZERO }
    }

    /// One pass over the tree below `root`; `leader` is the root itself where it is to end too.
    pub fn pass(&mut self, root: i32, leader: Option<&Leader>) {
        if let Some(file) = &self.cgroup_kill {
            // Refused or absent: the walk below does it too, only more slowly.
            let _ = OpenOptions::new()
                .write(true)
                .open(Path::new(std::ffi::OsStr::from_bytes(file)))
                .and_then(|mut f| f.write_all(b"1"));
        }
        if let Some(leader) = leader {
            let _ = leader.signal(libc::SIGSTOP);
        }
        let frozen = freeze(root);
        for d in frozen.iter().rev() {
            // Gone already, or not ours any more: either way the next pass looks again.
            let _ = strike(*d, libc::SIGKILL);
        }
        if let Some(leader) = leader {
            let _ = leader.signal(libc::SIGKILL);
        }
        self.next = sys::boot_time() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Does the cgroup still hold a process? `None` without a cgroup.
    pub fn populated(&self) -> Option<bool> {
        let kill = Path::new(std::ffi::OsStr::from_bytes(self.cgroup_kill.as_ref()?));
        let events = std::fs::read_to_string(kill.with_file_name("cgroup.events")).ok()?;
        Some(events.lines().any(|l| l == "populated 1"))
    }
}

/// Stops everything below `root`, round after round, until a round finds nothing new.
fn freeze(root: i32) -> Vec<Descendant> {
    let mut stopped: Vec<i32> = Vec::new();
    let mut found = Vec::new();
    for _ in 0..ROUNDS {
        found = descendants(root);
        let fresh: Vec<Descendant> = found.iter().filter(|d| stopped.binary_search(&d.pid).is_err()).copied().collect();
        if fresh.is_empty() {
            break;
        }
        for d in &fresh {
            let _ = strike(*d, libc::SIGSTOP);
        }
        stopped.extend(fresh.iter().map(|d| d.pid));
        stopped.sort_unstable();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_is_found_frozen_and_ended_and_nothing_else() {
        let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
        let script = "sleep 60 & (sleep 60 & wait) & echo up; wait";
        let mut root = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = io::BufReader::new(root.stdout.take().unwrap());
        io::BufRead::read_line(&mut out, &mut line).unwrap();
        let pid = root.id() as i32;
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while count(pid) < 3 {
            assert!(std::time::Instant::now() < deadline, "{:?}", descendants(pid));
            std::thread::yield_now();
        }
        let leader = Leader::new(pid, sys::pidfd_open(pid).unwrap()).unwrap();
        let mut clearing = Clearing::new(None);
        clearing.pass(pid, Some(&leader));
        root.wait().unwrap();
        assert_eq!(count(pid), 0);
        assert_eq!(clearing.populated(), None);
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    #[test]
    fn a_number_that_went_to_a_stranger_is_spared() {
        let mut shell =
            Command::new("sh").args(["-c", "sleep 60 & echo $!; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
        let pid: i32 = line.trim().parse().unwrap();
        strike(Descendant { pid, parent: 999_999 }, libc::SIGSTOP).unwrap();
        let stopped = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
        strike(Descendant { pid, parent: shell.id() as i32 }, libc::SIGKILL).unwrap();
        shell.wait().unwrap();
        assert!(!stopped);
    }
}
