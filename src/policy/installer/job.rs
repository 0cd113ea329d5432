//! One order on its way: from the queue through its steps, or back through what undoes them.
use super::{Effect, Machine, Now, Ticket, journal::deadline, order, order::Order, plan::Plan, plan::Step};
use crate::{
    model::{
        ids::OperationId,
        install::{Family, Parcel, TreeId},
        refusal::Refusal,
        snapshot::Warning,
    },
    policy::operations::Outcome,
};

/// What the artifact server has for a want.
#[derive(Clone, Debug, PartialEq)]
pub struct Consulted {
    pub parcel: Parcel,
    /// What was wrong with the catalog, and did no harm.
    pub warnings: Vec<Warning>,
}

/// Why something did not work, as a sentence for a person: what, where, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub fault: Fault,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Files are not as their manifest says: a new install cures it.
    Damaged,
    Other,
}

impl Failure {
    pub fn other(reason: impl Into<String>) -> Failure {
        Failure { fault: Fault::Other, reason: reason.into() }
    }
}

pub(super) struct Job {
    pub order: Order,
    pub stage: Stage,
    /// What it turned out to be about.
    tree: Option<TreeId>,
    /// What is there could not be mended.
    anew: bool,
    cancelled: bool,
}

pub(super) enum Stage {
    Saving(Ticket),
    Queued,
    Consulting(Ticket),
    /// What the next step makes of the past is being saved before it is done.
    Noting(Ticket, Plan),
    Stepping(Ticket, Plan),
    /// What is still to be undone, the next first; the first is under way.
    Undoing(Ticket, Vec<Step>, String),
    Surveying(Ticket, Outcome),
}

impl Stage {
    fn awaits(&self) -> Option<Ticket> {
        match self {
            Stage::Queued => None,
            Stage::Saving(t) | Stage::Consulting(t) | Stage::Noting(t, _) | Stage::Stepping(t, _) => Some(*t),
            Stage::Undoing(t, _, _) | Stage::Surveying(t, _) => Some(*t),
        }
    }

    fn is_working(&self) -> bool {
        !matches!(self, Stage::Saving(_) | Stage::Queued)
    }
}

impl Job {
    pub fn new(order: Order, asked: Ticket) -> Job {
        Job { order, stage: Stage::Saving(asked), tree: None, anew: false, cancelled: false }
    }

    /// A cancelled one is no longer joined.
    pub fn covers(&self, order: &Order) -> bool {
        !self.cancelled && self.order.covers(order)
    }
}

impl Machine {
    /// The oldest first, as many as may work at a time.
    pub(super) fn dispatch(&mut self, now: Now) {
        while self.jobs.values().filter(|job| job.stage.is_working()).count() < self.rules.parallel {
            let Some(id) = self.next_in_line() else { return };
            self.begin(now, &id);
        }
    }

    fn next_in_line(&self) -> Option<OperationId> {
        let held = |job: &Job| {
            job.tree.is_some() && self.jobs.values().any(|other| other.stage.is_working() && other.tree == job.tree)
        };
        let free = |job: &Job| matches!(job.stage, Stage::Queued) && !held(job);
        self.jobs.iter().find(|(_, job)| free(job)).map(|(id, _)| id.clone())
    }

    fn begin(&mut self, now: Now, id: &OperationId) {
        let superseded = self.memory.superseded(self.rules.keep_previous, &self.present);
        let Some(job) = self.jobs.get(id) else { return };
        match job.order.plan(&self.present, superseded) {
            Some(plan) => self.go(now, id, plan),
            None => self.consult(now, id),
        }
    }

    fn consult(&mut self, now: Now, id: &OperationId) {
        let Some(wanted) = self.jobs.get(id).and_then(|job| job.order.want()) else { return };
        let ticket = self.ticket();
        self.enter(id, Stage::Consulting(ticket));
        self.show(now, id, "asking the artifact server", None);
        self.out.push(Effect::Consult(ticket, wanted));
    }

    /// The present step of the plan, or the end.
    fn go(&mut self, now: Now, id: &OperationId, plan: Plan) {
        let Some(step) = plan.step().cloned() else { return self.survey(id, Outcome::Done) };
        match self.replaces(id, &step) {
            Some((family, was)) => {
                self.memory.note_replaced(&family, &was);
                let ticket = self.save();
                self.enter(id, Stage::Noting(ticket, plan));
            }
            None => self.take(now, id, plan, step),
        }
    }

    /// The version that this step takes the place of, and that a rollback goes back to.
    fn replaces(&self, id: &OperationId, step: &Step) -> Option<(Family, String)> {
        let Step::Point { family, version: Some(version) } = step else { return None };
        let back = self.jobs.get(id).is_some_and(|job| matches!(job.order, Order::Rollback { .. }));
        let was = self.present.active(family).filter(|was| was != version && !back)?;
        Some((family.clone(), was.to_owned()))
    }

