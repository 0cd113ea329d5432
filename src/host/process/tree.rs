//! Who belongs to a process: its descendants, its session, and the orphans that became our children.
use super::{Identity, PidFd, Stat, pids_in};
use std::{collections::HashMap, fs};

/// More generations than any real tree has; bounds a walk up that meets a changing tree.
const MAX_DEPTH: usize = 1000;

/// Every living descendant of `root`, parents before children. A snapshot: whoever kills a tree asks again until empty.
pub fn descendants(root: &Identity) -> Vec<Identity> {
    let mut found: Vec<Identity> = Vec::new();
    let mut open = vec![root.pid];
    while let Some(pid) = open.pop() {
        for child in children(pid) {
            let known = found.iter().any(|i| i.pid == child);
            if let (false, Ok(Some(who))) = (known, Identity::of(child)) {
                found.push(who);
                open.push(child);
            }
        }
    }
    found
}

/// Every process of the session that `leader` opened, itself included. Empty unless the leader still exists (a zombie
/// counts): without it nobody can say that the session's number means the same session.
pub fn session_members(leader: &Identity) -> Vec<Identity> {
    let members: Vec<Identity> = all_pids()
        .filter_map(|pid| Stat::read(pid).ok().flatten())
        .filter(|stat| stat.session == leader.pid && stat.start_ticks >= leader.start_ticks)
        .map(|stat| Identity { pid: stat.pid, start_ticks: stat.start_ticks, boot_id: leader.boot_id })
        .collect();
    // Looked at last: as the leader is still the same, so was the session while we read.
    match leader.is_current() {
        Ok(true) => members,
        Ok(false) | Err(_) => Vec::new(),
    }
}

/// Is this process among the ancestors of `pid`?
pub fn is_descendant_of_this(pid: i32) -> bool {
    let me = std::process::id() as i32;
    let parent = |pid: &i32| Stat::read(*pid).ok().flatten().map(|s| s.parent).filter(|p| *p > 0);
    std::iter::successors(Some(pid), parent).skip(1).take(MAX_DEPTH).any(|ancestor| ancestor == me)
}

/// Children of all threads of `pid`.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads.flatten().flat_map(|t| pids_in(&t.path().join("children").to_string_lossy())).collect()
}

fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// Reaps what became our child without being started by us (a subreaper and PID 1 inherit orphans).
///
/// A child we started ourselves is waited for by whoever started it, at once. So only a zombie that was already one at
/// the sweep before is nobody's, and taking its status steals nothing.
#[derive(Debug, Default)]
pub struct OrphanReaper {
    seen: HashMap<i32, u64>,
}

impl OrphanReaper {
    /// Call every few seconds; returns how many were reaped.
    pub fn sweep(&mut self) -> usize {
        let ours = children(std::process::id() as i32).into_iter().filter_map(|pid| Stat::read(pid).ok().flatten());
        self.reap_old(ours.filter(Stat::is_zombie).map(|stat| (stat.pid, stat.start_ticks)).collect())
    }

    pub(super) fn reap_old(&mut self, zombies: HashMap<i32, u64>) -> usize {
        let old = |pid: &i32, ticks: &u64| self.seen.get(pid) == Some(ticks);
        let reaped = zombies.iter().filter(|(pid, ticks)| old(pid, ticks) && reap(**pid)).count();
        self.seen = zombies;
        reaped
    }
}

fn reap(pid: i32) -> bool {
    let Ok(Some(who)) = Identity::of(pid) else { return false };
    let Ok(Some(fd)) = PidFd::open(&who) else { return false };
    matches!(fd.reap(), Ok(Some(_)))
}
