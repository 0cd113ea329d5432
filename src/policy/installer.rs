//! The mind of the installer: orders and facts in, effects out. No clock, no I/O, no locks.
//!
//! ```text
//!  order ─► saving ─► queued ─► consulting ─► stepping ─────────► surveying ─► done     (noting: a save before a step)
//!             │          ▲         │   ▲          │ failed, cancelled   ▲
//!             │ not      │ another │   │ damaged  ▼                     │
//!             ▼ saved    └─has it──┘   └──────  undoing ────────────────┘
//!           failed
//! ```
//! What holds always (each a property in `installer/tests.rs`):
//! - an order that is acknowledged is stored, and an agent killed at any moment takes it up again;
//! - the same thing is never installed twice at a time: equal orders join, colliding ones are refused;
//! - every operation ends exactly once; what a failed one did is undone in reverse order;
//! - never more than `install.parallel` at work, never more than `install.queue` accepted;
//! - a late answer of a step that no longer matters changes nothing.
pub mod choice;
pub mod journal;
pub mod memory;
pub mod order;
pub mod plan;

mod job;
mod view;
pub use job::{Consulted, Failure, Fault};
pub use view::InstallPart;

use crate::{
    model::{
        ids::OperationId,
        install::{Family, Present, TreeId, Wanted},
        refusal::Refusal,
        settings::Install,
        snapshot::Warning,
        time::{BootTime, WallTime},
    },
    policy::operations::{By, Outcome},
};
use job::{Job, Stage};
use journal::{deadline, queued};
use memory::{Memory, Pending};
use order::Order;
use plan::Step;
use std::collections::BTreeMap;

/// Boot clock and wall clock.
pub type Now = (BootTime, WallTime);

/// Names one thing that was asked for; its answer carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the world asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Do(Order, By),
    /// Activates the version that was active before.
    Rollback(Family, By),
    Cancel(OperationId),
}

/// What is asked of the machine. Each but `Abort` brings one [`Fact`].
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Recall(Ticket),
    Save(Ticket, Box<Memory>),
    /// Look what is there; with `sweep`, what killed installs left goes away first.
    Survey {
        ticket: Ticket,
        sweep: bool,
    },
    /// What does the artifact server have for this?
    Consult(Ticket, Wanted),
    Do(Ticket, Step),
    /// End this early; its fact comes all the same.
    Abort(Ticket),
}

/// What became of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Recalled(Ticket, Result<Box<Memory>, String>),
    Stored(Ticket, Result<(), String>),
    Surveyed(Ticket, Result<Box<Present>, String>),
    Consulted(Ticket, Result<Box<Consulted>, Failure>),
    Progressed { ticket: Ticket, text: String, share: Option<f64> },
    Did(Ticket, Result<(), Failure>),
}

/// An order was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// `None`: nothing had to be done.
    pub operation: Option<OperationId>,
    /// The answer waits until this is stored.
    pub durable: Option<Ticket>,
    pub effects: Vec<Effect>,
}

/// What is known of the installer's world.
enum Waking {
    Asleep,
    Recalling(Ticket),
    Surveying(Ticket),
    Awake,
}

pub struct Machine {
    rules: Install,
    /// `limits.operations_kept`.
    kept: usize,
    memory: Memory,
    present: Present,
    waking: Waking,
    jobs: BTreeMap<OperationId, Job>,
    /// Of the last look at the artifact server, by shelf and family.
    warnings: BTreeMap<Family, Vec<Warning>>,
    own_warnings: Vec<Warning>,
    tickets: u64,
    to_save: Option<Ticket>,
    out: Vec<Effect>,
}

impl Machine {
    pub fn new(rules: Install, kept: usize) -> Machine {
        Machine {
            rules,
            kept,
            memory: Memory::default(),
            present: Present::default(),
            waking: Waking::Asleep,
            jobs: BTreeMap::new(),
            warnings: BTreeMap::new(),
            own_warnings: Vec::new(),
            tickets: 0,
            to_save: None,
            out: Vec::new(),
        }
    }

