//! The first moments of every life, of the agent's and of the actor's own: what was wanted, what is left, how to go on.
//! One path for all: a run that lives is taken up, a run that ended meanwhile is dealt with as if seen, with its true
//! times.
use super::{
    Machine,
    command::{Moment, Resolved},
    effect::{Aim, Effect},
    fact::{Born, Found, Recollection, RunFact, Ticket},
    memory::Desired,
    phase::{Live, Phase, Why},
};
use crate::{
    model::{exit::Exit, ids::RunId, operation::OperationKind, workload::WorkloadSpec},
    policy::{
        operations::{By, Outcome},
        readiness::Watch,
    },
};
use std::{sync::Arc, time::Duration};

/// Between two attempts to learn what was; commands are refused meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Run facts kept until discovery is answered. One run can send three.
const EARLY_FACTS: usize = 16;

impl Machine {
    /// The first effects of a life.
    pub fn awaken(&mut self) -> Vec<Effect> {
        self.recall_or_discover();
        self.finish()
    }

    pub(super) fn recall_or_discover(&mut self) {
        let ticket = self.ticket();
        let Phase::Recovering(r) = &mut self.phase else { return };
        r.asked = Some(ticket);
        self.out.push(if r.recalled { Effect::Discover(ticket) } else { Effect::Recall(ticket) });
    }

    /// Takes the answer to the question that is out, and only that.
    fn takes_answer(&mut self, ticket: Ticket) -> bool {
        match &mut self.phase {
            Phase::Recovering(r) => r.asked.take_if(|t| *t == ticket).is_some(),
            _ => false,
        }
    }

    fn ask_again(&mut self, what: &str, why: &str) {
        let seconds = ASK_AGAIN.as_secs();
        self.warn("recovery_failed", format!("{what}: {why}; trying again every {seconds} s"));
        self.arm_phase(ASK_AGAIN);
    }

    /// What happened to a run before it is known which one lives is looked at right after.
    pub(super) fn keep_for_later(&mut self, run: RunId, fact: RunFact) {
        if let Phase::Recovering(r) = &mut self.phase
            && r.early.len() < EARLY_FACTS
        {
            r.early.push((run, fact));
        }
    }

    pub(super) fn on_recalled(&mut self, ticket: Ticket, result: Result<Box<Recollection>, String>) {
        if !self.takes_answer(ticket) {
            return;
        }
        match result {
            Ok(recollection) => self.remember(*recollection),
            Err(why) => self.ask_again("cannot read what earlier lives wrote down", &why),
        }
    }

    fn remember(&mut self, was: Recollection) {
        self.memory = was.memory;
        self.memory.enter_boot(was.boot);
        self.config = was.config.map(|c: Resolved| Arc::new(c));
        self.crashes = Arc::new(was.crashes.into_iter().map(Arc::new).collect());
        (self.drawn, self.durable) = (self.memory.reserved, self.memory.reserved);
        self.durably = self.memory.intent.desired;
        if let Phase::Recovering(r) = &mut self.phase {
            r.recalled = true;
        }
        self.recall_or_discover();
    }

    pub(super) fn on_discovered(&mut self, now: Moment, ticket: Ticket, found: Result<Found, String>, autostart: By) {
        if !self.takes_answer(ticket) {
            return;
        }
        let found = match found {
            Ok(found) => found,
            Err(why) => return self.ask_again("cannot find out what runs", &why),
        };
        self.unwarn("recovery_failed");
        let (kill, early) = self.close_recovery(now, &autostart);
        self.resume_operation(now);
        self.judge_unjudged();
        match found {
            Found::Alive(run, born) => self.take_up(now, run, born, kill),
            Found::Ended(exit) => self.on_ended_meanwhile(now, &exit, &autostart),
            Found::Nothing | Found::LostByReboot => self.resume_without_run(now, &autostart),
        }
        early.into_iter().for_each(|(run, fact)| self.on_run(now, run, fact));
    }

    /// Commands that came too early take effect now. Returns whether to kill, and what happened meanwhile.
    fn close_recovery(&mut self, now: Moment, by: &By) -> (bool, Vec<(RunId, RunFact)>) {
        let Phase::Recovering(r) = &mut self.phase else { return (false, Vec::new()) };
        let (kill, early) = (r.kill, std::mem::take(&mut r.early));
        if kill {
            self.want(now, Desired::Stopped, &By { holder: "api".into(), ..by.clone() }, None);
            self.end_operation(now, Outcome::Superseded);
            self.memory.restart.cancel();
        }
        self.enter(Phase::Idle);
        (kill, early)
    }

