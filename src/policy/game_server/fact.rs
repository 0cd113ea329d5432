//! What happened: reports of things the machine started, past tense. Each names what it is about, so that a report of
//! an old question or an old run changes nothing.
use super::{command::Resolved, memory::Memory};
use crate::{
    model::{
        crash::CrashReport,
        exit::Exit,
        ids::RunId,
        time::{BootTime, WallTime},
        workload::WorkloadSpec,
    },
    policy::{operations::By, readiness::Answer},
};
use std::sync::Arc;

/// Names one question or timer of the machine. Never repeats within a machine's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Reply(Ticket, Reply),
    Run(RunId, RunFact),
}

/// Answers to an effect that carried a ticket; errors are sentences for a person.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Recalled(Result<Box<Recollection>, String>),
    /// `autostart`: who a start counts as if this life begins with one.
    Discovered {
        found: Result<Found, String>,
        autostart: By,
    },
    Stored(Result<(), String>),
    /// Interim: the disk is slow; what waits for it to be shown is shown now.
    StillStoring,
    /// Interim: what the preparation is doing now.
    Progressed {
        step: String,
        progress: Option<f64>,
    },
    /// What to launch: the configuration, resolved anew with all in place.
    Prepared(Result<Arc<WorkloadSpec>, String>),
    PortsFreed(Result<(), String>),
    TimerFired,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunFact {
    Launched(Result<Born, LaunchFailure>),
    Probed(Answer),
    /// The main process ended.
    Exited(Box<Exit>),
    /// No process of it is left.
    TreeEmptied,
    KeeperLost {
        recovered: bool,
        detail: String,
    },
    /// Somebody typed the game's own stop command at the console.
    StopTyped,
    Classified(Box<CrashReport>),
}

/// A living main process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Born {
    pub pid: i32,
    pub started: BootTime,
    pub started_at: WallTime,
    /// Console offset of its first byte.
    pub log_start: u64,
}

/// Why a launch brought no process.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchFailure {
    pub reason: String,
    pub chance: Chance,
}

/// What a failed launch says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// No such program, folder or account: it would fail again.
    Hopeless,
    /// Nothing was started; later it may work.
    Later,
    /// Nobody answered: something may have been started, so it has to be cleared away first.
    Unknown,
}

/// Everything earlier lives wrote down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recollection {
    /// Names the machine's current boot.
    pub boot: String,
    pub memory: Memory,
    pub config: Option<Resolved>,
    /// Newest first.
    pub crashes: Vec<CrashReport>,
}

/// What an earlier life left running.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Nothing,
    LostByReboot,
    Alive(RunId, Born),
    Ended(Box<Exit>),
}
