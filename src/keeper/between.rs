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

    /// It has been that long, also where nobody has found the time to see it.
    pub fn is_over(&self) -> bool {
        self.until <= sys::boot_time()
    }

    /// Is the agent about to answer a crash at once? The last run has ended by itself and badly, a moment ago.
    pub fn is_right_after_crash(&self) -> bool {
        let record = &self.past.record;
        !self.is_over() && !self.past.signalled && (record.wait_code, record.wait_status) != (libc::CLD_EXITED, 0)
    }

    pub fn take_terminal(&mut self) -> Option<Terminal> {
        self.terminal.take()
    }

    /// The counter of `file`, if it is the one that the last run had open.
    pub fn take_counter(&mut self, file: Option<&[u8]>) -> Option<OomCounter> {
        (self.past.notes.oom_counter.as_deref() == file).then(|| std::mem::take(&mut self.past.oom))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{layout::RunRecord, notes::Notes, signals::Leader},
        *,
    };
    use libc::{CLD_EXITED, CLD_KILLED, SIGKILL};
    use std::fs::File;

    fn past(wait_code: i32, wait_status: i32, signalled: bool) -> Run {
        let record = RunRecord { wait_code, wait_status, ..Default::default() };
        let leader = Leader::new(2, File::open("/dev/null").unwrap().into()).unwrap(); // it is past, nobody signals it
        let mut run = Run::launched(record, leader, Terminal::open().unwrap(), Notes::default(), OomCounter::default());
        run.signalled = signalled;
        run
    }

    #[test]
    fn only_a_crash_of_a_moment_ago_is_answered_at_once() {
        for (code, status, signalled, over, expected) in [
            (CLD_KILLED, SIGKILL, false, false, true),
            (CLD_EXITED, 1, false, false, true),
            (CLD_EXITED, 0, false, false, false),
            (CLD_KILLED, SIGKILL, true, false, false),
            // A keeper that got no processor finds the end of its patience and the order at the same time.
            (CLD_KILLED, SIGKILL, false, true, false),
        ] {
            let mut between = Between::begin(past(code, status, signalled), true);
            between.until = if over { sys::boot_time() } else { between.until + Duration::from_secs(60) };
            assert_eq!(between.is_right_after_crash(), expected, "{code} {status} {signalled} {over}");
        }
    }
}
