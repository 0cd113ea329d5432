//! One cgroup per workload, in whatever hierarchies this machine lets us write: v2, v1, or both (hybrid).
//!
//! It gives three things: a kill that nothing escapes (`cgroup.kill`), limits for memory and processes, and the kernel's
//! own word on an out-of-memory kill. None of them is promised: what is not to be had becomes a warning with a name, and
//! the workload starts all the same.
use super::process::{Identity, PidFd};
use crate::model::snapshot::Warning;
use nix::sys::signal::Signal;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

mod figures;
mod place;
pub use figures::Figures;
pub use place::Places;

const PROCS: &str = "cgroup.procs";
const KILL: &str = "cgroup.kill";

/// What a workload may use. `None` = no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    pub processes: Option<u32>,
    /// Out of memory, the kernel ends one process instead of all: a build in a shell, not the shell too (v2 only; v1
    /// knows nothing else).
    pub piecemeal: bool,
}

/// The groups of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadCgroup {
    unified: Option<PathBuf>,
    memory_v1: Option<PathBuf>,
    pids_v1: Option<PathBuf>,
    cpuacct_v1: Option<PathBuf>,
    kill: Option<PathBuf>,
    oom_counter: Option<PathBuf>,
    limits: Limits,
    warnings: Vec<Warning>,
}

impl WorkloadCgroup {
    /// Makes `zlh-<name>` beside this process wherever that is possible, or takes up the one that is there, and sets
    /// its limits. Never fails: see [`WorkloadCgroup::warnings`].
    pub fn prepare(places: &Places, name: &str, limits: Limits) -> WorkloadCgroup {
        let mut group = WorkloadCgroup { limits, ..WorkloadCgroup::default() };
        let folder = format!("zlh-{name}");
        if let Some(parent) = &places.unified {
            hand_down_controllers(parent);
        }
        group.unified = group.make(&places.unified, &folder);
        group.memory_v1 = group.make(&places.memory_v1, &folder);
        group.pids_v1 = group.make(&places.pids_v1, &folder);
        if !has(&group.unified, "cpu.stat") {
            group.cpuacct_v1 = group.make(&places.cpuacct_v1, &folder);
        }
        group.limit_memory();
        group.limit_processes();
        if !has(&group.unified, KILL) {
            group.warn("cgroup_kill_unavailable", "no cgroup.kill: a process tree is killed one process at a time");
        }
        group.with_files()
    }

    /// The groups an earlier agent made, as far as they are there. Makes and changes nothing.
    pub fn existing(places: &Places, name: &str) -> WorkloadCgroup {
        let folder = format!("zlh-{name}");
        let there = |parent: &Option<PathBuf>| parent.as_ref().map(|p| p.join(&folder)).filter(|f| f.is_dir());
        WorkloadCgroup {
            unified: there(&places.unified),
            memory_v1: there(&places.memory_v1),
            pids_v1: there(&places.pids_v1),
            cpuacct_v1: there(&places.cpuacct_v1),
            ..WorkloadCgroup::default()
        }
        .with_files()
    }

    /// Looks once for the files that a launch names: they come and go with their folders.
    fn with_files(self) -> WorkloadCgroup {
        let file =
            |folder: &Option<PathBuf>, name| folder.as_ref().map(|f| f.join(name)).filter(|f: &PathBuf| f.exists());
        let oom_counter = file(&self.unified, "memory.events").or_else(|| file(&self.memory_v1, "memory.oom_control"));
        WorkloadCgroup { kill: file(&self.unified, KILL), oom_counter, ..self }
    }

    /// The same groups, no longer to be entered, and why.
    pub fn given_up(self, why: &str) -> WorkloadCgroup {
        let mut nothing = WorkloadCgroup { limits: self.limits, warnings: self.warnings, ..WorkloadCgroup::default() };
        nothing.warn("cgroup_unavailable", &format!("the workload runs outside of its cgroup and its limits: {why}"));
        nothing
    }

    /// Still there, with these limits? Then it can be used again without another word to the kernel.
    pub fn is_prepared_for(&self, limits: Limits) -> bool {
        self.limits == limits && self.folders().all(|f| f.is_dir())
    }

