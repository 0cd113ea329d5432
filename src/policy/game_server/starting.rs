//! The one way up, for every kind of start: save, prepare, ports, launch, prove; then keep proving.
use super::{
    Machine,
    command::{Moment, Resolved},
    effect::{Aim, Effect, Probing},
    fact::{Born, Chance, LaunchFailure, Ticket},
    memory::{Desired, ReadyRun},
    phase::{Live, Next, Phase, Preparing, Step, Why},
};
use crate::{
    model::{
        ids::RunId,
        operation::OperationKind,
        workload::{ReadyProbe, WorkloadSpec},
    },
    policy::{
        operations::Outcome,
        readiness::{Answer, Judgement, Watch, settle},
        restart::{self, Death, Proof},
    },
};
use std::{sync::Arc, time::Duration};

/// What a launch may take at most; its doer is held to it as well.
pub const LAUNCH_WITHIN: Duration = Duration::from_secs(30);
/// A deadline that progress moves is not moved for less than this.
const EXTENDED_BY: Duration = Duration::from_secs(10);
/// Room in an operation's deadline for everything that has no budget of its own.
const MARGIN: Duration = Duration::from_secs(30);

impl Machine {
    /// The deadline of an operation: what its steps may take, added up.
    pub(super) fn time_for(&self, kind: OperationKind) -> Duration {
        let within = self.config.as_ref().map_or(self.rules.ready.within, |c| c.spec.ready.within);
        let down = self.rules.stop.grace + self.rules.restart.port_wait + MARGIN;
        let up = self.rules.game.prepare_patience + self.rules.restart.port_wait + LAUNCH_WITHIN + within + MARGIN;
        match kind {
            OperationKind::Stop => down,
            _ => down + up,
        }
    }

    /// A start from the beginning. What is left of an earlier run goes first.
    pub(super) fn begin(&mut self, now: Moment, installing: bool, crashed: Option<RunId>) {
        if self.tree.is_some() {
            return self.clear_leftovers(now, Next::Start { installing });
        }
        let Some(config) = self.config.clone() else {
            return self.fail(now, "there is no configuration to start: send /config first".into(), crashed);
        };
        let (run, spec) = (self.draw_run(), config.spec.clone());
        self.note_launch(&spec);
        self.step("saving what was asked");
        let asked = self.save();
        self.enter(Phase::Preparing(Preparing { run, spec, step: Step::Saving, asked, installing, crashed }));
    }

    fn note_launch(&mut self, spec: &Arc<WorkloadSpec>) {
        self.memory.launched = Some(spec.clone());
        self.memory.intent.ending = None;
        self.memory.restart.cancel();
        self.unwarn("keeper_lost");
        self.unwarn("hang");
    }

    pub(super) fn on_saved_for_start(&mut self, now: Moment, ticket: Ticket, result: &Result<(), String>) {
        let noted = self.preparing(ticket, Step::Noting);
        match result {
            _ if !noted && !self.preparing(ticket, Step::Saving) => {}
            Err(why) if !self.may_start_unsaved() => {
                self.fail(now, format!("not started: what was asked could not be saved: {why}"), None);
            }
            _ if noted => self.await_ports(),
            _ => self.furnish(),
        }
    }

    /// Is this the answer the preparation waits for?
    fn preparing(&self, ticket: Ticket, step: Step) -> bool {
        matches!(&self.phase, Phase::Preparing(p) if p.asked == ticket && p.step == step)
    }

    /// The disk knows already that it is to run, and the run's number is safe: being full is no reason to stay down.
    fn may_start_unsaved(&self) -> bool {
        let Phase::Preparing(p) = &self.phase else { return false };
        p.run <= self.durable && self.durably == Desired::Running && !p.installing
    }

    fn furnish(&mut self) {
        let ticket = self.ticket();
        self.step("preparing the server folder");
        let (Phase::Preparing(p), Some(config)) = (&mut self.phase, &self.config) else { return };
        (p.step, p.asked) = (Step::Furnishing, ticket);
        self.out.push(Effect::Prepare(ticket, config.clone()));
    }

