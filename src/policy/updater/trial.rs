//! A version on trial: each start is counted before it happens, and the record says what to start instead.
use crate::model::update::{Trial, UpdateRecord};

/// What an agent that was just started does, by the record it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing is on trial, or another version is running than the one on trial.
    Plain,
    /// Store the record (this start is counted in it), go on, and prove yourself in time.
    OnTrial,
    /// Store the record, point `current` at this version and execute it.
    GoBack { to: String },
}

/// Before `current` is pointed at `version`.
pub fn begin(record: &mut UpdateRecord, version: &str, previous: &str) {
    record.failed.remove(version);
    record.trial = Some(Trial { version: version.to_owned(), previous: previous.to_owned(), starts: 0 });
}

/// First thing in a life. `me` is the version that is running; `most` starts are allowed without proof.
pub fn on_start(record: &mut UpdateRecord, me: &str, most: u32) -> Start {
    let Some(trial) = record.trial.as_mut() else { return Start::Plain };
    if trial.version != me {
        // Somebody put another version in place: the trial is over without a verdict.
        record.trial = None;
        return Start::Plain;
    }
    trial.starts += 1;
    if trial.starts <= most {
        return Start::OnTrial;
    }
    let why = format!("started {most} times without becoming healthy");
    take_back(record, &why).map_or(Start::Plain, |to| Start::GoBack { to })
}

/// `me` answered, its actors live and the workload was taken up again.
pub fn proven(record: &mut UpdateRecord, me: &str) {
    record.trial = record.trial.take().filter(|trial| trial.version != me);
}

/// Ends the trial as failed; what to go back to, if one was going on.
pub fn take_back(record: &mut UpdateRecord, why: &str) -> Option<String> {
    let trial = record.trial.take()?;
    record.failed.insert(trial.version, why.to_owned());
    Some(trial.previous)
}
