//! How a run ended, as far as anyone can know.
use super::{
    ids::RunId,
    time::{BootTime, WallTime},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kernel's word on an ended process; a shell's 128+n is not unfolded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitStatus {
    /// `_exit(code)`, 0 to 255.
    Code(i32),
    /// Killed by this signal number.
    Signal { signal: i32, core_dumped: bool },
    /// Both the keeper and the agent that could have waited for it were gone.
    Unknown,
}

impl ExitStatus {
    pub fn code(self) -> Option<i32> {
        match self {
            ExitStatus::Code(c) => Some(c),
            ExitStatus::Signal { .. } | ExitStatus::Unknown => None,
        }
    }

    /// The signal number, 0 if none (the wire's convention).
    pub fn signal(self) -> i32 {
        match self {
            ExitStatus::Signal { signal, .. } => signal,
            ExitStatus::Code(_) | ExitStatus::Unknown => 0,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(c) => write!(f, "exit code {c}"),
            ExitStatus::Signal { signal, core_dumped } => {
                write!(f, "signal {signal}{}", if *core_dumped { " (core dumped)" } else { "" })
            }
            ExitStatus::Unknown => f.write_str("unknown exit status"),
        }
    }
}

/// Everything the keeper recorded about one finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    pub run: RunId,
    pub status: ExitStatus,
    pub started_at: WallTime,
    pub ended_at: WallTime,
    pub started: BootTime,
    pub ended: BootTime,
    /// Highest resident memory of the main process in bytes (rusage), 0 if unknown.
    pub max_rss_bytes: u64,
    /// How far the workload cgroup's oom_kill counter rose during this run; `None` where no cgroup could be read.
    pub oom_kills: Option<u64>,
    /// Console offset right after the last byte of this run, and right before its first.
    pub log_start: u64,
    pub log_end: u64,
    /// Nothing of the run's tree outlived its main process.
    #[serde(default)]
    pub alone: bool,
    /// The run that its keeper began after it, by a permit given beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RunId>,
}

impl Exit {
    pub fn uptime(&self) -> std::time::Duration {
        self.ended.since(self.started)
    }
}
