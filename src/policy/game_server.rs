//! The mind of a supervised game server: commands and facts in, effects out. No clock, no I/O, no locks.
//!
//! ```text
//!            configure/start/restart                                      probe answers
//! Recovering ─► Idle ──────────► Preparing ─► Launching ─► Starting ─────────────────────► Ready
//!     │          ▲ ▲               ▲   │                      │  │ start deadline             │
//!     │          │ │ nothing runs  │   │ cannot               │  ▼                            │ stop, hang
//!     └─► Backoff┼─┼───────────────┘   ▼                 exit │ Stopping ◄───────────────────┘
//!           ▲    │ └────────────────── Error ◄────────────┐   ▼  │ exit
//!           │    └─────────────────────────────────────── Clearing: tree empty, ports free
//!           └──────────────────── crashed ───────────────────┘
//! ```
//! What holds always (each a property in `game_server/tests/properties.rs`):
//! - at most one run lives: nothing is launched before the last tree is known to be empty;
//! - the intent is stored before a signal or a launch follows from it, and what is acknowledged is stored;
//! - once a stop is accepted nothing is launched until somebody asks for it again;
//! - a kill reaches a living run in every phase;
//! - every accepted operation ends exactly once; every end of a run counts as at most one crash;
//! - a fact of another run, a late answer and a timer that was let go change nothing.
//!
//! Read on in the order of a life: [`phase`], `commanded`, `starting`, `stopping`, `ended`, `recovering`.
pub mod command;
pub mod effect;
pub mod fact;
pub mod memory;
pub mod phase;
pub mod typed;

mod commanded;
mod ended;
mod ladder;
mod recovering;
mod saved;
mod starting;
pub use starting::LAUNCH_WITHIN;
mod stopping;
mod view;

use crate::{
    model::{
        crash::CrashReport,
        exit::ExitStatus,
        ids::{OperationId, RunId},
        operation::OperationKind,
        phase::State,
        settings::Settings,
        snapshot::Warning,
        workload::WorkloadSpec,
    },
    policy::operations::{By, Held, Outcome},
};
use command::{Leaving, Moment, Resolved};
use effect::{Effect, Record};
use fact::{Fact, Reply, RunFact, Ticket};
use memory::{Desired, Intent, Memory};
use phase::{Phase, Recovering};
use std::{sync::Arc, time::Duration};

/// Run ids are reserved on disk in blocks of this many.
const RUN_BLOCK: u64 = 64;

/// One game server: what is known, what is wanted, what is awaited.
#[derive(Clone)]
pub struct Machine {
    rules: Arc<Settings>,
    phase: Phase,
    memory: Memory,
    config: Option<Arc<Resolved>>,
    /// Newest first.
    crashes: Arc<Vec<Arc<CrashReport>>>,
    /// The newest run whose processes are not known to be gone.
    tree: Option<RunId>,
    last_end: Option<(RunId, ExitStatus)>,
    warnings: Vec<Warning>,
    closing: Option<Leaving>,
    /// A configuration that is being verified or saved beside a living run: the holder's outcome is this answer.
    aside: Option<Ticket>,
    timers: Timers,
    tickets: u64,
    /// The last run id drawn, and the last one known to be reserved on disk.
    drawn: RunId,
    durable: RunId,
    /// What is wanted as far as the disk knows.
    durably: Desired,
    /// At most a handful.
    saving: Vec<saved::Saving>,
    /// The save that ends an operation.
    settling: Option<Ticket>,
    /// This turn's save, and what goes with it.
    to_save: Option<Ticket>,
    records: Vec<Record>,
    /// What does not wait for this turn's save.
    ahead: Option<Effect>,
    /// The run that its keeper may begin without an order.
    permitted: Option<RunId>,
    out: Vec<Effect>,
}

/// The only timers there are. What is not in here no longer rings.
#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    phase: Option<Ticket>,
    probe: Option<Ticket>,
    operation: Option<Ticket>,
    save: Option<Ticket>,
}

impl Machine {
    /// A newborn: it knows nothing and asks for nothing until [`Machine::awaken`].
    pub fn new(rules: Arc<Settings>) -> Machine {
        Machine {
            rules,
            phase: Phase::Recovering(Recovering::default()),
            memory: Memory::default(),
            config: None,
            crashes: Arc::default(),
            tree: None,
            last_end: None,
            warnings: Vec::new(),
            closing: None,
            aside: None,
            timers: Timers::default(),
            tickets: 0,
            drawn: RunId(0),
            durable: RunId(0),
            durably: Desired::Stopped,
            saving: Vec::new(),
            settling: None,
            to_save: None,
            records: Vec::new(),
            ahead: None,
            permitted: None,
            out: Vec::new(),
        }
    }