    /// What could not be had, each a sentence for the status.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Files a new process writes `0` to in order to enter.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.folders().map(|f| f.join(PROCS)).collect()
    }

    /// Writing `1` kills everything inside at once.
    pub fn kill_file(&self) -> Option<PathBuf> {
        self.kill.clone()
    }

    /// File with an `oom_kill <n>` line.
    pub fn oom_counter(&self) -> Option<PathBuf> {
        self.oom_counter.clone()
    }

    pub fn figures(&self) -> Figures {
        let (v2, v1) = (self.unified.as_ref(), self.memory_v1.as_ref());
        let nanos = || figures::number(self.cpuacct_v1.as_ref(), "cpuacct.usage").map(Duration::from_nanos);
        Figures {
            memory_bytes: figures::in_use(v2, "memory.current", "inactive_file")
                .or_else(|| figures::in_use(v1, "memory.usage_in_bytes", "total_inactive_file")),
            memory_limit_bytes: figures::limit(v2, "memory.max")
                .or_else(|| figures::limit(v1, "memory.limit_in_bytes")),
            memory_peak_bytes: figures::number(v2, "memory.peak")
                .or_else(|| figures::number(v1, "memory.max_usage_in_bytes")),
            processes: figures::number(self.pids_v1.as_ref().or(v2), "pids.current"),
            oom_kills: figures::entry(v2, "memory.events", "oom_kill")
                .or_else(|| figures::entry(v1, "memory.oom_control", "oom_kill")),
            cpu: figures::entry(v2, "cpu.stat", "usage_usec").map(Duration::from_micros).or_else(nanos),
        }
    }

    /// The workload's processes now. On a hybrid machine the v2 group says it: its keeper may be in those of v1.
    pub fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = match &self.unified {
            Some(v2) => runs(v2).chain([v2.clone()]).flat_map(|f| members(&f)).collect(),
            None => self.folders().flat_map(|f| members(&f)).collect(),
        };
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills everyone inside. Whoever forks faster than this looks needs another call: ask [`WorkloadCgroup::pids`].
    pub fn kill(&self) -> io::Result<()> {
        match self.kill_file() {
            Some(file) => fs::write(file, "1"),
            None => self.pids().into_iter().try_for_each(|pid| self.kill_member(pid)),
        }
    }

    /// Removes the groups; `false` while somebody is inside.
    pub fn remove(&self) -> bool {
        let stays = |f: &PathBuf| fs::remove_dir(f).is_err_and(|e| e.kind() != io::ErrorKind::NotFound);
        let runs = self.unified.iter().flat_map(|v2| runs(v2));
        runs.chain(self.folders()).filter(stays).count() == 0
    }

    /// One line for `doctor`.
    pub fn describe(&self) -> String {
        let shown: Vec<String> = self.folders().map(|f| f.display().to_string()).collect();
        if shown.is_empty() { "no cgroup can be made here".into() } else { shown.join(", ") }
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        [&self.unified, &self.memory_v1, &self.pids_v1, &self.cpuacct_v1].into_iter().flatten().cloned()
    }

    /// A folder that exists and that a process may enter.
    fn make(&mut self, parent: &Option<PathBuf>, name: &str) -> Option<PathBuf> {
        let folder = parent.as_ref()?.join(name);
        let made = match fs::create_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        match made.and_then(|()| fs::OpenOptions::new().write(true).open(folder.join(PROCS))) {
            Ok(_) => Some(folder),
            Err(e) => {
                self.warn("cgroup_unavailable", &format!("{} cannot be used: {e}", folder.display()));
                None
            }
        }
    }

    fn limit_memory(&mut self) {
        let set = if has(&self.unified, "memory.max") {
            let folder = self.unified.clone().unwrap_or_default();
            // A game and its children die together: half of one is worse than none.
            let whole = if self.limits.piecemeal { "0" } else { "1" };
            let whole = fs::write(folder.join("memory.oom.group"), whole);
            whole.and(write_limit(&folder.join("memory.max"), self.limits.memory_bytes, "max"))
        } else if let Some(folder) = &self.memory_v1 {
            write_limit(&folder.join("memory.limit_in_bytes"), self.limits.memory_bytes, "-1")
        } else {
            Err(io::Error::other("no memory controller"))
        };
        if let Err(e) = set {
            let limited = if self.limits.memory_bytes.is_some() { "the memory limit is not enforced and " } else { "" };
            let message = format!("{limited}out-of-memory kills may go unrecognised: {e}");
            self.warn("cgroup_memory_unavailable", &message);
        }
    }

    fn limit_processes(&mut self) {
        let folder = [&self.pids_v1, &self.unified].into_iter().flatten().find(|f| f.join("pids.max").exists());
        let set = match folder {
            Some(folder) => write_limit(&folder.join("pids.max"), self.limits.processes.map(u64::from), "max"),
            None if self.limits.processes.is_none() => Ok(()),
            None => Err(io::Error::other("no pids controller")),
        };
        if let Err(e) = set {
            self.warn("cgroup_pids_unavailable", &format!("the limit of processes is not enforced: {e}"));
        }
    }

    /// The handle first, then the membership: a pid that changed hands in between is not in the group any more.
    fn kill_member(&self, pid: i32) -> io::Result<()> {
        let Some(who) = Identity::of(pid)? else { return Ok(()) };
        let Some(handle) = PidFd::open(&who)? else { return Ok(()) };
        if self.pids().contains(&pid) && Identity::of(pid)? == Some(who) {
            handle.signal(Signal::SIGKILL)?;
        }
        Ok(())
    }

    fn warn(&mut self, code: &str, message: &str) {
        self.warnings.push(Warning { code: code.into(), message: message.into() });
    }
}

