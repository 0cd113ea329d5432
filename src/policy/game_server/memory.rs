//! What must outlive the agent: intent, counters, the pending restart and the lock. One record, stored whole, so that
//! its parts never contradict each other.
use super::effect::Ended;
use crate::{
    model::{
        crash::Classification,
        ids::{OperationId, RunId},
        time::{BootTime, WallTime},
        workload::WorkloadSpec,
    },
    policy::{operations::Journal, restart::History},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Fields added later have defaults, unknown ones are skipped: an older agent can read a newer record and back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// The boot in which this was written; boot times in here mean nothing in another one.
    pub boot: String,
    pub intent: Intent,
    /// Run ids up to this one may be in use. Raised in blocks, so that a launch need not wait for the disk.
    pub reserved: RunId,
    /// The newest run whose end has been dealt with.
    pub accounted: RunId,
    /// The run at whose console the game's own stop command was typed.
    pub stop_typed: Option<RunId>,
    /// What the newest launch was made from: a configuration saved later does not change a living run.
    pub launched: Option<Arc<WorkloadSpec>>,
    /// The newest run that was seen ready, and since when.
    pub ready: Option<ReadyRun>,
    pub last_ready_at: Option<WallTime>,
    pub provisioned: bool,
    pub provisioning_error: Option<String>,
    pub crash_count: u64,
    pub last_crash: Option<LastCrash>,
    /// Crashes that are counted and have no report yet, oldest first: whoever comes next has them judged.
    pub unjudged: Vec<Ended>,
    pub restart: History,
    /// `restart.due` as people's clocks show it.
    pub restart_at: Option<WallTime>,
    /// Why it is in `error`.
    pub failure: Option<String>,
    pub journal: Journal,
}

/// What somebody wants, as opposed to what is. Stored before any signal and any launch that follows from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Intent {
    pub desired: Desired,
    /// `api`, `cli`, `console`, `autostart`, …
    pub by: String,
    pub operation: Option<OperationId>,
    pub since: BootTime,
    /// This run is being ended on purpose, whatever is desired afterwards: its end is no crash.
    pub ending: Option<RunId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    Running,
    #[default]
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadyRun {
    pub run: RunId,
    pub since: BootTime,
}

/// The `lastCrash…` fields of the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastCrash {
    pub run: RunId,
    pub time: WallTime,
    pub exit_code: Option<i32>,
    /// 0 = none.
    pub signal: i32,
    pub uptime_seconds: u64,
    /// `None` until the crash engine has spoken.
    pub classification: Option<Classification>,
    pub reason: Option<String>,
    pub log_tail: Vec<String>,
}

impl Memory {
    /// Another boot: nothing timed by the old boot's clock counts, and whatever gave up gets a new chance.
    pub fn enter_boot(&mut self, boot: String) {
        if self.boot == boot {
            return;
        }
        self.boot = boot;
        self.restart.forgive();
        (self.failure, self.ready, self.stop_typed) = (None, None, None);
        // Their console has gone with the boot.
        self.unjudged.clear();
        (self.intent.since, self.intent.ending) = (BootTime::default(), None);
    }

    /// Was this run being ended on purpose?
    pub fn asked_to_end(&self, run: RunId) -> bool {
        self.intent.desired == Desired::Stopped || self.intent.ending == Some(run)
    }
}