    pub fn awaken(&mut self) -> Vec<Effect> {
        let ticket = self.ticket();
        self.waking = Waking::Recalling(ticket);
        self.out.push(Effect::Recall(ticket));
        self.finish()
    }

    pub fn is_awake(&self) -> bool {
        matches!(self.waking, Waking::Awake)
    }

    pub fn present(&self) -> &Present {
        &self.present
    }

    /// Takes an order, or says why not; a refused one changes nothing.
    pub fn on_command(&mut self, now: Now, command: Command) -> Result<Decision, Refusal> {
        if !self.is_awake() {
            return Err(Refusal::Recovering);
        }
        let operation = match command {
            Command::Do(order, by) => self.admit(now, order, by)?,
            Command::Rollback(family, by) => {
                let previous = self.memory.previous(&family, &self.present);
                let tree = previous.ok_or(Refusal::NoPrevious { family: family.id })?;
                self.admit(now, Order::Rollback { tree }, by)?
            }
            Command::Cancel(id) => {
                self.cancel(now, &id)?;
                Some(id)
            }
        };
        let durable = self.to_save;
        Ok(Decision { operation, durable, effects: self.finish() })
    }

    fn admit(&mut self, now: Now, order: Order, by: By) -> Result<Option<OperationId>, Refusal> {
        self.check_present(&order)?;
        if let Order::Activate { tree } = &order
            && self.present.is_active(tree)
        {
            return Ok(None);
        }
        if let Some(id) = self.jobs.iter().find(|(_, job)| job.covers(&order)).map(|(id, _)| id.clone()) {
            self.join(&id, &order);
            return Ok(Some(id));
        }
        self.check_room(&order)?;
        let (id, life) = (by.id.clone(), deadline(now, self.rules.patience));
        self.memory.journal.open(queued(order.kind(), order.subject(), by, now.1, life), self.kept);
        self.memory.orders.insert(id.clone(), Pending { order: order.clone(), tries: 0 });
        let asked = self.save();
        self.jobs.insert(id.clone(), Job::new(order, asked));
        Ok(Some(id))
    }

    fn check_present(&self, order: &Order) -> Result<(), Refusal> {
        match order {
            Order::Activate { tree } | Order::Remove { tree } | Order::Verify { tree } | Order::Repair { tree }
                if self.present.tree(tree).is_none() =>
            {
                Err(self.not_installed(tree))
            }
            _ => Ok(()),
        }
    }

    fn not_installed(&self, tree: &TreeId) -> Refusal {
        let of_family = self.present.trees.iter().filter(|t| t.id.family == tree.family);
        Refusal::NotInstalled { what: tree.to_string(), installed: of_family.map(|t| t.id.version.clone()).collect() }
    }

    fn check_room(&self, order: &Order) -> Result<(), Refusal> {
        if let Some(id) = self.jobs.iter().find(|(_, job)| job.order.collides(order)).map(|(id, _)| id)
            && let Some(o) = self.memory.journal.find(id)
        {
            return Err(Refusal::OperationInProgress {
                holder: o.id.clone(),
                kind: o.kind,
                deadline_at: o.deadline_at,
            });
        }
        match self.jobs.len() < self.rules.queue {
            true => Ok(()),
            false => Err(Refusal::TooManyOperations { limit: self.rules.queue }),
        }
    }

