//! How far an install is, told at a pace that nobody drowns in.
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Fetching, and unpacking while it comes. Counted in bytes of the archive.
    Fetch,
    /// Comparing files with their manifest. Counted in bytes of files.
    Verify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    pub done: u64,
    /// Where it ends, if that is known.
    pub total: Option<u64>,
}

/// Passes on what is worth it.
pub(super) struct Pace<'a> {
    watch: &'a (dyn Fn(Progress) + Sync),
    last: Mutex<Option<Instant>>,
}

impl<'a> Pace<'a> {
    pub fn new(watch: &'a (dyn Fn(Progress) + Sync)) -> Self {
        Pace { watch, last: Mutex::new(None) }
    }

    pub fn tell(&self, stage: Stage, done: u64, total: Option<u64>) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if total == Some(done) || last.is_none_or(|at| at.elapsed() >= EVERY) {
            *last = Some(Instant::now());
            drop(last);
            (self.watch)(Progress { stage, done, total });
        }
    }
}
