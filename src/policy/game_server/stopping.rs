//! The way down: intent to disk, the ladder's rungs, SIGKILL to the tree; then the clearing away of what is left.
use super::{
    Machine,
    command::Moment,
    effect::{Aim, Effect},
    fact::Ticket,
    ladder,
    phase::{Awaited, Clearing, Live, Next, Phase, Rung, Stopping, Why},
};
use crate::{
    model::{ids::RunId, workload::StopStep},
    policy::operations::Outcome,
};
use std::time::Duration;

/// A stop waits this long for the disk, a kill less: neither may be held up by it.
const SAVE_BEFORE_STOP: Duration = Duration::from_secs(2);
const SAVE_BEFORE_KILL: Duration = Duration::from_millis(250);
/// Between two SIGKILLs to a tree that does not go.
const KILL_AGAIN: Duration = Duration::from_secs(5);
/// How long descendants may outlive the main process before they are killed.
const LEFTOVERS: Duration = Duration::from_secs(2);
/// SIGKILLs after which it is admitted that the kernel holds something.
const KILLS: u32 = 4;

impl Machine {
    /// Puts a run on the ladder. What that is for is written down first.
    pub(super) fn stop_run(&mut self, now: Moment, live: Live, why: Why, kill: bool) {
        self.memory.intent.ending = Some(live.run);
        self.memory.intent.since = now.boot;
        self.step("stopping");
        let rung = Rung::Saving(self.save());
        self.enter(Phase::Stopping(Stopping { live, why, rung, kill }));
        self.arm_phase(if kill { SAVE_BEFORE_KILL } else { SAVE_BEFORE_STOP });
    }

    /// A stop or a kill of what is already on the ladder (a restart, a hang, an earlier stop).
    pub(super) fn stop_harder(&mut self, now: Moment, kill: bool) {
        let Phase::Stopping(s) = &mut self.phase else { return };
        let (on_ladder, live, kill) = (!matches!(s.rung, Rung::Saving(_)), s.live.clone(), kill || s.kill);
        match (on_ladder, kill) {
            (true, true) if s.why == Why::Asked => self.kill_tree(now, 1),
            (true, false) => s.why = Why::Asked,
            (true, true) | (false, _) => self.stop_run(now, live, Why::Asked, kill),
        }
    }

    pub(super) fn on_saved_for_stop(&mut self, now: Moment, ticket: Ticket) {
        if matches!(&self.phase, Phase::Stopping(s) if s.rung == Rung::Saving(ticket)) {
            self.climb(now, 0);
        }
    }

    /// The present rung's time is over, or the disk's.
    pub(super) fn climb_on(&mut self, now: Moment) {
        let Phase::Stopping(s) = &self.phase else { return };
        match s.rung {
            Rung::Saving(_) => self.climb(now, 0),
            Rung::Step(n) => self.climb(now, n + 1),
            Rung::Kill(n) => self.kill_tree(now, n + 1),
        }
    }

    fn climb(&mut self, now: Moment, to: usize) {
        let Phase::Stopping(s) = &mut self.phase else { return };
        let rungs = ladder::rungs(&s.live.spec.stop, self.rules.stop.grace);
        match rungs.get(to).filter(|_| !s.kill) {
            Some(rung) => {
                s.rung = Rung::Step(to);
                let (live, wait) = (s.live.clone(), rung.wait);
                self.out.push(effect_of(&rung.step, &live));
                self.arm_phase(wait);
            }
            None => self.kill_tree(now, 1),
        }
    }

    fn kill_tree(&mut self, now: Moment, time: u32) {
        let Phase::Stopping(s) = &mut self.phase else { return };
        if s.why == Why::Lost && time > 1 {
            let live = s.live.clone();
            return self.on_lost_for_good(now, live);
        }
        (s.rung, s.kill) = (Rung::Kill(time), true);
        let run = s.live.run;
        self.out.push(Effect::Signal { run, signal: 9, aim: Aim::Tree });
        self.arm_phase(KILL_AGAIN);
        if time == KILLS {
            self.conclude(now, Outcome::Failed("SIGKILL does not end it: a process is stuck in the kernel".into()));
        }
    }

    /// An earlier life began this stop: go on at the rung that is due by now.
    pub(super) fn resume_stop(&mut self, now: Moment, live: Live, why: Why, kill: bool) {
        let rungs = ladder::rungs(&live.spec.stop, self.rules.stop.grace);
        let due = ladder::rung_at(&rungs, now.boot.since(self.memory.intent.since));
        self.enter(Phase::Stopping(Stopping { live, why, rung: Rung::Step(due), kill }));
        self.climb(now, due);
    }

    /// The process appeared while it was already being stopped: what was sent before reached nobody.
    pub(super) fn stop_as_born(&mut self, now: Moment) {
        let Phase::Stopping(s) = &self.phase else { return };
        match s.rung {
            Rung::Saving(_) => {}
            Rung::Step(n) => self.climb(now, n),
            Rung::Kill(n) => self.kill_tree(now, n),
        }
    }

    /// What was to be stopped is gone. `silent`: nobody will say when its tree is empty.
    pub(super) fn on_stopped(&mut self, now: Moment, run: RunId, silent: bool) {
        let Phase::Stopping(s) = &self.phase else { return };
        let next = next_after(&s.why);
        self.clear(now, run, next, silent);
    }
}