    fn take(&mut self, now: Now, id: &OperationId, plan: Plan, step: Step) {
        let ticket = self.ticket();
        self.show(now, id, &step.title(), Some(plan.progress(None)));
        self.enter(id, Stage::Stepping(ticket, plan));
        self.out.push(Effect::Do(ticket, step));
    }

    /// A save is done. Whose turn had to wait for it?
    pub(super) fn on_saved(&mut self, now: Now, ticket: Ticket, result: &Result<(), String>) {
        let waiting: Vec<OperationId> =
            self.jobs.iter().filter(|(_, job)| job.stage.awaits() == Some(ticket)).map(|(id, _)| id.clone()).collect();
        for id in waiting {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            match (std::mem::replace(&mut job.stage, Stage::Queued), result) {
                (Stage::Saving(_), Ok(())) => {}
                (Stage::Saving(_), Err(why)) => {
                    self.end(now, &id, Outcome::Failed(format!("what was asked could not be saved: {why}")));
                }
                (Stage::Noting(_, plan), Ok(())) => {
                    let Some(step) = plan.step().cloned() else { continue };
                    self.take(now, &id, plan, step);
                }
                (Stage::Noting(_, plan), Err(why)) => {
                    let why = format!("what was active before could not be saved: {why}");
                    self.give_up(now, &id, why, plan.undoing());
                }
                (stage, _) => job.stage = stage,
            }
        }
    }

    fn survey(&mut self, id: &OperationId, outcome: Outcome) {
        let ticket = self.ticket();
        self.enter(id, Stage::Surveying(ticket, outcome));
        self.out.push(Effect::Survey { ticket, sweep: false });
    }

    fn show(&mut self, now: Now, id: &OperationId, step: &str, progress: Option<f64>) {
        self.memory.journal.step(id, step, progress, deadline(now, self.rules.patience));
    }

    pub(super) fn whose(&self, ticket: Ticket) -> Option<OperationId> {
        self.jobs.iter().find(|(_, job)| job.stage.awaits() == Some(ticket)).map(|(id, _)| id.clone())
    }

    pub(super) fn on_consulted(&mut self, now: Now, ticket: Ticket, result: Result<Box<Consulted>, Failure>) {
        let Some(id) = self.whose(ticket) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Consulted { parcel, warnings } = match result {
            _ if job.cancelled => return self.give_up(now, &id, CANCELLED.into(), Vec::new()),
            Ok(consulted) => *consulted,
            Err(failure) => return self.give_up(now, &id, failure.reason, Vec::new()),
        };
        job.tree = Some(parcel.tree.clone());
        let taken = self.is_taken(&id, &parcel.tree);
        self.warnings.insert(parcel.tree.family.clone(), warnings);
        match taken {
            true => self.enter(&id, Stage::Queued),
            false => self.install(now, &id, &parcel),
        }
    }

    /// Does another job work on this very tree? It was asked for by another name.
    fn is_taken(&self, id: &OperationId, tree: &TreeId) -> bool {
        let others = self.jobs.iter().filter(|(other, job)| *other != id && job.stage.is_working());
        others.map(|(_, job)| job.tree.as_ref()).any(|other| other == Some(tree))
    }

    fn install(&mut self, now: Now, id: &OperationId, parcel: &Parcel) {
        let Some(job) = self.jobs.get(id) else { return };
        let activate = matches!(job.order, Order::Ensure { activate: true, .. });
        let changing = order::changing(&parcel.tree, activate, &self.present);
        let confirm =
            matches!(job.order, Order::Ensure { .. }) && !job.anew && self.present.tree(&parcel.tree).is_some();
        let plan = match confirm {
            true => Plan::confirm(&parcel.tree, changing),
            false => Plan::install(parcel, changing),
        };
        self.go(now, id, plan);
    }

    pub(super) fn on_progressed(&mut self, now: Now, ticket: Ticket, text: &str, share: Option<f64>) {
        let Some(id) = self.whose(ticket) else { return };
        let Some(Stage::Stepping(_, plan)) = self.jobs.get(&id).map(|job| &job.stage) else { return };
        let title = plan.step().map(Step::title).unwrap_or_default();
        let said = if text.is_empty() { title } else { format!("{title}: {text}") };
        let progress = plan.progress(share);
        self.show(now, &id, &said, Some(progress));
    }

    pub(super) fn on_did(&mut self, now: Now, ticket: Ticket, result: Result<(), Failure>) {
        let Some(id) = self.whose(ticket) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match std::mem::replace(&mut job.stage, Stage::Queued) {
            Stage::Stepping(_, plan) => self.on_stepped(now, &id, plan, result),
            Stage::Undoing(_, rest, why) => {
                let why = match result {
                    Ok(()) => why,
                    Err(failure) => format!("{why}; taking it back failed as well: {}", failure.reason),
                };
                self.give_up(now, &id, why, rest);
            }
            other => job.stage = other,
        }
    }

