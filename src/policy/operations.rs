//! The one lock: who may change the workload now, and how each accepted operation ended. Exactly one outcome each.
//!
//! [`admission`] is the whole rule, command × holder. [`Journal`] keeps the newest `limits.operations_kept` operations;
//! it is stored with the machine's memory, so the lock and its outcome survive the agent.
use crate::model::{
    ids::OperationId,
    operation::{Operation, OperationKind, OperationState},
    refusal::Refusal,
    time::{BootTime, WallTime},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// What is asked of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Configure,
    Start,
    Stop,
    Restart,
    Kill,
}

/// Who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub kind: OperationKind,
    /// It is in the middle of an installation, which only a kill may cut short.
    pub installing: bool,
}

/// What the lock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The lock is free.
    Enter,
    /// The holder is doing just that: share its outcome.
    Join,
    /// The holder ends as `superseded`, the newcomer goes on.
    Supersede,
    /// 409 with the holder and its deadline.
    Busy,
}

/// The admission table.
pub fn admission(asked: Asked, held: Option<Held>) -> Admission {
    use OperationKind as K;
    let Some(Held { kind, installing }) = held else { return Admission::Enter };
    match (asked, kind) {
        (Asked::Stop | Asked::Kill, K::Stop) => Admission::Join,
        (Asked::Kill, K::Config | K::Start | K::Restart) => Admission::Supersede,
        (Asked::Stop, K::Start | K::Restart) => Admission::Supersede,
        (Asked::Stop, K::Config) if !installing => Admission::Supersede,
        (Asked::Stop, K::Config) => Admission::Busy,
        (Asked::Configure | Asked::Start | Asked::Restart, _) => Admission::Busy,
        // The installer's operations leave the workload alone and never hold this lock.
        (Asked::Stop | Asked::Kill, _) => Admission::Enter,
    }
}

/// How an operation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed(String),
    Superseded,
}

/// Who asks for an operation, and the id it will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub id: OperationId,
    /// `api`, `cli`, `autostart`, `agent`.
    pub holder: String,
}

/// The newest operations, newest first. At most the first one is not final: it holds the lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Journal {
    rows: Arc<Vec<Operation>>,
}

impl Journal {
    /// For readers; a clone of the pointer, not of the rows.
    pub fn rows(&self) -> Arc<Vec<Operation>> {
        self.rows.clone()
    }

    /// The operation that holds the lock.
    pub fn holder(&self) -> Option<&Operation> {
        self.rows.first().filter(|o| !o.state.is_final())
    }

    /// 409 for whoever comes second; `None` while the lock is free.
    pub fn busy(&self) -> Option<Refusal> {
        let o = self.holder()?;
        Some(Refusal::OperationInProgress { holder: o.id.clone(), kind: o.kind, deadline_at: o.deadline_at })
    }

    /// Takes the lock. A holder that was not ended first is superseded: there is never a second one.
    pub fn open(&mut self, kind: OperationKind, by: By, now: (BootTime, WallTime), within: Duration, kept: usize) {
        self.end(Outcome::Superseded, now.1);
        let rows = Arc::make_mut(&mut self.rows);
        rows.insert(0, running(kind, by, now, within));
        rows.truncate(kept.max(1));
    }

    /// Gives the lock back with this outcome; without a holder nothing happens, so no operation ends twice.
    pub fn end(&mut self, outcome: Outcome, at: WallTime) {
        let Some(o) = self.holder_mut() else { return };
        (o.state, o.error) = match outcome {
            Outcome::Done => (OperationState::Done, None),
            Outcome::Failed(why) => (OperationState::Failed, Some(why)),
            Outcome::Superseded => (OperationState::Superseded, None),
        };
        o.ended_at = Some(at);
        o.step.clear();
        o.progress = None;
    }

    /// What the holder is about, where there may be several.
    pub fn about(&mut self, subject: String) {
        if let Some(o) = self.holder_mut() {
            o.subject = subject;
        }
    }

    /// What the holder is doing now.
    pub fn step(&mut self, text: &str, progress: Option<f64>) {
        if let Some(o) = self.holder_mut() {
            o.step = text.to_owned();
            o.progress = progress.map(|p| p.clamp(0.0, 1.0));
        }
    }

    /// After an agent restart: whatever ran goes on under a new deadline, since boot times of deadlines are not stored.
    pub fn go_on(&mut self, now: (BootTime, WallTime), within: Duration) {
        if let Some(o) = self.holder_mut() {
            (o.deadline, o.deadline_at) = (now.0 + within, later(now.1, within));
        }
    }