    /// What moves gets more time.
    pub(super) fn on_progressed(&mut self, now: Moment, ticket: Ticket, step: &str, progress: Option<f64>) {
        if !self.preparing(ticket, Step::Furnishing) && self.aside != Some(ticket) {
            return;
        }
        self.memory.journal.step(step, progress);
        let Some((kind, deadline)) = self.memory.journal.holder().map(|o| (o.kind, o.deadline)) else { return };
        let within = self.time_for(kind);
        if (now.boot + within).since(deadline) >= EXTENDED_BY {
            self.memory.journal.go_on((now.boot, now.wall), within);
            self.timers.operation = Some(self.arm(within));
        }
    }

    pub(super) fn on_prepared(&mut self, now: Moment, ticket: Ticket, result: Result<Arc<WorkloadSpec>, String>) {
        self.on_done_aside(now, ticket, &result.as_ref().map(drop).map_err(String::clone));
        match (self.preparing(ticket, Step::Furnishing), result) {
            (false, _) => {}
            (true, Ok(spec)) => self.note_prepared(spec),
            (true, Err(why)) => self.fail(now, why, None),
        }
    }

    /// What was installed may have changed what is launched (another Java, another jar): the next life must know it too.
    fn note_prepared(&mut self, spec: Arc<WorkloadSpec>) {
        let Phase::Preparing(p) = &self.phase else { return };
        if p.spec == spec {
            return self.await_ports();
        }
        self.config = self.config.take().map(|was| Arc::new(Resolved { spec: spec.clone(), ..(*was).clone() }));
        self.note_launch(&spec);
        let asked = self.save();
        let Phase::Preparing(p) = &mut self.phase else { return };
        (p.spec, p.step, p.asked) = (spec, Step::Noting, asked);
    }

    fn await_ports(&mut self) {
        (self.memory.provisioned, self.memory.provisioning_error) = (true, None);
        let ticket = self.ticket();
        let within = self.rules.restart.port_wait;
        let Phase::Preparing(p) = &mut self.phase else { return };
        (p.step, p.asked) = (Step::AwaitingPorts, ticket);
        let ports = p.spec.ports.clone();
        if ports.is_empty() {
            return self.launch_prepared();
        }
        self.step("waiting for its ports");
        self.out.push(Effect::AwaitPorts { ticket, ports, within });
    }

    pub(super) fn on_ports_freed(&mut self, now: Moment, ticket: Ticket, result: Result<(), String>) {
        self.on_ports_left(now, ticket, &result);
        match (self.preparing(ticket, Step::AwaitingPorts), result) {
            (false, _) => {}
            (true, Ok(())) => self.launch_prepared(),
            (true, Err(why)) => self.fail(now, format!("not started: {why}"), None),
        }
    }

    fn launch_prepared(&mut self) {
        let Phase::Preparing(p) = &self.phase else { return };
        let (run, spec) = (p.run, p.spec.clone());
        let launch = self.launch(run, spec);
        self.out.push(launch);
    }

    /// A crash restart without delay, or after a short one: everything was in place a moment ago, so the order goes out in this very turn,
    /// and first of all. It follows from nothing that this turn has yet to store: that the server is wanted, what it is
    /// and that this run id is taken have been on disk since before the run that crashed.
    pub(super) fn relaunch(&mut self, now: Moment, crashed: RunId) {
        let Some(config) = self.config.clone() else { return self.begin(now, false, Some(crashed)) };
        let reserved = self.drawn < self.durable;
        let same = self.memory.launched.as_ref() == Some(&config.spec);
        // Nothing is there, or what its keeper has begun by our permit: this very run.
        let free = self.tree.is_none_or(|run| run.0 == self.drawn.0 + 1);
        if !reserved || !same || !free {
            return self.begin(now, false, Some(crashed));
        }
        let run = self.draw_run();
        self.note_launch(&config.spec);
        self.save();
        self.ahead = Some(self.launch(run, config.spec.clone()));
    }