    /// The operation an earlier life left behind goes on under a deadline of its own.
    fn resume_operation(&mut self, now: Moment) {
        let Some(kind) = self.memory.journal.holder().map(|o| o.kind) else { return };
        let within = self.time_for(kind);
        self.memory.journal.go_on((now.boot, now.wall), within);
        self.timers.operation = Some(self.arm(within));
    }

    fn take_up(&mut self, now: Moment, run: RunId, born: Born, kill: bool) {
        self.tree = Some(run);
        self.drawn = self.drawn.max(run);
        let Some(spec) = self.spec_of_living() else { return self.end_unknown(now, run) };
        let proven = self.memory.ready.filter(|r| r.run == run).map(|r| Watch::proven(r.since));
        let was_ready = proven.is_some();
        let live = Live { run, spec, born: Some(born), watch: proven.unwrap_or_default(), players: None };
        match self.why_ending(run) {
            Some(why) => self.resume_stop(now, live, why, kill),
            None if was_ready => self.take_up_ready(now, live),
            None => self.prove(now, live),
        }
    }

    fn spec_of_living(&self) -> Option<Arc<WorkloadSpec>> {
        self.memory.launched.clone().or_else(|| self.config.as_ref().map(|c| c.spec.clone()))
    }

    /// A process of ours that nobody described: it can be neither proven nor stopped by its own rules.
    fn end_unknown(&mut self, now: Moment, run: RunId) {
        let reason = format!("{run} was running without any saved configuration and was ended");
        self.clear_leftovers(now, super::phase::Next::Fail { reason, crashed: None });
    }

    fn why_ending(&self, run: RunId) -> Option<Why> {
        match (self.memory.intent.desired, self.memory.asked_to_end(run)) {
            (_, false) => None,
            (Desired::Stopped, true) => Some(Why::Asked),
            (Desired::Running, true) => Some(Why::Restart),
        }
    }

    fn take_up_ready(&mut self, now: Moment, live: Live) {
        self.conclude(now, Outcome::Done);
        self.enter(Phase::Ready(live));
        self.watch_on();
    }

    fn on_ended_meanwhile(&mut self, now: Moment, exit: &Exit, autostart: &By) {
        let spec = self.spec_of_living();
        let (Some(spec), true) = (spec, exit.run > self.memory.accounted) else {
            return self.resume_without_run(now, autostart);
        };
        self.account(exit);
        // Its descendants may have outlived it, and their end may never be reported to this life.
        self.out.push(Effect::Signal { run: exit.run, signal: 9, aim: Aim::Tree });
        if self.memory.asked_to_end(exit.run) {
            return self.resume_without_run(now, autostart);
        }
        let proven = self.memory.ready.filter(|r| r.run == exit.run).map(|r| Watch::proven(r.since));
        let live = Live { run: exit.run, spec, born: None, watch: proven.unwrap_or_default(), players: None };
        self.on_unasked_end(now, live, exit);
    }

    fn resume_without_run(&mut self, now: Moment, autostart: &By) {
        match (self.memory.intent.desired, self.memory.failure.is_some(), self.memory.restart.due) {
            (Desired::Stopped, false, _) => self.stay_down(now),
            (_, true, _) => self.stay_failed(now),
            (Desired::Running, false, Some(due)) => self.wait_on(now, due),
            (Desired::Running, false, None) => self.start_again(now, autostart),
        }
    }

    fn stay_down(&mut self, now: Moment) {
        let outcome = match self.memory.journal.holder().map(|o| o.kind) {
            Some(OperationKind::Stop) => Outcome::Done,
            _ => Outcome::Failed("agent restarted".into()),
        };
        self.rest(now, outcome);
    }

    fn stay_failed(&mut self, now: Moment) {
        self.end_operation(now, Outcome::Failed("agent restarted".into()));
        let crashed = self.memory.last_crash.as_ref().map(|c| c.run);
        self.enter(Phase::Error { crashed });
    }

    /// The wait of an earlier life goes on with what is left of it.
    fn wait_on(&mut self, now: Moment, due: crate::model::time::BootTime) {
        let crashed = self.memory.last_crash.as_ref().map(|c| c.run).unwrap_or_default();
        self.end_operation(now, Outcome::Failed("agent restarted".into()));
        self.enter(Phase::Backoff { crashed, due });
        self.arm_phase(due.since(now.boot));
    }

    fn start_again(&mut self, now: Moment, autostart: &By) {
        let asked = self.memory.journal.holder().map(|o| o.kind);
        if self.config.is_none() || (asked.is_none() && !self.rules.game.autostart) {
            return self.stay_down(now);
        }
        if asked.is_none() {
            self.open_operation(now, OperationKind::Start, autostart);
        }
        self.begin(now, asked == Some(OperationKind::Config), None);
    }
}