    /// Something that was started earlier reports.
    pub fn on_fact(&mut self, now: Moment, fact: Fact) -> Vec<Effect> {
        match fact {
            Fact::Reply(ticket, reply) => self.on_reply(now, ticket, reply),
            Fact::Run(run, fact) if matches!(self.phase, Phase::Recovering(_)) => self.keep_for_later(run, fact),
            Fact::Run(run, fact) => self.on_run(now, run, fact),
        }
        self.finish()
    }

    fn on_reply(&mut self, now: Moment, ticket: Ticket, reply: Reply) {
        match reply {
            Reply::Recalled(result) => self.on_recalled(ticket, result),
            Reply::Discovered { found, autostart } => self.on_discovered(now, ticket, found, autostart),
            Reply::Stored(result) => self.on_stored(now, ticket, result),
            Reply::StillStoring => _ = self.settling.take_if(|awaited| *awaited == ticket),
            Reply::Progressed { step, progress } => self.on_progressed(now, ticket, &step, progress),
            Reply::Prepared(result) => self.on_prepared(now, ticket, result),
            Reply::PortsFreed(result) => self.on_ports_freed(now, ticket, result),
            Reply::TimerFired => self.on_timer(now, ticket),
        }
    }

    fn on_run(&mut self, now: Moment, run: RunId, fact: RunFact) {
        match fact {
            RunFact::Launched(Ok(born)) => self.on_launched(now, run, born),
            RunFact::Launched(Err(failure)) => self.on_launch_failed(now, run, failure),
            RunFact::Probed(answer) => self.on_probed(now, run, answer),
            RunFact::Exited(exit) => self.on_exited(now, run, &exit),
            RunFact::TreeEmptied => self.on_tree_emptied(now, run),
            RunFact::KeeperLost { recovered, detail } => self.on_keeper_lost(run, recovered, &detail),
            RunFact::StopTyped => self.on_stop_typed(run),
            RunFact::Classified(report) => self.on_classified(now, run, *report),
        }
    }

    fn on_timer(&mut self, now: Moment, ticket: Ticket) {
        let Timers { phase, probe, operation, save } = &mut self.timers;
        if phase.take_if(|t| *t == ticket).is_some() {
            self.on_phase_timer(now);
        } else if probe.take_if(|t| *t == ticket).is_some() {
            self.probe();
        } else if operation.take_if(|t| *t == ticket).is_some() {
            self.on_operation_overdue(now);
        } else if save.take_if(|t| *t == ticket).is_some() {
            self.save();
        }
    }

    fn on_phase_timer(&mut self, now: Moment) {
        match &self.phase {
            Phase::Recovering(_) => self.recall_or_discover(),
            Phase::Starting(_) => self.on_start_deadline(now),
            Phase::Stopping(_) => self.climb_on(now),
            Phase::Clearing(_) => self.clear_harder(now),
            Phase::Backoff { crashed, .. } => self.restart_after(now, *crashed),
            Phase::Closed { .. } => self.out.push(Effect::Finish),
            Phase::Idle | Phase::Preparing(_) | Phase::Launching(_) | Phase::Ready(_) | Phase::Error { .. } => {}
        }
    }

    fn on_operation_overdue(&mut self, now: Moment) {
        let step = self.memory.journal.holder().map(|o| o.step.clone()).unwrap_or_default();
        self.aside = None;
        self.end_operation(now, Outcome::Failed(format!("not finished by its deadline; last step: {step}")));
    }

    /// Does this timer still matter?
    pub fn awaits_timer(&self, ticket: Ticket) -> bool {
        let Timers { phase, probe, operation, save } = self.timers;
        [phase, probe, operation, save].contains(&Some(ticket))
    }

    /// An operation has ended and the disk does not know it yet: shown now, its outcome could be another one in the next
    /// life.
    pub fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    pub fn state(&self) -> State {
        self.phase.state(&self.memory)
    }

    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The run that takes console input, and what it is.
    pub fn listening(&self) -> Option<(RunId, Arc<WorkloadSpec>)> {
        self.phase.live().filter(|l| l.born.is_some()).map(|l| (l.run, l.spec.clone()))
    }

    /// How the last run of this agent's life ended.
    pub fn last_end(&self) -> Option<(RunId, ExitStatus)> {
        self.last_end
    }
}

