//! Commands: who is let in, and what each one sets going. A refusal changes nothing.
use super::{
    Machine,
    command::{Command, Decision, Leaving, Moment, Resolved},
    effect::{Aim, Effect, Record},
    fact::Ticket,
    memory::Desired,
    phase::{Next, Phase, Why},
};
use crate::{
    model::{ids::OperationId, operation::OperationKind, phase::State, refusal::Refusal},
    policy::operations::{Admission, Asked, By, Outcome, admission},
};
use std::{sync::Arc, time::Duration};

/// How long the disk may take before an agent that goes down leaves anyway.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

impl Machine {
    /// The world wants something.
    pub fn on_command(&mut self, now: Moment, command: Command) -> Result<Decision, Refusal> {
        let mut shown = None;
        let operation = match command {
            Command::Configure(resolved, by) => {
                shown = Some(State::Installing);
                self.configure(now, resolved, &by)?
            }
            Command::Start(by) => self.start(now, &by)?,
            Command::Stop(by) => self.stop(now, &by)?,
            Command::Restart(by) => {
                shown = Some(State::Starting); // where it is heading; what it does first is in the status
                self.restart(now, &by)?
            }
            Command::Kill(by) => self.kill(now, &by)?,
            Command::Shutdown(leaving) => self.shut_down(now, leaving),
        };
        let state = shown.unwrap_or_else(|| self.state());
        Ok(Decision { operation, state, durable: self.to_save, effects: self.finish() })
    }

    /// Asks the lock; a superseded holder has ended when this returns.
    fn admit(&mut self, now: Moment, asked: Asked) -> Result<Admission, Refusal> {
        if self.closing.is_some() && asked != Asked::Kill {
            return Err(Refusal::ShuttingDown);
        }
        if matches!(self.phase, Phase::Recovering(_)) && asked != Asked::Kill {
            return Err(Refusal::Recovering);
        }
        let admission = admission(asked, self.held());
        match admission {
            Admission::Busy => return Err(self.memory.journal.busy().unwrap_or(Refusal::Recovering)),
            Admission::Supersede => {
                self.aside = None;
                self.end_operation(now, Outcome::Superseded);
            }
            Admission::Enter | Admission::Join => {}
        }
        Ok(admission)
    }

    fn configure(&mut self, now: Moment, resolved: Arc<Resolved>, by: &By) -> Result<Option<OperationId>, Refusal> {
        self.admit(now, Asked::Configure)?;
        let id = self.open_operation(now, OperationKind::Config, by);
        let lives = self.phase.live().is_some() && !matches!(self.phase, Phase::Stopping(_));
        match &self.config {
            Some(saved) if lives && saved.body == resolved.body => self.verify(),
            _ if lives => self.file(resolved),
            _ => self.install(now, resolved, by),
        }
        Ok(Some(id))
    }

    /// The same body again beside a living run: look whether all is in place, touch nothing that runs.
    fn verify(&mut self) {
        let Some(config) = self.config.clone() else { return };
        let ticket = self.ticket();
        self.step("verifying");
        self.aside = Some(ticket);
        self.out.push(Effect::Prepare(ticket, config));
    }

    /// Another body beside a living run: it is kept, and used by the next start.
    fn file(&mut self, resolved: Arc<Resolved>) {
        self.step("saving the configuration");
        self.aside = Some(self.save_with(Record::Config(resolved.body.clone())));
        self.config = Some(resolved);
    }

    fn install(&mut self, now: Moment, resolved: Arc<Resolved>, by: &By) {
        self.save_with(Record::Config(resolved.body.clone()));
        self.config = Some(resolved);
        (self.memory.provisioned, self.memory.provisioning_error) = (false, None);
        self.go_up(now, by, true);
    }

    /// What went on beside the run is over.
    pub(super) fn on_done_aside(&mut self, now: Moment, ticket: Ticket, result: &Result<(), String>) {
        if self.aside.take_if(|t| *t == ticket).is_some() {
            self.end_operation(now, outcome_of(result));
        }
    }

    fn start(&mut self, now: Moment, by: &By) -> Result<Option<OperationId>, Refusal> {
        self.admit(now, Asked::Start)?;
        if self.config.is_none() {
            return Err(Refusal::NoConfig);
        }
        if self.phase.is_up() {
            return Ok(None);
        }
        let id = self.open_operation(now, OperationKind::Start, by);
        self.go_up(now, by, false);
        Ok(Some(id))
    }

    fn restart(&mut self, now: Moment, by: &By) -> Result<Option<OperationId>, Refusal> {
        self.admit(now, Asked::Restart)?;
        if self.config.is_none() {
            return Err(Refusal::NoConfig);
        }
        let id = self.open_operation(now, OperationKind::Restart, by);
        self.go_up(now, by, false);
        Ok(Some(id))
    }

