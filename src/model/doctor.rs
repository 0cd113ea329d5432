//! What `zlh doctor` found out about this machine, and what that means for a person.
use super::snapshot::Warning;
use serde::Serialize;
use std::{path::PathBuf, time::Duration};

/// Facts, gathered by `host` and by the client; judged by `policy::doctor`. An `Err` says why a fact is not known, or
/// why the thing does not work.
#[derive(Clone, Debug)]
pub struct Facts {
    pub agent: AgentFacts,
    pub configuration: ConfigurationFacts,
    pub workload: Option<WorkloadFacts>,
    pub cgroup: CgroupFacts,
    /// Of the whole machine or container, in bytes.
    pub memory_bytes: Option<u64>,
    pub disk: Result<DiskFacts, String>,
    pub ports: Result<Vec<PortFacts>, String>,
    pub clock: ClockFacts,
    /// `None`: no artifact server is configured.
    pub artifacts: Option<ArtifactFacts>,
    pub token_file: Option<FileFacts>,
    pub account: AccountFacts,
    /// Can a pseudo-terminal be opened?
    pub terminal: Result<(), String>,
    /// Can a folder be made under /run?
    pub run: Result<(), String>,
    pub kernel: KernelFacts,
    /// Soft and hard limit of open files.
    pub open_files: Result<(u64, u64), String>,
    /// Name of process 1.
    pub init: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AgentFacts {
    Answers { version: String, state: String, warnings: Vec<Warning> },
    Refuses(String),
    Unreachable(String),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigurationFacts {
    pub faults: Vec<String>,
    pub notes: Vec<String>,
    /// `stop.grace` in force.
    pub grace: Duration,
    /// `game.min_disk_free_bytes` in force.
    pub min_disk_free_bytes: u64,
}

/// The saved workload, as the agent tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadFacts {
    pub game: String,
    pub memory_bytes: Option<u64>,
    /// What a JVM's heap gets of that; `None` for other games.
    pub heap_bytes: Option<u64>,
    /// All waits of the stop ladder; `None` if it could not be worked out.
    pub ladder: Option<Duration>,
    /// Main process, while it runs.
    pub pid: Option<i32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct CgroupFacts {
    /// `v2`, `v1`, `hybrid` or `none`.
    pub kind: String,
    /// Where a group could be made.
    pub place: String,
    /// Works here.
    pub memory: bool,
    pub processes: bool,
    pub kill: bool,
    pub oom_counter: bool,
    /// What could not be had, from trying it.
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskFacts {
    /// Nearest existing folder to where servers lie.
    pub path: PathBuf,
    pub free_bytes: u64,
    pub total_bytes: u64,
    pub free_inodes: u64,
    pub total_inodes: u64,
}

/// A port somebody holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortFacts {
    pub port: u16,
    pub transport: String,
    pub pid: Option<i32>,
    pub name: Option<String>,
    /// The workload's own process or a descendant of it.
    pub ours: bool,
    /// What the port is for: `agent`, `game`.
    pub purpose: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockFacts {
    pub wall_ms: i64,
    pub boot: Duration,
    pub timezone: String,
    /// Wall clock minus the artifact server's, in seconds.
    pub ahead_of_server: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ArtifactFacts {
    pub url: String,
    /// Milliseconds until the catalog answered.
    pub catalog: Result<u64, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FileFacts {
    pub path: PathBuf,
    /// Permission bits and owner.
    pub about: Result<(u32, u32), String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountFacts {
    /// `game.user`.
    pub name: String,
    pub exists: bool,
    /// This program runs as uid 0.
    pub root: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelFacts {
    pub release: String,
    pub pidfd: bool,
    pub openat2: bool,
    /// PIDFD_GET_INFO tells the exit status of a process that is not ours.
    pub pidfd_exit_info: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub name: &'static str,
    pub health: Health,
    /// What was found, with numbers.
    pub found: String,
    /// What to do; empty if nothing.
    pub cure: String,
}
