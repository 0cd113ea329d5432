//! What the machine asks its actor to do, in order. An effect that can answer carries the ticket or run of its answer.
use super::{
    command::Resolved,
    fact::{Born, Ticket},
    memory::Memory,
};
use crate::model::{crash::CrashReport, exit::Exit, ids::RunId, workload::WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// → `Recalled`
    Recall(Ticket),
    /// → `Discovered`
    Discover(Ticket),
    /// In order, all or an error; the order counts from now on. → `Stored`
    Save(Ticket, Vec<Record>),
    /// Install what the configuration names and make the server root fit for a launch. → `Progressed`*, `Prepared`
    Prepare(Ticket, Arc<Resolved>),
    /// Wait until nobody listens on these ports. → `PortsFreed`
    AwaitPorts {
        ticket: Ticket,
        ports: Vec<u16>,
        within: Duration,
    },
    /// → `Launched`; later `Exited`, `TreeEmptied`
    Launch(RunId, Arc<WorkloadSpec>),
    /// This run may begin without an order when the one before it crashes; `None`: none may any more.
    Permit(Option<(RunId, Arc<WorkloadSpec>)>),
    /// → `Probed`
    Probe(Probing),
    /// Type this line at the game's console.
    Say {
        run: RunId,
        spec: Arc<WorkloadSpec>,
        line: String,
    },
    Signal {
        run: RunId,
        signal: i32,
        aim: Aim,
    },
    /// → `Classified`
    Classify(Box<Ended>),
    /// Remember the files as they are: this start became ready.
    NoteGoodStart(RunId, Arc<WorkloadSpec>),
    /// → `TimerFired`, unless the timer has been let go by then.
    Arm(Ticket, Duration),
    /// The machine is done; the actor may stop.
    Finish,
}

/// One question to a living run: could players join right now?
#[derive(Clone, Debug, PartialEq)]
pub struct Probing {
    pub run: RunId,
    pub spec: Arc<WorkloadSpec>,
    pub born: Born,
    /// It was ready before: look whether it still answers, not whether it has come up.
    pub proven: bool,
}

/// Who a signal is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Leader,
    Group,
    /// SIGKILL for all of it, whatever the number says.
    Tree,
}

/// Something to store durably.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The saved `/config` body.
    Config(serde_json::Value),
    Memory(Box<Memory>),
    Crash(Arc<CrashReport>),
}

/// An unexpected end, for the crash engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    pub exit: Exit,
    pub spec: Arc<WorkloadSpec>,
    pub was_ready: bool,
    /// Ended by us because it no longer answered: class `unexpected_exit`, code `hang`.
    pub hung: bool,
    /// What supervision does next, for the report.
    pub decision: String,
}