    /// From wherever it is to a fresh run: a living one is stopped first. A person asked: the past is forgiven.
    fn go_up(&mut self, now: Moment, by: &By, installing: bool) {
        self.want(now, Desired::Running, by, Some(by.id.clone()));
        self.memory.restart.forgive();
        self.memory.failure = None;
        match &mut self.phase {
            Phase::Launching(live) | Phase::Starting(live) | Phase::Ready(live) => {
                let live = live.clone();
                self.stop_run(now, live, Why::Restart, false);
            }
            Phase::Stopping(s) => s.why = Why::Restart,
            Phase::Clearing(c) => {
                c.next = Next::Start { installing };
                self.clear_on(now);
            }
            _ => self.begin(now, installing, None),
        }
    }

    fn stop(&mut self, now: Moment, by: &By) -> Result<Option<OperationId>, Refusal> {
        if self.admit(now, Asked::Stop)? == Admission::Join {
            return Ok(self.memory.journal.holder().map(|o| o.id.clone()));
        }
        if self.is_at_rest() {
            self.settle_intent(now, by);
            return Ok(None);
        }
        let id = self.open_operation(now, OperationKind::Stop, by);
        self.go_down(now, by, Some(id.clone()), false);
        Ok(Some(id))
    }

    fn kill(&mut self, now: Moment, by: &By) -> Result<Option<OperationId>, Refusal> {
        self.admit(now, Asked::Kill)?;
        if let Phase::Recovering(r) = &mut self.phase {
            r.kill = true;
        } else if self.is_at_rest() {
            self.settle_intent(now, by);
        } else {
            self.go_down(now, by, None, true);
        }
        Ok(None)
    }

    fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Error { .. }) && self.tree.is_none()
    }

    fn settle_intent(&mut self, now: Moment, by: &By) {
        if self.memory.intent.desired == Desired::Running {
            self.want(now, Desired::Stopped, by, None);
        }
    }

    /// From wherever it is to nothing running.
    fn go_down(&mut self, now: Moment, by: &By, operation: Option<OperationId>, kill: bool) {
        self.want(now, Desired::Stopped, by, operation);
        self.memory.restart.cancel();
        match &mut self.phase {
            Phase::Launching(live) | Phase::Starting(live) | Phase::Ready(live) => {
                let live = live.clone();
                self.stop_run(now, live, Why::Asked, kill);
            }
            Phase::Stopping(_) => self.stop_harder(now, kill),
            Phase::Clearing(_) => self.clear_down(now, kill),
            Phase::Preparing(_) | Phase::Backoff { .. } => self.rest(now, Outcome::Done),
            Phase::Idle | Phase::Error { .. } => self.clear_leftovers(now, Next::Rest),
            Phase::Closed { .. } => self.kill_in_passing(),
            Phase::Recovering(_) => {}
        }
    }

    /// The agent leaves, and its run is to go all the same: the next life sees to the rest.
    fn kill_in_passing(&mut self) {
        if let Some(run) = self.tree {
            self.out.push(Effect::Signal { run, signal: 9, aim: Aim::Tree });
        }
    }

    /// Nothing runs, nothing is meant to.
    pub(super) fn rest(&mut self, now: Moment, outcome: Outcome) {
        self.conclude(now, outcome);
        self.memory.intent.ending = None;
        self.enter(Phase::Idle);
    }

    /// A kill or a stop while the last run is being cleared away.
    fn clear_down(&mut self, now: Moment, kill: bool) {
        let Phase::Clearing(c) = &mut self.phase else { return };
        c.next = Next::Rest;
        let run = c.run;
        if kill && self.tree == Some(run) {
            self.out.push(Effect::Signal { run, signal: 9, aim: Aim::Tree });
        }
        self.clear_on(now);
    }

    fn shut_down(&mut self, now: Moment, leaving: Leaving) -> Option<OperationId> {
        self.closing = Some(leaving);
        match (&self.phase, leaving) {
            (Phase::Launching(live) | Phase::Starting(live) | Phase::Ready(live), Leaving::Stop) => {
                let live = live.clone();
                self.aside = None;
                self.end_operation(now, Outcome::Superseded);
                self.stop_run(now, live, Why::Shutdown, false);
            }
            (Phase::Stopping(_) | Phase::Clearing(_), Leaving::Stop) | (Phase::Closed { .. }, _) => {}
            // A kill takes a moment and was promised: who leaves before a launch is answered would leave a game behind.
            (Phase::Stopping(s), Leaving::Leave) if s.kill => {}
            (Phase::Recovering(_), _) => self.out.push(Effect::Finish),
            _ => self.close(),
        }
        None
    }

    /// Writes down where it stands and ends. An operation that still runs is the next life's to end.
    pub(super) fn close(&mut self) {
        let shown = self.state();
        let saving = self.save();
        self.enter(Phase::Closed { saving, shown });
        self.arm_phase(CLOSE_WITHIN);
    }

    pub(super) fn on_saved_for_close(&mut self, ticket: Ticket) {
        if matches!(self.phase, Phase::Closed { saving, .. } if saving == ticket) {
            self.timers.phase = None;
            self.out.push(Effect::Finish);
        }
    }
}

fn outcome_of(result: &Result<(), String>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(why) => Outcome::Failed(why.clone()),
    }
}