fn has(folder: &Option<PathBuf>, file: &str) -> bool {
    folder.as_ref().is_some_and(|f| f.join(file).exists())
}

/// Each run has a group of its own below the workload's.
fn runs(unified: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let inside = fs::read_dir(unified).into_iter().flatten().flatten().map(|entry| entry.path());
    inside.filter(|path| path.is_dir())
}

fn members(folder: &Path) -> Vec<i32> {
    inhabitants(folder).into_iter().filter(|pid| *pid > 1).collect()
}

/// All that live there, PID 1 too; 0 stands for a process that this PID namespace cannot see.
fn inhabitants(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join(PROCS)).unwrap_or_default();
    text.lines().filter_map(|l| l.parse().ok()).collect()
}

fn write_limit(file: &Path, limit: Option<u64>, none: &str) -> io::Result<()> {
    let value = limit.map_or_else(|| none.to_owned(), |n| n.to_string());
    fs::write(file, value).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.display())))
}

/// Lets groups below `parent` have memory and pids controllers of their own (v2). What the kernel refuses shows later as
/// a missing limit file, which is warned about there.
fn hand_down_controllers(parent: &Path) {
    let words = |file: &str| fs::read_to_string(parent.join(file)).unwrap_or_default();
    let (offered, given) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let missing: Vec<String> = ["memory", "pids"]
        .into_iter()
        .filter(|c| offered.split_whitespace().any(|o| o == *c) && !given.split_whitespace().any(|g| g == *c))
        .map(|c| format!("+{c}"))
        .collect();
    let ask = || fs::write(parent.join("cgroup.subtree_control"), missing.join(" "));
    if missing.is_empty() || ask().is_ok() {
        return;
    }
    if step_aside(parent).is_ok()
        && let Err(e) = ask()
    {
        tracing::debug!(error = %e, group = %parent.display(), "controllers cannot be handed down");
    }
}

/// A group with processes cannot hand controllers down. If this process and its children are all there is, they move
/// one level down; anyone else's processes are left alone.
fn step_aside(parent: &Path) -> io::Result<()> {
    let me = std::process::id() as i32;
    let inside = inhabitants(parent);
    let ours = |pid: &i32| *pid == me || super::process::is_descendant_of_this(*pid);
    if !inside.iter().all(ours) {
        return Err(io::Error::other("other processes live in this cgroup"));
    }
    let below = parent.join(place::AGENT_GROUP);
    match fs::create_dir(&below) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        Ok(()) | Err(_) => {}
    }
    inside.iter().try_for_each(|pid| fs::write(below.join(PROCS), pid.to_string()))
}

#[cfg(test)]
mod tests;
