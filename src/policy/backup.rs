//! Backups: who may have one made or put back now, what follows, and what becomes of orders that an agent's death cut short.
//!
//! ```text
//!  order ──► one at a time ──► Make | PutBack | Verify ──► Discard what is too many ──► outcome
//!            (409 with holder)      └── cut short: the next life looks at the disk, which knows
//! ```
//! Nothing is begun anew by itself: a copy that was cut short is of a moment that is over, and a restore is finished or taken
//! back before anything else happens.
mod order;
pub mod retention;
pub mod space;
#[cfg(test)]
mod tests;

pub use order::{Memory, Order, Recollection, Shelves, Step, Wish};

use crate::{
    model::{
        backup::{BackupId, Backups},
        container::Kind,
        ids::OperationId,
        operation::Operation,
        refusal::Refusal,
        settings,
        snapshot::Warning,
        time::{BootTime, WallTime},
    },
    policy::{
        operations::{By, Journal, Outcome},
        status::OperationPart,
    },
};
use order::step_of;
use std::sync::Arc;

pub type Now = (BootTime, WallTime);

/// Which question an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The end of a step, and what lies on its shelf now, if that could be seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub outcome: Result<(), String>,
    pub shelf: Option<Backups>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Recalled(Result<Box<Recollection>, String>),
    Stored(Ticket, Result<(), String>),
    Progressed { ticket: Ticket, text: String, share: Option<f64> },
    Did(Ticket, Report),
    Released(Ticket),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Recall,
    Save(Ticket, Box<Memory>),
    Do(Ticket, Step),
    /// Ends a step early.
    Stop(Ticket),
    /// The game may have been told to hold its writes, and nobody has taken that back.
    Release(Ticket),
}

/// An order was taken. Answer once `durable` is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub operation: OperationId,
    pub durable: Ticket,
    pub effects: Vec<Effect>,
}

/// What the status says of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackupPart {
    pub operation: Option<OperationPart>,
    /// Newest first.
    pub operations: Arc<Vec<Operation>>,
    pub warnings: Vec<Warning>,
}

struct Job {
    ticket: Ticket,
    wish: Wish,
    /// Not begun: the order is on its way to the disk. A game must never hold its writes, nor a tree be half put back,
    /// for an order that an agent's death would make forgotten.
    begins: Option<(Ticket, Step)>,
    /// The order itself is carried out; what is left is tidying up.
    tidying: bool,
    cancelled: bool,
}

/// One desk for the backups of a container.
pub struct Machine {
    rules: settings::Backups,
    kept: usize,
    awake: bool,
    shelves: Shelves,
    journal: Journal,
    job: Option<Job>,
    /// A game is told to write again after an earlier agent's death; then that order ends like this.
    releasing: Option<(Ticket, Outcome)>,
    warnings: Vec<Warning>,
    tickets: u64,
}

impl Machine {
    /// `kept`: `limits.operations_kept`.
    pub fn new(rules: settings::Backups, kept: usize) -> Machine {
        Machine {
            rules,
            kept,
            awake: false,
            shelves: Shelves::default(),
            journal: Journal::default(),
            job: None,
            releasing: None,
            warnings: Vec::new(),
            tickets: 0,
        }
    }

    pub fn awaken(&mut self) -> Vec<Effect> {
        vec![Effect::Recall]
    }

    pub fn is_awake(&self) -> bool {
        self.awake
    }

    pub fn shelves(&self) -> &Shelves {
        &self.shelves
    }

    /// The refusal that who wants to change the workload gets now.
    pub fn in_the_way(&self) -> Option<Refusal> {
        self.job.as_ref().filter(|job| !job.wish.order.leaves_workload_alone()).and_then(|_| self.journal.busy())
    }

