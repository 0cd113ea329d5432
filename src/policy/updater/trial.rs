//! A version on trial: each start is counted before it happens, and the record says what to start instead.
use crate::model::update::{Trial, UpdateRecord};

/// Versions remembered as failed.
const MOST_FAILED: usize = 20;

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
    let ended = record.trial.take_if(|trial| trial.version == me).is_some();
    record.last_error = record.last_error.take().filter(|_| !ended);
}

/// Ends the trial as failed; what to go back to, if one was going on.
pub fn take_back(record: &mut UpdateRecord, why: &str) -> Option<String> {
    let trial = record.trial.take()?;
    reject(record, &trial.version, why);
    record.last_error = Some(format!("version {} was taken back: {why}", trial.version));
    Some(trial.previous)
}

/// `version` has shown that it does not work here; it is not offered again by itself.
pub fn reject(record: &mut UpdateRecord, version: &str, why: &str) {
    while record.failed.len() >= MOST_FAILED {
        record.failed.pop_first();
    }
    record.failed.insert(version.to_owned(), why.to_owned());
}

/// Must a program of version `me` that lies outside the folder of releases execute the release `current` instead?
/// Only the one that was updated: another in its place was put there by somebody who wants that one.
pub fn gives_way(record: &UpdateRecord, me: &str, current: &str) -> bool {
    record.stands_for.as_deref() == Some(me) && current != me
}
