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

    /// Has the last run ended by itself and badly, a moment ago? Counted from its end, as the agent counts a backoff, and
    /// not from when this keeper found the time to begin: then an order after a backoff would look like one at once.
    pub fn is_right_after_crash(&self) -> bool {
        let record = &self.past.record;
        let passed = sys::boot_time().saturating_sub(Duration::from_nanos(record.ended_boot_ns));
        self.past.crashed() && passed < SOON
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

    fn past(wait_code: i32, wait_status: i32, signalled: bool, ago_ms: i64) -> Run {
        let ended_boot_ns = (sys::boot_time().as_millis() as i64 - ago_ms) as u64 * 1_000_000;
        let record = RunRecord { wait_code, wait_status, ended_boot_ns, ..Default::default() };
        let leader = Leader::new(2, File::open("/dev/null").unwrap().into()).unwrap(); // it is past, nobody signals it
        let mut run = Run::launched(record, leader, Terminal::open().unwrap(), Notes::default(), OomCounter::default());
        run.signalled = signalled;
        run
    }

    #[test]
    fn only_a_crash_of_a_moment_ago_is_answered_at_once() {
        // Not over before the question is asked, however busy the machine is: an end yet to come.
        const NOW: i64 = -60_000;
        const LATE: i64 = SOON.as_millis() as i64;
        for (code, status, signalled, ago, expected) in [
            (CLD_KILLED, SIGKILL, false, NOW, true),
            (CLD_EXITED, 1, false, NOW, true),
            (CLD_EXITED, 0, false, NOW, false),
            (CLD_KILLED, SIGKILL, true, NOW, false),
            // A keeper that got no processor begins only when the order after a backoff is there.
            (CLD_KILLED, SIGKILL, false, LATE, false),
        ] {
            let between = Between::begin(past(code, status, signalled, ago), true);
            assert_eq!(between.is_right_after_crash(), expected, "{code} {status} {signalled} {ago}");
        }
    }
}