    pub fn order(&mut self, now: Now, wish: Wish, by: By) -> Result<Decision, Refusal> {
        if !self.awake {
            return Err(Refusal::Recovering);
        }
        if let Some(busy) = self.journal.busy() {
            return Err(busy);
        }
        if let Some(of) = wish.order.of() {
            let found = self.shelves.find(wish.kind, of);
            let backup = found.ok_or_else(|| Refusal::NoSuchBackup { id: of.clone() })?;
            let damage = backup.verified.as_ref().and_then(|verified| verified.fault.clone());
            if let (Order::PutBack { .. }, Some(fault)) = (&wish.order, damage) {
                return Err(Refusal::BackupDamaged { fault });
            }
        }
        let (kind, operation) = (wish.order.operation(), by.id.clone());
        self.journal.open(kind, by, now, self.rules.patience, self.kept);
        self.journal.about(wish.order.about().to_string());
        self.warnings.clear();
        let (save, ticket) = (self.ticket(), self.ticket());
        let step = step_of(&wish, &operation);
        self.job = Some(Job { ticket, wish, begins: Some((save, step)), tidying: false, cancelled: false });
        Ok(Decision { operation, durable: save, effects: vec![self.save(save)] })
    }

    /// `None`: no operation of mine. What is already being put in place goes to its end.
    pub fn cancel(&mut self, id: &OperationId) -> Option<Result<Vec<Effect>, Refusal>> {
        let refused = || Some(Err(Refusal::NotCancellable { operation: id.clone() }));
        if self.journal.holder().is_none_or(|holder| holder.id != *id) {
            return self.journal.rows().iter().any(|row| row.id == *id).then(refused).flatten();
        }
        match &mut self.job {
            Some(job) if !job.tidying && !matches!(job.wish.order, Order::Delete { .. }) => {
                job.cancelled = true;
                Some(Ok(vec![Effect::Stop(job.ticket)]))
            }
            _ => refused(),
        }
    }

    pub fn on_fact(&mut self, now: Now, fact: Fact) -> Vec<Effect> {
        match fact {
            Fact::Recalled(Ok(recalled)) => self.on_recalled(now, *recalled),
            Fact::Recalled(Err(why)) => {
                self.warn("backups_unreadable", why);
                self.awake = true;
                Vec::new()
            }
            Fact::Stored(ticket, result) => self.on_stored(now, ticket, result),
            Fact::Progressed { ticket, text, share } => {
                if self.job.as_ref().is_some_and(|job| job.ticket == ticket) {
                    self.journal.step(&text, share);
                    self.journal.go_on(now, self.rules.patience);
                }
                Vec::new()
            }
            Fact::Did(ticket, report) => self.on_done(now, ticket, report),
            Fact::Released(ticket) => match self.releasing.take_if(|(releases, _)| *releases == ticket) {
                Some((_, outcome)) => self.close(now, outcome),
                None => Vec::new(),
            },
        }
    }

    /// The order is on disk, and begins. One that cannot be written down is not begun, unless nothing would be left in
    /// between by a death: so a full disk can be made room on.
    fn on_stored(&mut self, now: Now, stored: Ticket, result: Result<(), String>) -> Vec<Effect> {
        if let Err(why) = &result {
            self.warn("state_not_saved", format!("an operation on backups is not written down: {why}"));
        }
        let Some(job) = &mut self.job else { return Vec::new() };
        let Some((_, step)) = job.begins.take_if(|(waits_for, _)| *waits_for == stored) else { return Vec::new() };
        let (ticket, cancelled, harmless) = (job.ticket, job.cancelled, job.wish.order.leaves_workload_alone());
        match result {
            _ if cancelled => self.close(now, Outcome::Failed("it was cancelled".into())),
            Err(why) if !harmless => self.close(now, Outcome::Failed(format!("it could not be written down: {why}"))),
            Ok(()) | Err(_) => vec![Effect::Do(ticket, step)],
        }
    }

