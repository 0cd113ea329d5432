//! Where a game server is: each phase holds what only it needs, so nothing can be left over from another one.
use super::{
    fact::{Born, RunFact, Ticket},
    memory::{Desired, Memory},
};
use crate::{
    model::{ids::RunId, phase::State, snapshot::Players, time::BootTime, workload::WorkloadSpec},
    policy::readiness::Watch,
};
use std::{sync::Arc, time::Duration};

#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Finding out what earlier lives wanted and left.
    Recovering(Recovering),
    /// Nothing runs and nothing is meant to.
    Idle,
    /// Before a launch: intent to disk, server root, ports.
    Preparing(Preparing),
    /// The order is out; nobody knows yet whether there is a process.
    Launching(Live),
    /// A process, not proven ready.
    Starting(Live),
    Ready(Live),
    /// On the stop ladder.
    Stopping(Stopping),
    /// The main process is gone; the rest of its tree, or its ports, are waited for.
    Clearing(Clearing),
    /// Waiting for the time of a crash restart.
    Backoff {
        crashed: RunId,
        due: BootTime,
    },
    /// Gave up; `Memory::failure` says why. A new command gets it out.
    Error {
        crashed: Option<RunId>,
    },
    /// The agent goes down; `shown` stays the state to the end.
    Closed {
        saving: Ticket,
        shown: State,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovering {
    /// The question that is out, if any.
    pub asked: Option<Ticket>,
    /// The records of earlier lives are known.
    pub recalled: bool,
    /// A kill came while nobody knew what to kill.
    pub kill: bool,
    /// What happened to runs before discovery was answered: at most the end of one.
    pub early: Vec<(RunId, RunFact)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Preparing {
    pub run: RunId,
    pub spec: Arc<WorkloadSpec>,
    pub step: Step,
    /// The question that is out.
    pub asked: Ticket,
    /// Part of a new configuration: shown as `installing`.
    pub installing: bool,
    /// The crash this start follows.
    pub crashed: Option<RunId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Saving,
    Furnishing,
    /// What the preparation changed goes to disk.
    Noting,
    AwaitingPorts,
}

/// A run that is or may be alive.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    pub run: RunId,
    pub spec: Arc<WorkloadSpec>,
    /// Known once launched.
    pub born: Option<Born>,
    pub watch: Watch,
    pub players: Option<Players>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stopping {
    pub live: Live,
    pub why: Why,
    pub rung: Rung,
    /// Skip the rungs.
    pub kill: bool,
}

/// Why a run is being stopped, hence what follows its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    Asked,
    Restart,
    /// Not ready by its deadline; the sentence says what the probe heard last.
    NeverReady(String),
    /// No answer for too long: its end counts as a crash.
    Hang,
    /// Its keeper died and took it along: its end counts as a crash.
    Lost,
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The intent goes to disk before anything is sent.
    Saving(Ticket),
    Step(usize),
    /// SIGKILL to the tree, n times so far.
    Kill(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Clearing {
    pub run: RunId,
    pub next: Next,
    pub awaited: Awaited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// `kills`: how often the leftovers were killed. `silent`: nobody is there to report that they are gone.
    Tree {
        kills: u32,
        silent: bool,
    },
    Ports(Ticket),
}

/// What follows once a run is cleared away.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Rest,
    Start { installing: bool },
    Retry { crashed: RunId, due: BootTime, delay: Duration },
    Fail { reason: String, crashed: Option<RunId> },
}

impl Phase {
    /// The word of the golden table.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Recovering(_) => "Recovering",
            Phase::Idle => "Idle",
            Phase::Preparing(_) => "Preparing",
            Phase::Launching(_) => "Launching",
            Phase::Starting(_) => "Starting",
            Phase::Ready(_) => "Ready",
            Phase::Stopping(_) => "Stopping",
            Phase::Clearing(_) => "Clearing",
            Phase::Backoff { .. } => "Backoff",
            Phase::Error { .. } => "Error",
            Phase::Closed { .. } => "Closed",
        }
    }

    /// The word of the wire.
    pub fn state(&self, memory: &Memory) -> State {
        match self {
            Phase::Recovering(r) if r.recalled && memory.intent.desired == Desired::Running => State::Starting,
            Phase::Recovering(_) | Phase::Idle => State::Idle,
            Phase::Preparing(p) if p.installing => State::Installing,
            Phase::Preparing(_) | Phase::Launching(_) | Phase::Starting(_) => State::Starting,
            Phase::Ready(_) => State::Running,
            Phase::Stopping(_) => State::Stopping,
            Phase::Clearing(c) => c.next.state(),
            Phase::Backoff { .. } => State::Crashed,
            Phase::Error { .. } => State::Error,
            Phase::Closed { shown, .. } => *shown,
        }
    }

    /// The run that is or may be alive.
    pub fn live(&self) -> Option<&Live> {
        match self {
            Phase::Launching(live) | Phase::Starting(live) | Phase::Ready(live) => Some(live),
            Phase::Stopping(s) => Some(&s.live),
            Phase::Recovering(_)
            | Phase::Idle
            | Phase::Preparing(_)
            | Phase::Clearing(_)
            | Phase::Backoff { .. }
            | Phase::Error { .. }
            | Phase::Closed { .. } => None,
        }
    }

    pub fn live_mut(&mut self) -> Option<&mut Live> {
        match self {
            Phase::Launching(live) | Phase::Starting(live) | Phase::Ready(live) => Some(live),
            Phase::Stopping(s) => Some(&mut s.live),
            _ => None,
        }
    }

    /// On the way up, or up.
    pub fn is_up(&self) -> bool {
        matches!(self, Phase::Preparing(_) | Phase::Launching(_) | Phase::Starting(_) | Phase::Ready(_))
    }

    /// Is a restart after the crash of `run` still ahead?
    pub fn restarts_after(&self, run: RunId) -> bool {
        match self {
            Phase::Backoff { crashed, .. } => *crashed == run,
            Phase::Preparing(p) => p.crashed == Some(run),
            Phase::Clearing(c) => matches!(c.next, Next::Retry { crashed, .. } if crashed == run),
            _ => false,
        }
    }
}

impl Next {
    /// The next run begins in this very turn.
    pub fn is_at_once(&self) -> bool {
        matches!(self, Next::Retry { delay, .. } if delay.is_zero())
    }

    fn state(&self) -> State {
        match self {
            Next::Rest | Next::Start { .. } => State::Stopping,
            Next::Retry { .. } => State::Crashed,
            Next::Fail { crashed: Some(_), .. } => State::Crashed,
            Next::Fail { crashed: None, .. } => State::Stopping,
        }
    }
}
