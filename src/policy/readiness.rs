//! Is it ready, still starting, or hung? Decided from the answers of probes, each a moment in time.
//!
//! ```text
//! proving ──alive answers for `settle`──► proven ──no answer for `hang.after`──► suspect ──again no answer──► hung
//!    ▲ any dead answer starts `settle` anew         ◄──────── an alive answer ────────┘        (only if hang.restart)
//! ```
use crate::model::{
    settings::{Hang, Ready},
    snapshot::Players,
    time::BootTime,
    workload::{Readiness, ReadyProbe},
};
use std::time::Duration;

/// What one probe learnt.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Players could join right now.
    Alive { players: Option<Players> },
    /// They could not; why, for a person.
    Dead { reason: String },
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Not ready yet.
    StillStarting,
    /// Ready from now on.
    BecameReady,
    /// As before.
    Steady,
    /// No answer for `hang.after`: warn, and ask it for a dump. Said once until it answers again.
    SuspectedHang,
    /// Suspected, and still no answer; `hang.restart` says to act.
    Hung,
}

/// The watch over one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Since when every answer has been alive, while proving.
    alive_since: Option<BootTime>,
    ready_since: Option<BootTime>,
    dead_since: Option<BootTime>,
    suspected: bool,
    /// Why the last dead answer was dead; empty after an alive one.
    reason: String,
}

impl Watch {
    /// A run that an earlier life of the agent already saw ready.
    pub fn proven(since: BootTime) -> Watch {
        Watch { ready_since: Some(since), ..Watch::default() }
    }

    /// The last probe's reason, empty if it was answered.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn is_answering(&self) -> bool {
        self.dead_since.is_none()
    }

    /// How long it had been ready by `at`; time without answers does not count. `None`: never.
    pub fn ready_for(&self, at: BootTime) -> Option<Duration> {
        self.ready_since.map(|since| self.dead_since.unwrap_or(at).since(since))
    }

    /// Ready without proof: nothing can be asked.
    pub fn presume(&mut self, now: BootTime) {
        self.ready_since = Some(now);
    }

    /// `settle`: how long it must have answered before that counts.
    pub fn on_answer(&mut self, now: BootTime, answer: &Answer, settle: Duration, hang: &Hang) -> Judgement {
        match answer {
            Answer::Alive { .. } => self.on_alive(now, settle),
            Answer::Dead { reason } => self.on_dead(now, reason, hang),
        }
    }

    fn on_alive(&mut self, now: BootTime, settle: Duration) -> Judgement {
        (self.dead_since, self.suspected) = (None, false);
        self.reason.clear();
        if self.ready_since.is_some() {
            return Judgement::Steady;
        }
        let since = *self.alive_since.get_or_insert(now);
        if now.since(since) < settle {
            return Judgement::StillStarting;
        }
        self.ready_since = Some(now);
        Judgement::BecameReady
    }

    fn on_dead(&mut self, now: BootTime, reason: &str, hang: &Hang) -> Judgement {
        self.reason = reason.to_owned();
        self.alive_since = None;
        if self.ready_since.is_none() {
            return Judgement::StillStarting;
        }
        let since = *self.dead_since.get_or_insert(now);
        if now.since(since) < hang.after {
            return Judgement::Steady;
        }
        match (self.suspected, hang.restart) {
            (false, _) => {
                self.suspected = true;
                Judgement::SuspectedHang
            }
            (true, true) => Judgement::Hung,
            (true, false) => Judgement::Steady,
        }
    }
}

/// How long answers must last before they count: a matching log line proves little until the process outlived it.
pub fn settle(ready: &Readiness, rule: &Ready) -> Duration {
    match ready.probe {
        ReadyProbe::Log { .. } => rule.settle,
        ReadyProbe::MinecraftPing { .. }
        | ReadyProbe::Tcp { .. }
        | ReadyProbe::Http { .. }
        | ReadyProbe::A2s { .. }
        | ReadyProbe::Udp { .. }
        | ReadyProbe::Banner { .. }
        | ReadyProbe::Command { .. }
        | ReadyProbe::None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANG: Hang = Hang { interval: Duration::from_secs(10), after: Duration::from_secs(120), restart: true };

    fn at(s: u64) -> BootTime {
        BootTime(Duration::from_secs(s))
    }

    fn alive() -> Answer {
        Answer::Alive { players: None }
    }

    fn dead() -> Answer {
        Answer::Dead { reason: "connection refused".into() }
    }

    fn judge(watch: &mut Watch, hang: &Hang, steps: &[(u64, Answer)]) -> Vec<Judgement> {
        steps.iter().map(|(s, a)| watch.on_answer(at(*s), a, Duration::from_secs(2), hang)).collect()
    }

    #[test]
    fn ready_after_answers_have_lasted() {
        use Judgement::*;
        let mut w = Watch::default();
        let steps = [(0, dead()), (1, alive()), (2, dead()), (3, alive()), (4, alive()), (5, alive()), (6, alive())];
        let want = [StillStarting, StillStarting, StillStarting, StillStarting, StillStarting, BecameReady, Steady];
        assert_eq!(judge(&mut w, &HANG, &steps), want);
        assert_eq!(w.ready_for(at(9)), Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_hang_is_suspected_once_then_acted_on_only_if_so_set() {
        use Judgement::*;
        let steps = [(10, dead()), (129, dead()), (130, dead()), (140, dead()), (150, alive()), (160, dead())];
        let mut w = Watch::proven(at(0));
        assert_eq!(judge(&mut w, &HANG, &steps), [Steady, Steady, SuspectedHang, Hung, Steady, Steady]);
        assert_eq!(w.ready_for(at(900)), Some(Duration::from_secs(160)), "time without answers does not count");
        let mut w = Watch::proven(at(0));
        let report = Hang { restart: false, ..HANG };
        assert_eq!(judge(&mut w, &report, &steps), [Steady, Steady, SuspectedHang, Steady, Steady, Steady]);
    }
}