    /// What an agent's death cut short ends now, as the disk tells.
    fn on_recalled(&mut self, now: Now, recalled: Recollection) -> Vec<Effect> {
        (self.awake, self.shelves, self.journal) = (true, recalled.shelves, recalled.memory.journal);
        let Some(wish) = recalled.memory.pending.filter(|_| self.journal.holder().is_some()) else {
            if self.journal.holder().is_none() {
                return Vec::new();
            }
            return self.close(now, Outcome::Failed("the agent ended in the middle of it".into()));
        };
        let there = |id: &BackupId| self.shelves.find(wish.kind, id).is_some();
        let cut = |what: &str| Outcome::Failed(format!("the agent ended in the middle of it; {what}"));
        let outcome = match &wish.order {
            Order::Make { id } if there(id) => Outcome::Done,
            Order::Make { .. } => cut("make it again"),
            Order::PutBack { .. } => match recalled.restored {
                Some(Ok(())) => Outcome::Done,
                Some(Err(why)) => Outcome::Failed(why),
                None => cut("nothing was changed"),
            },
            Order::Verify { .. } => cut("verify it again"),
            Order::Delete { of } if there(of) => cut("delete it again"),
            Order::Delete { .. } => Outcome::Done,
        };
        if wish.kind == Kind::Game && matches!(wish.order, Order::Make { .. }) {
            // Forgotten only once it is done: this agent may die, too.
            let ticket = self.ticket();
            self.releasing = Some((ticket, outcome));
            return vec![Effect::Release(ticket)];
        }
        self.close(now, outcome)
    }

    fn on_done(&mut self, now: Now, ticket: Ticket, report: Report) -> Vec<Effect> {
        let Some(job) = self.job.as_ref().filter(|job| job.ticket == ticket) else { return Vec::new() };
        let (wish, tidying, cancelled) = (job.wish.clone(), job.tidying, job.cancelled);
        if let Some(shelf) = report.shelf {
            self.shelves.put(wish.kind, shelf);
        }
        match report.outcome {
            Err(why) if tidying => {
                self.warn("backups_not_pruned", format!("old backups could not be deleted: {why}"));
                self.close(now, Outcome::Done)
            }
            Err(_) if cancelled => self.close(now, Outcome::Failed("it was cancelled".into())),
            Err(why) => self.close(now, Outcome::Failed(why)),
            Ok(()) if tidying => self.close(now, Outcome::Done),
            Ok(()) => self.tidy(now, wish),
        }
    }

    fn tidy(&mut self, now: Now, wish: Wish) -> Vec<Effect> {
        let spared: Vec<&BackupId> = match &wish.order {
            Order::Make { id } => vec![id],
            Order::PutBack { of, checkpoint } => vec![of, checkpoint],
            Order::Verify { .. } | Order::Delete { .. } => return self.close(now, Outcome::Done),
        };
        let ids = retention::surplus(self.shelves.of(wish.kind), &self.rules, &spared);
        if ids.is_empty() {
            return self.close(now, Outcome::Done);
        }
        let ticket = self.ticket();
        self.journal.step("deleting old backups", None);
        let step = Step::Discard { kind: wish.kind, ids };
        self.job = Some(Job { ticket, wish, begins: None, tidying: true, cancelled: false });
        vec![Effect::Do(ticket, step)]
    }

    fn close(&mut self, now: Now, outcome: Outcome) -> Vec<Effect> {
        self.journal.end(outcome, now.1);
        self.job = None;
        let save = self.ticket();
        vec![self.save(save)]
    }

    fn save(&self, ticket: Ticket) -> Effect {
        let pending = self.job.as_ref().map(|job| job.wish.clone());
        Effect::Save(ticket, Box::new(Memory { journal: self.journal.clone(), pending }))
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn warn(&mut self, code: &str, message: String) {
        self.warnings.retain(|warning| warning.code != code);
        self.warnings.push(Warning { code: code.into(), message });
    }

    pub fn part(&self) -> BackupPart {
        let operation = self.journal.holder().map(|o| OperationPart {
            id: o.id.clone(),
            kind: o.kind,
            started_at: o.started_at,
            message: o.step.clone(),
        });
        BackupPart { operation, operations: self.journal.rows(), warnings: self.warnings.clone() }
    }
}
