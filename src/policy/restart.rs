//! Whether, and when, something that died is started again. The same rule serves game servers and actors.
//!
//! Three limits, each for a failure the others miss:
//! - the ladder `restart.backoff`: one delay a death in a row, then give up. Only being *ready* for
//!   `restart.reset_after` starts it anew: a modded server that dies after loading for a minute is no success;
//! - `restart.max_crashes_before_ready` for a long ladder under a server that never gets there;
//! - `restart.max_crashes_per_hour` for one that always lives just long enough to be forgiven.
//!
//! What the crash engine found out may end it sooner ([`History::on_verdict`]); a person's new command forgives all
//! ([`History::forgive`]). The history is plain data: it is stored, and the wait goes on after an agent restart.
use crate::model::{
    crash::{Retry, Verdict},
    settings::Restart,
    time::BootTime,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// What the rule remembers. Boot times in it mean something within one boot only; [`History::forgive`] it in the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// Deaths since the sequence was last reset, i.e. the number of the coming attempt.
    pub streak: u32,
    /// Deaths in a row before ready was ever reached.
    pub unready: u32,
    /// Deaths within the last hour, oldest first; at most one more than the limit allows.
    pub recent: Vec<BootTime>,
    /// Verdict code of the last classified death.
    pub last_code: Option<String>,
    /// When the pending restart is due.
    pub due: Option<BootTime>,
}

/// What was known about readiness when it died.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Proof {
    /// Nothing could prove readiness: uptime has to do.
    Unprobed,
    NeverReady,
    ReadyFor(Duration),
}

/// One unexpected end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Death {
    pub at: BootTime,
    pub uptime: Duration,
    pub proof: Proof,
}

impl Death {
    /// Did it live well for long enough to start the sequence anew?
    fn forgives(&self, rule: &Restart) -> bool {
        match self.proof {
            Proof::Unprobed => self.uptime >= rule.reset_after,
            Proof::NeverReady => false,
            Proof::ReadyFor(ready) => ready >= rule.reset_after,
        }
    }
}

/// The rule's answer to a death.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Start again at `due`; this is restart number `attempt` of the sequence.
    Again { due: BootTime, delay: Duration, attempt: u32 },
    /// No restart; the sentence says which limit was met.
    GiveUp(String),
}

impl History {
    /// `chance` in 0.0..=1.0 is this restart's share of the jitter.
    pub fn on_death(&mut self, rule: &Restart, death: Death, chance: f64) -> Next {
        self.count(rule, death);
        match self.limit_met(rule) {
            Some(reason) => {
                self.due = None;
                Next::GiveUp(reason)
            }
            None => self.again(rule, death.at, chance),
        }
    }

    fn count(&mut self, rule: &Restart, death: Death) {
        if death.forgives(rule) {
            (self.streak, self.unready, self.last_code) = (0, 0, None);
        }
        self.streak = self.streak.saturating_add(1);
        self.unready = match death.proof {
            Proof::NeverReady => self.unready.saturating_add(1),
            Proof::Unprobed | Proof::ReadyFor(_) => 0,
        };
        self.recent.push(death.at);
        self.recent.retain(|at| death.at.since(*at) < HOUR);
        let most = rule.max_crashes_per_hour as usize + 1;
        let surplus = self.recent.len().saturating_sub(most);
        self.recent.drain(..surplus);
    }

    fn limit_met(&self, rule: &Restart) -> Option<String> {
        if self.recent.len() > rule.max_crashes_per_hour as usize {
            return Some(format!("more than {} crashes within an hour", rule.max_crashes_per_hour));
        }
        if self.unready >= rule.max_crashes_before_ready.max(1) {
            return Some(format!("{} crashes in a row before it was ready", self.unready));
        }
        (self.streak as usize > rule.backoff.len()).then(|| format!("{} crashes in a row", self.streak))
    }

    fn again(&mut self, rule: &Restart, at: BootTime, chance: f64) -> Next {
        let step = rule.backoff.get(self.streak.saturating_sub(1) as usize).copied().unwrap_or_default();
        let delay = lengthened(step, rule.jitter, chance);
        let due = at + delay;
        self.due = Some(due);
        Next::Again { due, delay, attempt: self.streak }
    }

    /// Is it certain by now that the next death of a run that was ready is answered by a restart without delay?
    pub fn goes_on_at_once(&self, rule: &Restart) -> bool {
        // Such a run may have lived long enough to start the sequence anew, or not.
        let without_delay = |deaths: u32| rule.backoff.get(deaths as usize).is_some_and(Duration::is_zero);
        let within_budget = self.recent.len() < rule.max_crashes_per_hour as usize;
        without_delay(0) && without_delay(self.streak) && within_budget
    }

    /// The verdict on the last death, however late: `Some(reason)` if it forbids the pending restart.
    pub fn on_verdict(&mut self, verdict: &Verdict) -> Option<String> {
        let repeated = self.last_code.as_deref() == Some(verdict.code.as_str());
        self.last_code = Some(verdict.code.clone());
        let why = match verdict.retry {
            Retry::Ladder => return None,
            Retry::Once if !repeated => return None,
            Retry::Once => "the same failure again",
            Retry::Never => "trying again cannot help",
        };
        self.due = None;
        Some(format!("{why} ({})", verdict.code))
    }

    /// The pending restart is being carried out or is no longer wanted: there is never more than one.
    pub fn cancel(&mut self) {
        self.due = None;
    }

    /// A person acted (a start, a new configuration, a reboot): the past no longer counts.
    pub fn forgive(&mut self) {
        *self = History::default();
    }
}

/// `delay` made longer by up to the share `jitter` of it, so that a thousand servers do not return in step.
fn lengthened(delay: Duration, jitter: f64, chance: f64) -> Duration {
    delay + delay.mul_f64(jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