    fn on_stepped(&mut self, now: Now, id: &OperationId, mut plan: Plan, result: Result<(), Failure>) {
        let cancelled = self.jobs.get(id).is_some_and(|job| job.cancelled);
        match result {
            Ok(()) => {
                self.note(&plan);
                let (undo, was_last) = (plan.undoing(), plan.is_last());
                plan.advance();
                match cancelled && !was_last {
                    true => self.give_up(now, id, CANCELLED.into(), undo),
                    false => self.go(now, id, plan),
                }
            }
            Err(_) if cancelled => self.give_up(now, id, CANCELLED.into(), plan.undoing()),
            Err(failure) if self.has_cure(id, &plan, failure.fault) => self.cure(now, id, &plan),
            Err(failure) => {
                let why = self.told(&plan, &failure.reason);
                self.give_up(now, id, why, plan.undoing());
            }
        }
    }

    fn told(&self, plan: &Plan, reason: &str) -> String {
        plan.step().map_or_else(|| reason.to_owned(), |step| format!("{}: {reason}", step.title()))
    }

    /// Who wants it there wants it whole.
    fn has_cure(&self, id: &OperationId, plan: &Plan, fault: Fault) -> bool {
        let order = self.jobs.get(id).map(|job| &job.order);
        match plan.step() {
            Some(Step::Verify(_)) => fault == Fault::Damaged && matches!(order, Some(Order::Ensure { .. })),
            Some(Step::Mend(_)) => matches!(order, Some(Order::Ensure { .. } | Order::Repair { .. })),
            _ => false,
        }
    }

    /// What is damaged is mended; what cannot be mended is installed anew.
    fn cure(&mut self, now: Now, id: &OperationId, plan: &Plan) {
        let activate = self.jobs.get(id).is_some_and(|job| matches!(job.order, Order::Ensure { activate: true, .. }));
        match plan.step().cloned() {
            Some(Step::Verify(tree)) => {
                let changing = order::changing(&tree, activate, &self.present);
                self.go(now, id, Plan::mend(&tree, changing));
            }
            Some(Step::Mend(_)) => {
                if let Some(job) = self.jobs.get_mut(id) {
                    job.anew = true;
                }
                self.consult(now, id);
            }
            _ => {}
        }
    }

    /// What is active, how it is used, what is gone: once the step that made it so is done.
    fn note(&mut self, plan: &Plan) {
        match plan.step().cloned() {
            Some(Step::Point { family, version: Some(version) }) => self.note_pointed(&family, &version),
            Some(Step::Place(parcel)) => {
                self.memory.note_placed(&parcel);
                self.save();
            }
            Some(Step::Remove(tree)) => {
                self.memory.forget(&tree.family, &tree.version);
                self.save();
            }
            _ => {}
        }
    }

    fn note_pointed(&mut self, family: &Family, version: &str) {
        self.memory.forget(family, version);
        self.present.current.insert(family.clone(), version.to_owned());
        self.save();
    }

    /// It failed. What it did is undone, then it ends.
    fn give_up(&mut self, now: Now, id: &OperationId, why: String, mut undo: Vec<Step>) {
        if undo.is_empty() {
            return self.survey(id, Outcome::Failed(why));
        }
        let (step, ticket) = (undo.remove(0), self.ticket());
        self.show(now, id, &step.title(), None);
        self.enter(id, Stage::Undoing(ticket, undo, why));
        self.out.push(Effect::Do(ticket, step));
    }

    /// Everything is as it will be: somebody may have joined and want more.
    pub(super) fn on_job_surveyed(&mut self, now: Now, ticket: Ticket) {
        let Some(id) = self.whose(ticket) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Stage::Surveying(_, outcome) = std::mem::replace(&mut job.stage, Stage::Queued) else { return };
        match (outcome, self.unmet(&id)) {
            (Outcome::Done, Some(plan)) => self.go(now, &id, plan),
            (outcome, _) => self.end(now, &id, outcome),
        }
    }

    fn unmet(&self, id: &OperationId) -> Option<Plan> {
        let job = self.jobs.get(id).filter(|job| !job.cancelled)?;
        let Order::Ensure { wanted, activate: true } = &job.order else { return None };
        let tree = job.tree.clone().or_else(|| order::satisfying(wanted, &self.present))?;
        let was = order::changing(&tree, self.present.tree(&tree).is_some(), &self.present)?;
        Some(Plan::activate(&tree, was))
    }

    pub(super) fn cancel(&mut self, now: Now, id: &OperationId) -> Result<(), Refusal> {
        let Some(job) = self.jobs.get_mut(id) else {
            return Err(Refusal::NotCancellable { operation: id.clone() });
        };
        job.cancelled = true;
        match &job.stage {
            Stage::Saving(_) | Stage::Queued => self.end(now, id, Outcome::Failed(CANCELLED.into())),
            Stage::Consulting(ticket) | Stage::Stepping(ticket, _) => self.out.push(Effect::Abort(*ticket)),
            Stage::Noting(..) | Stage::Undoing(..) | Stage::Surveying(..) => {}
        }
        Ok(())
    }
}

const CANCELLED: &str = "cancelled";
