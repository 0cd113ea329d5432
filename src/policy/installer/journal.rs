//! The operations of the installer: several may be under way, each ends exactly once, the newest are kept.
use crate::{
    model::{
        ids::OperationId,
        operation::{Operation, OperationKind, OperationState},
        time::{BootTime, WallTime},
    },
    policy::operations::{By, Outcome, later},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Newest first.
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

    pub fn find(&self, id: &OperationId) -> Option<&Operation> {
        self.rows.iter().find(|o| o.id == *id)
    }

    /// Those without an outcome, newest first.
    pub fn live(&self) -> impl Iterator<Item = &Operation> {
        self.rows.iter().filter(|o| !o.state.is_final())
    }

    /// A new one. Of those that have ended, the newest `kept` stay.
    pub fn open(&mut self, operation: Operation, kept: usize) {
        let rows = Arc::make_mut(&mut self.rows);
        rows.insert(0, operation);
        let mut ended = 0;
        rows.retain(|o| {
            ended += usize::from(o.state.is_final());
            !o.state.is_final() || ended <= kept
        });
    }

    /// What it is doing now. Progress is what moves the deadline.
    pub fn step(&mut self, id: &OperationId, step: &str, progress: Option<f64>, by: (BootTime, WallTime)) {
        let Some(o) = self.living(id) else { return };
        o.state = OperationState::Running;
        step.clone_into(&mut o.step);
        o.progress = progress;
        (o.deadline, o.deadline_at) = by;
    }

    pub fn end(&mut self, id: &OperationId, outcome: Outcome, at: WallTime) {
        let Some(o) = self.living(id) else { return };
        (o.state, o.error) = match outcome {
            Outcome::Done => (OperationState::Done, None),
            Outcome::Failed(why) => (OperationState::Failed, Some(why)),
            Outcome::Superseded => (OperationState::Superseded, None),
        };
        o.ended_at = Some(at);
        o.step.clear();
        o.progress = None;
    }

    fn living(&mut self, id: &OperationId) -> Option<&mut Operation> {
        self.find(id).filter(|o| !o.state.is_final())?;
        Arc::make_mut(&mut self.rows).iter_mut().find(|o| o.id == *id)
    }
}

/// The deadline of something that shows progress now.
pub fn deadline(now: (BootTime, WallTime), stall: Duration) -> (BootTime, WallTime) {
    (now.0 + stall, later(now.1, stall))
}

/// A fresh operation. `deadline`: when it is given up without a sign of life.
pub fn queued(
    kind: OperationKind,
    subject: String,
    by: By,
    now: WallTime,
    deadline: (BootTime, WallTime),
) -> Operation {
    Operation {
        id: by.id,
        kind,
        state: OperationState::Queued,
        subject,
        holder: by.holder,
        started_at: now,
        deadline_at: deadline.1,
        ended_at: None,
        step: String::new(),
        progress: None,
        error: None,
        deadline: deadline.0,
    }
}
