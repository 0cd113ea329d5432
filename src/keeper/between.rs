//! Between two runs. An agent that restarts at once answers within a fraction of a millisecond; meanwhile the keeper makes
//! what the next run needs. What is left of the last one is let go afterwards, which takes longer than a launch should
//! wait.
use super::{
    run::{OomCounter, Run},
    sys,
    terminal::Terminal,
};
use std::time::Duration;

/// Whoever has not answered by then waits for a backoff, or for a person.
const SOON: Duration = Duration::from_millis(20);

pub struct Between {
    past: Run,
    /// For the next run, unless it could not be opened; then the launch says why.
    terminal: Option<Terminal>,
    /// When this is over, order or not.
    pub until: Duration,
}

impl Between {
    /// `made`: the next run has its terminal already.
    pub fn begin(past: Run, made: bool) -> Between {
        let terminal = if made { None } else { Terminal::open().ok() };
        Between { past, terminal, until: sys::boot_time() + SOON }
    }

    /// Did the last run end by itself and badly?
    pub fn is_after_crash(&self) -> bool {
        let record = &self.past.record;
        !self.past.signalled && (record.wait_code, record.wait_status) != (libc::CLD_EXITED, 0)
    }

    pub fn take_terminal(&mut self) -> Option<Terminal> {
        self.terminal.take()
    }

    /// The counter of `file`, if it is the one that the last run had open.
    pub fn take_counter(&mut self, file: Option<&[u8]>) -> Option<OomCounter> {
        (self.past.notes.oom_counter.as_deref() == file).then(|| std::mem::take(&mut self.past.oom))
    }
}
