//! Updates as operations: opened before anything is done, in the record, so that whichever program runs then can end them.
use crate::{
    model::{
        operation::{Operation, OperationKind, OperationState},
        time::{BootTime, WallTime},
        update::UpdateRecord,
    },
    policy::operations::{By, Outcome, later},
};
use std::time::Duration;

/// Operations remembered.
const MOST_KEPT: usize = 20;
const INTERRUPTED: &str = "the agent was started anew before the update took place; order it again";

/// A new one. `within`: when it should be over, transfers aside.
pub fn open(record: &mut UpdateRecord, by: By, subject: &str, now: WallTime, within: Duration) {
    end(record, &Outcome::Failed(INTERRUPTED.into()), now);
    let operation = Operation {
        id: by.id,
        kind: OperationKind::Update,
        state: OperationState::Running,
        subject: subject.to_owned(),
        holder: by.holder,
        started_at: now,
        deadline_at: later(now, within),
        ended_at: None,
        step: String::new(),
        progress: None,
        error: None,
        deadline: BootTime::default(),
    };
    record.operations.insert(0, operation);
    record.operations.truncate(MOST_KEPT);
}

/// The one that is under way, if one is.
pub fn live(record: &UpdateRecord) -> Option<&Operation> {
    record.operations.first().filter(|operation| !operation.state.is_final())
}

/// Ends it; what has ended stays as it is.
pub fn end(record: &mut UpdateRecord, outcome: &Outcome, at: WallTime) {
    let Some(operation) = record.operations.first_mut().filter(|operation| !operation.state.is_final()) else { return };
    (operation.state, operation.error) = match outcome {
        Outcome::Done => (OperationState::Done, None),
        Outcome::Failed(why) => (OperationState::Failed, Some(why.clone())),
        Outcome::Superseded => (OperationState::Superseded, None),
    };
    operation.ended_at = Some(at);
    operation.step.clear();
}

/// Found at the start of a life: ordered in an earlier one that ended before anything was put on trial.
pub fn interrupted(record: &UpdateRecord) -> Option<Outcome> {
    let left = record.trial.is_none() && live(record).is_some();
    left.then(|| Outcome::Failed(INTERRUPTED.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::OperationId;

    fn by(id: &str) -> By {
        By { id: OperationId(id.into()), holder: "api".into() }
    }

    #[test]
    fn each_ends_once_and_at_most_one_is_under_way() {
        let mut record = UpdateRecord::default();
        for n in 0..MOST_KEPT + 5 {
            open(&mut record, by(&n.to_string()), "stable", WallTime(n as i64), Duration::from_secs(1));
        }
        assert_eq!(record.operations.len(), MOST_KEPT);
        assert_eq!(record.operations.iter().filter(|operation| !operation.state.is_final()).count(), 1);
        end(&mut record, &Outcome::Done, WallTime(99));
        end(&mut record, &Outcome::Failed("late".into()), WallTime(100));
        let newest = &record.operations[0];
        assert_eq!((newest.state, newest.ended_at, &newest.error), (OperationState::Done, Some(WallTime(99)), &None));
        assert!(live(&record).is_none() && interrupted(&record).is_none());
    }

    #[test]
    fn what_an_earlier_life_left_has_failed_unless_its_version_is_on_trial() {
        let mut record = UpdateRecord::default();
        open(&mut record, by("a"), "v2.0.0", WallTime(1), Duration::from_secs(1));
        assert!(matches!(interrupted(&record), Some(Outcome::Failed(_))));
        crate::policy::updater::begin(&mut record, "2.0.0", "1.0.0");
        assert_eq!(interrupted(&record), None);
    }
}