    fn holder_mut(&mut self) -> Option<&mut Operation> {
        self.holder()?;
        Arc::make_mut(&mut self.rows).first_mut()
    }
}

fn running(kind: OperationKind, by: By, now: (BootTime, WallTime), within: Duration) -> Operation {
    Operation {
        id: by.id,
        kind,
        state: OperationState::Running,
        subject: String::new(),
        holder: by.holder,
        started_at: now.1,
        deadline_at: later(now.1, within),
        ended_at: None,
        step: String::new(),
        progress: None,
        error: None,
        deadline: now.0 + within,
    }
}

/// A wall time to show: `within` after `at`.
pub fn later(at: WallTime, within: Duration) -> WallTime {
    WallTime(at.0.saturating_add(i64::try_from(within.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: (BootTime, WallTime) = (BootTime(Duration::from_secs(5)), WallTime(5_000));

    fn by(n: u64) -> By {
        By { id: OperationId(format!("op-{n}")), holder: "api".into() }
    }

    fn held(kind: OperationKind) -> Option<Held> {
        Some(Held { kind, installing: false })
    }

    #[test]
    fn the_admission_table() {
        use Admission::*;
        use OperationKind as K;
        let installing = Some(Held { kind: K::Config, installing: true });
        let holders = [None, installing, held(K::Config), held(K::Start), held(K::Stop), held(K::Restart)];
        let table = [
            (Asked::Configure, [Enter, Busy, Busy, Busy, Busy, Busy]),
            (Asked::Start, [Enter, Busy, Busy, Busy, Busy, Busy]),
            (Asked::Restart, [Enter, Busy, Busy, Busy, Busy, Busy]),
            (Asked::Stop, [Enter, Busy, Supersede, Supersede, Join, Supersede]),
            (Asked::Kill, [Enter, Supersede, Supersede, Supersede, Join, Supersede]),
        ];
        for (asked, row) in table {
            assert_eq!(holders.map(|h| admission(asked, h)), row, "{asked:?}");
        }
    }

    #[test]
    fn a_busy_answer_names_the_holder_and_its_deadline() {
        let mut j = Journal::default();
        j.open(OperationKind::Start, by(1), NOW, Duration::from_secs(9), 10);
        let want = Refusal::OperationInProgress {
            holder: OperationId("op-1".into()),
            kind: OperationKind::Start,
            deadline_at: WallTime(14_000),
        };
        assert_eq!(j.busy(), Some(want));
        j.end(Outcome::Done, WallTime(6_000));
        assert_eq!(j.busy(), None);
    }

    #[test]
    fn the_stored_form_keeps_the_lock() {
        let mut j = Journal::default();
        j.open(OperationKind::Stop, by(1), NOW, Duration::from_secs(9), 10);
        let mut back: Journal = serde_json::from_str(&serde_json::to_string(&j).unwrap()).unwrap();
        back.go_on(NOW, Duration::from_secs(9));
        assert_eq!(back, j);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Open,
        End(Outcome),
        Reload,
    }

    fn act() -> impl Strategy<Value = Act> {
        let outcome = prop_oneof![Just(Outcome::Done), Just(Outcome::Failed("x".into())), Just(Outcome::Superseded)];
        prop_oneof![Just(Act::Open), outcome.prop_map(Act::End), Just(Act::Reload)]
    }

    proptest! {
        /// At most one holder, at most `kept` rows, and a final row never changes again.
        #[test]
        fn every_operation_ends_once(acts in prop::collection::vec(act(), 0..60)) {
            let mut j = Journal::default();
            let mut n = 0;
            for a in acts {
                let before = j.rows();
                match a {
                    Act::Open => { n += 1; j.open(OperationKind::Start, by(n), NOW, Duration::ZERO, 5) }
                    Act::End(o) => j.end(o, WallTime(7)),
                    Act::Reload => j = serde_json::from_str(&serde_json::to_string(&j).unwrap()).unwrap(),
                }
                let rows = j.rows();
                prop_assert!(rows.len() <= 5);
                prop_assert!(rows.iter().skip(1).all(|o| o.state.is_final()));
                for old in before.iter().filter(|o| o.state.is_final()) {
                    if let Some(new) = rows.iter().find(|o| o.id == old.id) {
                        prop_assert_eq!((new.state, &new.error, new.ended_at), (old.state, &old.error, old.ended_at));
                    }
                }
            }
        }
    }
}