    /// Says whether the keeper may begin the next run by itself, when that has changed.
    pub(super) fn permit(&mut self) -> Option<Effect> {
        let next = self.permitted_next();
        let run = next.as_ref().map(|(run, _)| *run);
        let changed = std::mem::replace(&mut self.permitted, run) != run;
        changed.then_some(Effect::Permit(next))
    }

    /// The run that a crash of a ready one would be answered by in that very turn, however it crashes and whenever: what
    /// [`Machine::relaunch`] asks, asked beforehand.
    fn permitted_next(&self) -> Option<(RunId, Arc<WorkloadSpec>)> {
        let Phase::Ready(live) = &self.phase else { return None };
        let wanted = self.closing.is_none() && self.memory.intent.desired == Desired::Running;
        let sure = wanted && self.memory.restart.goes_on_at_once(&self.rules.restart);
        let same = || self.memory.launched.as_ref() == self.config.as_ref().map(|config| &config.spec);
        let reserved = self.drawn == live.run && self.drawn < self.durable;
        (sure && reserved && same()).then(|| (RunId(live.run.0 + 1), live.spec.clone()))
    }

    fn launch(&mut self, run: RunId, spec: Arc<WorkloadSpec>) -> Effect {
        self.step("launching");
        self.tree = Some(run);
        let live = Live { run, spec: spec.clone(), born: None, watch: Watch::default(), players: None };
        self.enter(Phase::Launching(live));
        Effect::Launch(run, spec)
    }

    pub(super) fn on_launched(&mut self, now: Moment, run: RunId, born: Born) {
        match &mut self.phase {
            Phase::Launching(live) if live.run == run => {
                let live = Live { born: Some(born), ..live.clone() };
                self.prove(now, live);
            }
            Phase::Stopping(s) if s.live.run == run && s.live.born.is_none() => {
                s.live.born = Some(born);
                self.stop_as_born(now);
            }
            _ => {}
        }
    }

    /// A living run that has yet to prove itself, be it newly launched or taken up from an earlier life.
    pub(super) fn prove(&mut self, now: Moment, mut live: Live) {
        self.step("waiting until it is ready");
        if live.spec.ready.probe == ReadyProbe::None {
            live.watch.presume(now.boot);
            self.enter(Phase::Starting(live));
            return self.become_ready(now);
        }
        let within = live.spec.ready.within;
        self.enter(Phase::Starting(live));
        self.arm_phase(within);
        self.probe();
    }

    pub(super) fn probe(&mut self) {
        let (Phase::Starting(live) | Phase::Ready(live)) = &self.phase else { return };
        let Some(born) = live.born else { return };
        let proven = matches!(self.phase, Phase::Ready(_));
        self.out.push(Effect::Probe(Probing { run: live.run, spec: live.spec.clone(), born, proven }));
    }

    pub(super) fn on_probed(&mut self, now: Moment, run: RunId, answer: Answer) {
        let (Phase::Starting(live) | Phase::Ready(live)) = &mut self.phase else { return };
        if live.run != run {
            return;
        }
        if let Answer::Alive { players } = &answer {
            live.players = players.clone();
        }
        let settle = settle(&live.spec.ready, &self.rules.ready);
        let judgement = live.watch.on_answer(now.boot, &answer, settle, &self.rules.hang);
        self.on_judgement(now, judgement);
    }

    fn on_judgement(&mut self, now: Moment, judgement: Judgement) {
        match judgement {
            Judgement::StillStarting => self.timers.probe = Some(self.arm(self.rules.ready.interval)),
            Judgement::BecameReady => self.become_ready(now),
            Judgement::Steady => self.watch_on(),
            Judgement::SuspectedHang => {
                self.on_hang_suspected();
                self.watch_on();
            }
            Judgement::Hung => self.on_hung(now),
        }
    }