/// Clearing away.
impl Machine {
    /// Waits until nothing of `run` is left, then goes on with `next`. `silent`: nobody will report it.
    pub(super) fn clear(&mut self, now: Moment, run: RunId, next: Next, silent: bool) {
        match self.tree {
            Some(left) if left == run => {}
            // Its keeper has gone on by our permit, and that is not what follows: it was withdrawn a moment too late.
            Some(_) if !next.is_at_once() => return self.clear_leftovers(now, next),
            _ => return self.cleared(now, next),
        }
        self.enter(Phase::Clearing(Clearing { run, next, awaited: Awaited::Tree { kills: 0, silent } }));
        self.arm_phase(LEFTOVERS);
    }

    /// Something of an earlier run may be left: kill it now, then `next`.
    pub(super) fn clear_leftovers(&mut self, now: Moment, next: Next) {
        let Some(run) = self.tree else { return self.cleared(now, next) };
        self.drawn = self.drawn.max(run);
        self.clear(now, run, next, false);
        self.clear_harder(now);
    }

    pub(super) fn clear_harder(&mut self, now: Moment) {
        let Phase::Clearing(Clearing { run, awaited: Awaited::Tree { kills, silent }, .. }) = &mut self.phase else {
            return;
        };
        *kills += 1;
        let (run, kills, silent) = (*run, *kills, *silent);
        if kills > KILLS || (silent && kills > 1) {
            return self.on_not_cleared(now, silent);
        }
        self.out.push(Effect::Signal { run, signal: 9, aim: Aim::Tree });
        self.arm_phase(KILL_AGAIN);
    }

    /// Without anybody to report it, a killed tree counts as gone (the keeper's own lock still forbids a second run).
    /// Otherwise somebody who knows says that it is not gone: no launch.
    fn on_not_cleared(&mut self, now: Moment, silent: bool) {
        let Phase::Clearing(c) = &self.phase else { return };
        let next = c.next.clone();
        if silent {
            self.tree = None;
            return self.cleared(now, next);
        }
        self.fail(now, "processes of the last run survive SIGKILL (stuck in the kernel?)".into(), None);
    }

    pub(super) fn on_tree_emptied(&mut self, now: Moment, run: RunId) {
        if self.tree != Some(run) {
            return;
        }
        self.tree = None;
        if let Phase::Clearing(c) = &self.phase
            && c.run == run
        {
            let next = c.next.clone();
            self.cleared(now, next);
        }
    }

    /// What follows has changed: no need to wait for the ports any more if that is what was waited for.
    pub(super) fn clear_on(&mut self, now: Moment) {
        let Phase::Clearing(c) = &self.phase else { return };
        let next = c.next.clone();
        if matches!(c.awaited, Awaited::Ports(_)) {
            self.cleared(now, next);
        }
    }

    fn cleared(&mut self, now: Moment, next: Next) {
        if self.closing.is_some() {
            return self.close_after(now, &next);
        }
        match next {
            Next::Rest => self.leave_ports(now),
            Next::Start { installing } => self.begin(now, installing, None),
            Next::Retry { crashed, due, delay } => self.retry(now, crashed, due, delay),
            Next::Fail { reason, crashed } => self.fail(now, reason, crashed),
        }
    }

    /// The agent goes down too. A stop has come to its end; what was to start again is the next life's to start.
    fn close_after(&mut self, now: Moment, next: &Next) {
        match next {
            Next::Rest => self.rest(now, Outcome::Done),
            Next::Fail { reason, .. } => self.memory.failure = Some(reason.clone()),
            Next::Start { .. } | Next::Retry { .. } => {}
        }
        self.close();
    }

    /// A stop is over when the port is free as well.
    fn leave_ports(&mut self, now: Moment) {
        let ports = self.memory.launched.as_ref().map(|s| s.ports.clone()).unwrap_or_default();
        let run = self.drawn;
        if ports.is_empty() {
            return self.rest(now, Outcome::Done);
        }
        let ticket = self.ticket();
        let within = self.rules.restart.port_wait;
        self.step("waiting for its ports");
        self.enter(Phase::Clearing(Clearing { run, next: Next::Rest, awaited: Awaited::Ports(ticket) }));
        self.out.push(Effect::AwaitPorts { ticket, ports, within });
    }

    pub(super) fn on_ports_left(&mut self, now: Moment, ticket: Ticket, result: &Result<(), String>) {
        let Phase::Clearing(c) = &self.phase else { return };
        if c.awaited != Awaited::Ports(ticket) {
            return;
        }
        let outcome = match result {
            Ok(()) => Outcome::Done,
            Err(why) => Outcome::Failed(format!("stopped, but {why}")),
        };
        self.rest(now, outcome);
    }
}

fn next_after(why: &Why) -> Next {
    match why {
        Why::Asked | Why::Shutdown => Next::Rest,
        Why::Restart | Why::Hang | Why::Lost => Next::Start { installing: false },
        Why::NeverReady(reason) => Next::Fail { reason: reason.clone(), crashed: None },
    }
}

fn effect_of(step: &StopStep, live: &Live) -> Effect {
    let run = live.run;
    match step {
        StopStep::Stdin { line, .. } => Effect::Say { run, spec: live.spec.clone(), line: line.clone() },
        StopStep::Signal { signal, .. } => Effect::Signal { run, signal: *signal, aim: Aim::Leader },
        StopStep::GroupSignal { signal, .. } => Effect::Signal { run, signal: *signal, aim: Aim::Group },
    }
}