/// Tools of every turn.
impl Machine {
    /// Leaves a phase with its timers.
    fn enter(&mut self, phase: Phase) {
        (self.timers.phase, self.timers.probe) = (None, None);
        self.phase = phase;
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn arm(&mut self, after: Duration) -> Ticket {
        let ticket = self.ticket();
        self.out.push(Effect::Arm(ticket, after));
        ticket
    }

    fn arm_phase(&mut self, after: Duration) {
        self.timers.phase = Some(self.arm(after));
    }

    /// The memory goes to disk with this turn, once.
    fn save(&mut self) -> Ticket {
        let fresh = self.to_save.is_none();
        let ticket = self.to_save.unwrap_or(Ticket(self.tickets + 1));
        self.tickets += u64::from(fresh);
        self.to_save = Some(ticket);
        ticket
    }

    fn save_with(&mut self, record: Record) -> Ticket {
        self.records.push(record);
        self.save()
    }

    /// Ends the turn: the save first, then everything else in order; but a restart without delay goes before all, and what its
    /// keeper may no longer do by itself is taken back before anything is stored that says otherwise.
    fn finish(&mut self) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(self.out.len() + 3);
        effects.extend(self.ahead.take());
        effects.extend(self.permit());
        if let Some(ticket) = self.to_save.take() {
            let mut records = std::mem::take(&mut self.records);
            let (reserved, desired) = (self.memory.reserved, self.memory.intent.desired);
            self.saving.push(saved::Saving { ticket, reserved, desired, records: records.clone() });
            records.push(Record::Memory(Box::new(self.memory.clone())));
            effects.push(Effect::Save(ticket, records));
        }
        effects.append(&mut self.out);
        effects
    }

    /// A run id that was never used before; see [`Memory::reserved`].
    fn draw_run(&mut self) -> RunId {
        self.drawn.0 += 1;
        if self.memory.reserved.0 < self.drawn.0 + RUN_BLOCK / 2 {
            self.memory.reserved = RunId(self.drawn.0 + RUN_BLOCK);
            self.save();
        }
        self.drawn
    }

    fn want(&mut self, now: Moment, desired: Desired, by: &By, operation: Option<OperationId>) {
        let ending = self.memory.intent.ending;
        self.memory.intent = Intent { desired, by: by.holder.clone(), operation, since: now.boot, ending };
        self.save();
    }

    fn held(&self) -> Option<Held> {
        let installing = matches!(&self.phase, Phase::Preparing(p) if p.installing);
        self.memory.journal.holder().map(|o| Held { kind: o.kind, installing })
    }

    fn open_operation(&mut self, now: Moment, kind: OperationKind, by: &By) -> OperationId {
        let within = self.time_for(kind);
        let kept = self.rules.limits.operations_kept;
        self.aside = None;
        self.memory.journal.open(kind, by.clone(), (now.boot, now.wall), within, kept);
        self.settling = None;
        self.timers.operation = Some(self.arm(within));
        self.save();
        by.id.clone()
    }

    /// The lock goes back. Without a holder nothing happens.
    fn end_operation(&mut self, now: Moment, outcome: Outcome) {
        if self.memory.journal.holder().is_some() {
            self.memory.journal.end(outcome, now.wall);
            self.settling = Some(self.save());
        }
        self.timers.operation = None;
    }

    /// Ends the operation that changes the run; one that goes on beside it has an outcome of its own.
    fn conclude(&mut self, now: Moment, outcome: Outcome) {
        if self.aside.is_none() {
            self.end_operation(now, outcome);
        }
    }

    fn step(&mut self, text: &str) {
        if self.aside.is_none() {
            self.memory.journal.step(text, None);
        }
    }

    fn warn(&mut self, code: &str, message: String) {
        self.unwarn(code);
        self.warnings.push(Warning { code: code.into(), message });
    }

    fn unwarn(&mut self, code: &str) {
        self.warnings.retain(|w| w.code != code);
    }

    /// Gives up: `error` with this reason, until somebody acts.
    fn fail(&mut self, now: Moment, reason: String, crashed: Option<RunId>) {
        if matches!(&self.phase, Phase::Preparing(p) if p.installing) {
            self.memory.provisioning_error = Some(reason.clone());
        }
        self.conclude(now, Outcome::Failed(reason.clone()));
        self.memory.failure = Some(reason);
        self.memory.restart.cancel();
        self.save();
        self.enter(Phase::Error { crashed });
    }
}

#[cfg(test)]
mod tests;