    fn become_ready(&mut self, now: Moment) {
        let Phase::Starting(live) = &self.phase else { return };
        let live = live.clone();
        self.memory.ready = Some(ReadyRun { run: live.run, since: now.boot });
        self.memory.last_ready_at = Some(now.wall);
        self.out.push(Effect::NoteGoodStart(live.run, live.spec.clone()));
        self.conclude(now, Outcome::Done);
        self.save();
        self.enter(Phase::Ready(live));
        self.watch_on();
    }

    /// The next look at a ready run.
    pub(super) fn watch_on(&mut self) {
        let Phase::Ready(live) = &self.phase else { return };
        if live.watch.is_answering() {
            self.unwarn("hang");
        }
        let Phase::Ready(live) = &self.phase else { return };
        let interval = self.rules.hang.interval;
        if live.spec.ready.probe != ReadyProbe::None && !interval.is_zero() {
            self.timers.probe = Some(self.arm(interval));
        }
    }

    fn on_hang_suspected(&mut self) {
        let Phase::Ready(live) = &self.phase else { return };
        let (run, dump) = (live.run, live.spec.dump_signal);
        let after = self.rules.hang.after.as_secs();
        let message = format!("the process lives but has not answered for {after} s: {}", live.watch.reason());
        self.warn("hang", message);
        if let Some(signal) = dump {
            self.out.push(Effect::Signal { run, signal, aim: Aim::Leader });
        }
    }

    fn on_hung(&mut self, now: Moment) {
        let Phase::Ready(live) = &self.phase else { return };
        let live = live.clone();
        self.stop_run(now, live, Why::Hang, false);
    }

    pub(super) fn on_start_deadline(&mut self, now: Moment) {
        let Phase::Starting(live) = &self.phase else { return };
        let live = live.clone();
        let within = live.spec.ready.within.as_secs();
        let heard = if live.watch.reason().is_empty() { "no probe was answered" } else { live.watch.reason() };
        let reason = format!("not ready within {within} s: {heard}");
        self.conclude(now, Outcome::Failed(reason.clone()));
        self.stop_run(now, live, Why::NeverReady(reason), false);
    }

    pub(super) fn on_launch_failed(&mut self, now: Moment, run: RunId, failure: LaunchFailure) {
        let Some(live) = self.phase.live().filter(|l| l.run == run && l.born.is_none()) else { return };
        let unready = live.spec.ready.probe != ReadyProbe::None;
        if failure.chance != Chance::Unknown {
            self.tree = None;
        }
        match (&self.phase, failure.chance) {
            (Phase::Stopping(_), _) => self.on_stopped(now, run, true),
            (_, Chance::Hopeless) => self.fail(now, failure.reason, None),
            (_, Chance::Later | Chance::Unknown) => self.launch_again(now, run, unready, failure),
        }
    }

    /// A launch that may work later climbs the same ladder as a crash, but is none: nothing ever ran.
    fn launch_again(&mut self, now: Moment, run: RunId, probed: bool, failure: LaunchFailure) {
        let proof = if probed { Proof::NeverReady } else { Proof::Unprobed };
        let death = Death { at: now.boot, uptime: Duration::ZERO, proof };
        let next = match self.memory.restart.on_death(&self.rules.restart, death, now.chance) {
            restart::Next::Again { due, delay, .. } => self.retry_in(now, run, due, delay),
            restart::Next::GiveUp(why) => {
                Next::Fail { reason: format!("{} (gave up: {why})", failure.reason), crashed: None }
            }
        };
        // Should there be a process after all, it is killed here: no later life may take that for a crash.
        self.memory.accounted = self.memory.accounted.max(run);
        self.save();
        self.conclude(now, Outcome::Failed(failure.reason));
        self.clear(now, run, next, failure.chance == Chance::Unknown);
    }
}