    fn join(&mut self, id: &OperationId, order: &Order) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let merged = job.order.clone().merged(order);
        if merged != job.order {
            job.order = merged.clone();
            if let Some(pending) = self.memory.orders.get_mut(id) {
                pending.order = merged;
            }
            self.save();
        }
    }

    /// Something that was asked for reports.
    pub fn on_fact(&mut self, now: Now, fact: Fact) -> Vec<Effect> {
        match fact {
            Fact::Recalled(ticket, result) => self.on_recalled(ticket, result),
            Fact::Stored(ticket, result) => self.on_saved(now, ticket, &result),
            Fact::Surveyed(ticket, result) => self.on_surveyed(now, ticket, result),
            Fact::Consulted(ticket, result) => self.on_consulted(now, ticket, result),
            Fact::Progressed { ticket, text, share } => self.on_progressed(now, ticket, &text, share),
            Fact::Did(ticket, result) => self.on_did(now, ticket, result),
        }
        self.dispatch(now);
        self.finish()
    }

    fn on_recalled(&mut self, ticket: Ticket, result: Result<Box<Memory>, String>) {
        if !matches!(self.waking, Waking::Recalling(awaited) if awaited == ticket) {
            return;
        }
        match result {
            Ok(memory) => self.memory = *memory,
            Err(why) => self.warn("install_memory_lost", format!("what was being installed is forgotten: {why}")),
        }
        let ticket = self.ticket();
        self.waking = Waking::Surveying(ticket);
        self.out.push(Effect::Survey { ticket, sweep: true });
    }

    fn on_surveyed(&mut self, now: Now, ticket: Ticket, result: Result<Box<Present>, String>) {
        let wakes = matches!(self.waking, Waking::Surveying(awaited) if awaited == ticket);
        if !wakes && self.whose(ticket).is_none() {
            return;
        }
        self.own_warnings.retain(|w| w.code != "install_survey_failed");
        match result {
            Ok(present) => {
                self.present = *present;
                self.memory.fit(&mut self.present);
            }
            Err(why) => self.warn("install_survey_failed", format!("cannot tell what is installed: {why}")),
        }
        if wakes {
            self.waking = Waking::Awake;
            self.take_up(now);
        } else {
            self.on_job_surveyed(now, ticket);
        }
    }

    /// What an earlier life left unfinished begins again: each order may be carried out twice.
    fn take_up(&mut self, now: Now) {
        let lost: Vec<OperationId> = {
            let known = |id: &OperationId| self.memory.orders.contains_key(id);
            self.memory.journal.live().filter(|o| !known(&o.id)).map(|o| o.id.clone()).collect()
        };
        for id in lost {
            self.memory.journal.end(&id, Outcome::Failed("the agent lost track of it; ask again".into()), now.1);
            self.save();
        }
        for (id, mut pending) in std::mem::take(&mut self.memory.orders) {
            pending.tries += 1;
            if pending.tries > self.rules.tries {
                let why = format!("the agent ended {} times while this was under way; see its log", pending.tries);
                self.memory.journal.end(&id, Outcome::Failed(why), now.1);
                self.save();
                continue;
            }
            self.memory.orders.insert(id.clone(), pending.clone());
            let asked = self.save();
            self.jobs.insert(id, Job::new(pending.order, asked));
        }
    }

    fn end(&mut self, now: Now, id: &OperationId, outcome: Outcome) {
        self.jobs.remove(id);
        self.memory.orders.remove(id);
        self.memory.journal.end(id, outcome, now.1);
        self.save();
    }

    fn enter(&mut self, id: &OperationId, stage: Stage) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.stage = stage;
        }
    }

    fn warn(&mut self, code: &str, message: String) {
        self.own_warnings.retain(|w| w.code != code);
        self.own_warnings.push(Warning { code: code.into(), message });
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Memory is stored at the end of this turn; the ticket of that.
    fn save(&mut self) -> Ticket {
        if let Some(ticket) = self.to_save {
            return ticket;
        }
        let ticket = self.ticket();
        self.to_save = Some(ticket);
        ticket
    }

    /// Stored first, done afterwards.
    fn finish(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.out);
        if let Some(ticket) = self.to_save.take() {
            effects.insert(0, Effect::Save(ticket, Box::new(self.memory.clone())));
        }
        effects
    }
}

#[cfg(test)]
mod tests;
