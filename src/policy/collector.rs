//! What a gateway makes of what an agent says: the newest status, never an older one, never a dead one that looks alive.
//!
//! A status is ordered by (instance, revision): within one life of the agent revisions only rise. Lives have no order of
//! their own, so a new one replaces the last, and one that was replaced never comes back. The entry that goes to readers
//! and to Redis (CONTRACT §3) begins with what orders it, so that a comparison costs no parsing.
mod entry;
pub mod share;

pub use entry::{Entry, Readiness};

use crate::model::{ids::InstanceId, time::WallTime};
use std::{collections::VecDeque, time::Duration};

/// As long as Redis keeps an entry: who was not heard for this long is not shown as there.
pub const STALE_AFTER: Duration = Duration::from_secs(15);
/// Lives that are remembered as over.
const RETIRED: usize = 4;
/// Waits after the 1st, 2nd, … failure in a row; the last one is the period of polling.
const BACKOFF: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];
/// Polls of an agent without an event stream until it is asked for one again: it may have been upgraded.
const POLLS: u32 = 12;

/// What is known of one agent.
#[derive(Clone, Debug, Default)]
pub struct Known {
    newest: Option<Entry>,
    retired: VecDeque<InstanceId>,
    /// Failures in a row.
    failures: u32,
    polls: u32,
    streams: bool,
    /// The outside has been told that nobody answers.
    told_offline: bool,
}

/// How the agent is to be asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Stream,
    Poll,
}

/// Why nothing was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It answers, but knows no event stream.
    NoStream,
    /// A sentence for a person.
    Failed(String),
}

impl Known {
    /// Takes what was heard, from the agent or from the cache. The entry to show, unless it is an older one.
    pub fn on_heard(&mut self, entry: Entry) -> Option<&Entry> {
        if self.retired.contains(&entry.instance) {
            return None;
        }
        if let Some(newest) = &self.newest {
            let same_life = newest.instance == entry.instance;
            if same_life && (entry.revision, entry.last_seen) < (newest.revision, newest.last_seen) {
                return None;
            }
            if !same_life {
                self.retired.push_back(newest.instance.clone());
                if self.retired.len() > RETIRED {
                    self.retired.pop_front();
                }
            }
        }
        (self.failures, self.told_offline) = (0, false);
        self.newest = Some(entry);
        self.newest.as_ref()
    }

    /// The entry to show when nobody has answered for too long; told once.
    pub fn on_silence(&mut self, now: WallTime, why: &str) -> Option<Entry> {
        let fresh = |entry: &&Entry| now.0.saturating_sub(entry.last_seen.0) < STALE_AFTER.as_millis() as i64;
        if self.told_offline || self.newest.as_ref().filter(fresh).is_some() {
            return None;
        }
        self.told_offline = true;
        Some(match &self.newest {
            Some(entry) => entry.offline(why),
            None => Entry::unheard(why),
        })
    }

    /// How to ask next, and after which wait. `chance` in 0.0..=1.0 spreads many agents over time.
    pub fn on_failure(&mut self, silence: &Silence, chance: f64) -> (How, Duration) {
        let period = BACKOFF[BACKOFF.len() - 1];
        match silence {
            Silence::NoStream => {
                (self.streams, self.polls) = (false, 1);
                (How::Poll, Duration::ZERO)
            }
            Silence::Failed(_) => {
                let step = BACKOFF.get(self.failures as usize).copied().unwrap_or(period);
                self.failures = self.failures.saturating_add(1);
                let how = if self.polls > 0 && !self.streams { How::Poll } else { How::Stream };
                (how, step.mul_f64(0.75 + 0.25 * chance.clamp(0.0, 1.0)))
            }
        }
    }

    /// After a poll that was answered.
    pub fn on_polled(&mut self) -> (How, Duration) {
        self.polls = (self.polls + 1) % POLLS;
        let how = if self.polls == 0 { How::Stream } else { How::Poll };
        (how, BACKOFF[BACKOFF.len() - 1])
    }

    pub fn newest(&self) -> Option<&Entry> {
        self.newest.as_ref()
    }
}

#[cfg(test)]
mod tests;
