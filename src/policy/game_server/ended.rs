//! The end of a run: was it asked for? If not it is a crash, and the restart rule and the crash engine have their say.
use super::{
    Machine,
    command::Moment,
    effect::{Effect, Ended, Record},
    memory::{Desired, LastCrash},
    phase::{Live, Next, Phase, Rung, Stopping, Why},
};
use crate::{
    model::{
        crash::{Classification, Confidence, CrashReport, Retry, Verdict},
        exit::{Exit, ExitStatus},
        ids::{OperationId, RunId},
        time::BootTime,
        workload::ReadyProbe,
    },
    policy::{
        operations::{By, Outcome, later},
        restart::{self, Death, Proof},
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long the end of a run whose keeper died is waited for before it is killed.
const BURIAL: Duration = Duration::from_secs(20);
/// So long after a crash what it needs is taken to be in place as it was: it is launched as without a delay.
const FRESH: Duration = Duration::from_secs(2);
/// Crashes that wait for their report; the engine needs milliseconds for one.
const MOST_UNJUDGED: usize = 16;

impl Machine {
    pub(super) fn on_exited(&mut self, now: Moment, run: RunId, exit: &Exit) {
        let Some(live) = self.phase.live().filter(|l| l.run == run).cloned() else {
            return self.on_cleared_run_exited(exit);
        };
        self.account(exit);
        if exit.alone {
            self.tree.take_if(|tree| *tree == run);
        }
        // Only what left nothing behind is followed by another.
        self.tree = self.tree.or(exit.next);
        match &self.phase {
            Phase::Stopping(s) if s.why == Why::Hang => self.crash(now, live, exit, true, false),
            Phase::Stopping(s) if s.why == Why::Lost => self.crash(now, live, exit, false, false),
            Phase::Stopping(_) => self.on_stopped(now, run, false),
            _ => self.on_unasked_end(now, live, exit),
        }
    }

    /// Nobody wanted this run any more when it began: its end is no news, but seen.
    fn on_cleared_run_exited(&mut self, exit: &Exit) {
        let seen = self.memory.accounted >= exit.run;
        if matches!(&self.phase, Phase::Clearing(c) if c.run == exit.run && !seen) {
            self.account(exit);
        }
    }

    /// This end has been seen: no later life deals with it again.
    pub(super) fn account(&mut self, exit: &Exit) {
        self.memory.accounted = self.memory.accounted.max(exit.run);
        self.last_end = Some((exit.run, exit.status));
        self.save();
    }

    pub(super) fn on_unasked_end(&mut self, now: Moment, live: Live, exit: &Exit) {
        if self.was_stopped_at_console(exit) {
            let by = By { id: OperationId(String::new()), holder: "console".into() };
            self.want(now, Desired::Stopped, &by, None);
            self.conclude(now, Outcome::Failed("the game was stopped at its console".into()));
            return self.clear(now, live.run, Next::Rest, false);
        }
        self.crash(now, live, exit, false, false);
    }

    pub(super) fn was_stopped_at_console(&self, exit: &Exit) -> bool {
        exit.status == ExitStatus::Code(0) && self.memory.stop_typed == Some(exit.run)
    }

    /// `silent`: its keeper is gone, so nobody will say when its tree is empty.
    pub(super) fn crash(&mut self, now: Moment, live: Live, exit: &Exit, hung: bool, silent: bool) {
        let proof = proof(&live, exit.ended);
        let death = Death { at: exit.ended, uptime: exit.uptime(), proof };
        let what = describe(exit, hung);
        let (next, decision) = match self.memory.restart.on_death(&self.rules.restart, death, now.chance) {
            restart::Next::Again { due, delay, attempt } => {
                let decision = format!("restart {attempt} in {}", shown(delay));
                (self.retry_in(now, exit.run, due, delay), decision)
            }
            restart::Next::GiveUp(why) => {
                let reason = format!("gave up: {why}; the last one: {what}");
                (Next::Fail { reason, crashed: Some(exit.run) }, format!("gave up: {why}"))
            }
        };
        self.note_crash(exit);
        self.conclude(now, Outcome::Failed(format!("{what}; {decision}")));
        let was_ready = !matches!(proof, Proof::NeverReady);
        let ended = Ended { exit: exit.clone(), spec: live.spec, was_ready, hung, decision };
        self.memory.unjudged.push(ended.clone());
        let surplus = self.memory.unjudged.len().saturating_sub(MOST_UNJUDGED);
        self.memory.unjudged.drain(..surplus);
        self.out.push(Effect::Classify(Box::new(ended)));
        self.clear(now, exit.run, next, silent);
    }

    fn note_crash(&mut self, exit: &Exit) {
        self.memory.crash_count = self.memory.crash_count.saturating_add(1);
        self.memory.last_crash = Some(LastCrash {
            run: exit.run,
            time: exit.ended_at,
            exit_code: exit.status.code(),
            signal: exit.status.signal(),
            uptime_seconds: exit.uptime().as_secs(),
            classification: None,
            reason: None,
            log_tail: Vec::new(),
        });
        self.save();
    }

    pub(super) fn retry_in(&mut self, now: Moment, crashed: RunId, due: BootTime, delay: Duration) -> Next {
        self.memory.restart_at = Some(later(now.wall, due.since(now.boot)));
        Next::Retry { crashed, due, delay }
    }

    pub(super) fn retry(&mut self, now: Moment, crashed: RunId, due: BootTime, delay: Duration) {
        if delay.is_zero() {
            return self.relaunch(now, crashed);
        }
        self.enter(Phase::Backoff { crashed, due });
        self.arm_phase(due.since(now.boot));
    }

    pub(super) fn restart_after(&mut self, now: Moment, crashed: RunId) {
        let fresh = self.memory.restart.recent.last().is_some_and(|died| now.boot.since(*died) <= FRESH);
        // A delay is long enough for the disk: the crash is to be known there before the next run is.
        let noted = self.saving.is_empty() && self.timers.save.is_none();
        if fresh && noted { self.relaunch(now, crashed) } else { self.begin(now, false, Some(crashed)) }
    }

    /// The crash engine has spoken. It may forbid a restart that is still ahead; a run that has started is left alone.
    pub(super) fn on_classified(&mut self, now: Moment, run: RunId, mut report: CrashReport) {
        if !self.memory.unjudged.iter().any(|ended| ended.exit.run == run) {
            return;
        }
        let pending = self.phase.restarts_after(run);
        let veto = self.memory.restart.on_verdict(&report.verdict).filter(|_| pending);
        if let Some(why) = &veto {
            report.decision = format!("gave up: {why}");
        }
        self.file_report(report.clone());
        self.note_judged(&report);
        self.on_verdict(now, run, &report, veto.is_some());
        self.save();
    }

    /// What earlier lives counted and did not live to report. A report that is on disk lacks only the note of it.
    pub(super) fn judge_unjudged(&mut self) {
        for ended in self.memory.unjudged.clone() {
            match self.crashes.iter().find(|report| report.run == ended.exit.run).cloned() {
                Some(report) => self.note_judged(&report),
                None => self.out.push(Effect::Classify(Box::new(ended))),
            }
        }
    }

    fn note_judged(&mut self, report: &CrashReport) {
        self.memory.unjudged.retain(|ended| ended.exit.run != report.run);
        if let Some(last) = self.memory.last_crash.as_mut().filter(|last| last.run == report.run) {
            last.classification = Some(report.verdict.classification);
            last.reason = Some(report.verdict.reason.clone());
            last.log_tail = report.log_tail.iter().rev().take(50).rev().cloned().collect();
        }
        self.save();
    }

    fn on_verdict(&mut self, now: Moment, run: RunId, report: &CrashReport, veto: bool) {
        let reason = in_words(report);
        match &mut self.phase {
            Phase::Error { crashed: Some(crashed) } if *crashed == run => {
                self.memory.failure = Some(format!("{}: {reason}", report.decision));
            }
            Phase::Clearing(c) if veto => c.next = Next::Fail { reason, crashed: Some(run) },
            Phase::Clearing(c) => c.explain(run, &reason, &report.decision),
            _ if veto => self.fail(now, reason, Some(run)),
            _ => {}
        }
    }

    fn file_report(&mut self, report: CrashReport) {
        let report = Arc::new(report);
        let crashes = Arc::make_mut(&mut self.crashes);
        let place = crashes.iter().position(|filed| filed.run < report.run).unwrap_or(crashes.len());
        crashes.insert(place, report.clone());
        crashes.truncate(self.rules.limits.crashes_kept);
        self.save_with(Record::Crash(report));
    }

    /// A run that its keeper took along is brought to its end by whoever noticed, and its `Exited` follows: it may be
    /// saving its world right now, so nobody kills it yet.
    pub(super) fn on_keeper_lost(&mut self, run: RunId, recovered: bool, detail: &str) {
        let Some(live) = self.phase.live().filter(|l| l.run == run).cloned() else { return };
        self.warn("keeper_lost", format!("the process that held {run} is gone: {detail}"));
        if recovered || matches!(self.phase, Phase::Stopping(_)) {
            return;
        }
        self.enter(Phase::Stopping(Stopping { live, why: Why::Lost, rung: Rung::Kill(0), kill: false }));
        self.arm_phase(BURIAL);
    }

    /// Killed, and still nobody says that it ended.
    pub(super) fn on_lost_for_good(&mut self, now: Moment, live: Live) {
        let exit = unknown_exit(now, &live);
        self.account(&exit);
        self.crash(now, live, &exit, false, true);
    }

    pub(super) fn on_stop_typed(&mut self, run: RunId) {
        if self.phase.live().is_some_and(|l| l.run == run) {
            self.memory.stop_typed = Some(run);
            self.save();
        }
    }
}

impl Ended {
    /// The report when the crash engine gave no answer: what the exit status alone says.
    pub fn unclassified(&self, id: String, why: &str) -> CrashReport {
        let (classification, code) = match (self.hung, self.exit.status) {
            (true, _) => (Classification::UnexpectedExit, "hang"),
            (false, ExitStatus::Code(0)) => (Classification::UnexpectedExit, "exit.zero"),
            (false, ExitStatus::Code(_)) => (Classification::NonzeroExit, "exit.nonzero"),
            (false, ExitStatus::Signal { .. }) => (Classification::UnexpectedExit, "exit.signal"),
            (false, ExitStatus::Unknown) => (Classification::UnexpectedExit, "exit.unknown"),
        };
        let verdict = Verdict {
            classification,
            code: code.into(),
            confidence: Confidence::Weak,
            retry: Retry::Ladder,
            rule: String::new(),
            reason: describe(&self.exit, self.hung),
            hint: format!("The log was not looked at: {why}"),
            captures: BTreeMap::new(),
            evidence: Vec::new(),
        };
        self.report(id, verdict)
    }

    /// A report with this verdict and nothing gathered yet.
    pub fn report(&self, id: String, verdict: Verdict) -> CrashReport {
        CrashReport {
            id,
            run: self.exit.run,
            time: self.exit.ended_at,
            exit_code: self.exit.status.code(),
            signal: self.exit.status.signal(),
            core_dumped: matches!(self.exit.status, ExitStatus::Signal { core_dumped: true, .. }),
            uptime_seconds: self.exit.uptime().as_secs(),
            was_ready: self.was_ready,
            peak_memory_bytes: self.exit.max_rss_bytes,
            verdict,
            suspected_mod: None,
            crash_file: None,
            crash_file_text: None,
            log_tail: Vec::new(),
            changes: Vec::new(),
            decision: self.decision.clone(),
            status: Some(self.exit.status),
        }
    }
}

impl super::phase::Clearing {
    /// The reason of a failure that is decided already becomes the engine's.
    fn explain(&mut self, run: RunId, words: &str, decision: &str) {
        if let Next::Fail { reason, crashed: Some(crashed) } = &mut self.next
            && *crashed == run
        {
            *reason = format!("{decision}: {words}");
        }
    }
}

fn proof(live: &Live, ended: BootTime) -> Proof {
    match (&live.spec.ready.probe, live.watch.ready_for(ended)) {
        (ReadyProbe::None, _) => Proof::Unprobed,
        (_, None) => Proof::NeverReady,
        (_, Some(ready)) => Proof::ReadyFor(ready),
    }
}

fn describe(exit: &Exit, hung: bool) -> String {
    let uptime = exit.uptime().as_secs();
    match hung {
        true => format!("no answer, stopped after {uptime} s"),
        false => format!("{} after {uptime} s", exit.status),
    }
}

fn in_words(report: &CrashReport) -> String {
    let verdict = &report.verdict;
    match verdict.hint.is_empty() {
        true => verdict.reason.clone(),
        false => format!("{}. {}", verdict.reason.trim_end_matches('.'), verdict.hint),
    }
}

fn shown(delay: Duration) -> String {
    match delay.as_secs() {
        0 => format!("{} ms", delay.as_millis()),
        s => format!("{s} s"),
    }
}

/// Nobody could wait for it: the times are those of finding out.
fn unknown_exit(now: Moment, live: &Live) -> Exit {
    let (started, started_at) = live.born.map_or((now.boot, now.wall), |b| (b.started, b.started_at));
    Exit {
        run: live.run,
        status: ExitStatus::Unknown,
        started_at,
        ended_at: now.wall,
        started,
        ended: now.boot,
        max_rss_bytes: 0,
        oom_kills: None,
        log_start: 0,
        log_end: 0,
        alone: false,
        next: None,
    }
}
