//! The stop ladder: the game's own steps in order, cut to fit the grace, with room left for SIGKILL at the end.
use crate::model::workload::StopStep;
use std::time::Duration;

/// The longest that is kept back for SIGKILL and the kernel's cleaning up; a quarter of a short grace.
const RESERVE: Duration = Duration::from_secs(5);

/// One rung: what to do, and how long to wait for it. The rung after the last is always SIGKILL to the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    pub step: StopStep,
    pub wait: Duration,
}

/// What is left of `steps` within `grace`; the last one that fits may be cut short.
pub fn rungs(steps: &[StopStep], grace: Duration) -> Vec<Rung> {
    let mut left = budget(grace);
    let mut out = Vec::new();
    for step in steps {
        let wait = step.wait().min(left);
        if left.is_zero() {
            break;
        }
        left -= wait;
        out.push(Rung { step: step.clone(), wait });
    }
    out
}

/// The rung that is due when stopping has lasted for `elapsed`; the ladder's length means SIGKILL.
pub fn rung_at(rungs: &[Rung], elapsed: Duration) -> usize {
    let mut end = Duration::ZERO;
    let passed = rungs.iter().take_while(|r| {
        end += r.wait;
        end <= elapsed
    });
    passed.count()
}

/// Do the steps ask for more time than the grace has?
pub fn exceeds(steps: &[StopStep], grace: Duration) -> bool {
    steps.iter().map(StopStep::wait).sum::<Duration>() > budget(grace)
}

fn budget(grace: Duration) -> Duration {
    grace - RESERVE.min(grace / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn steps() -> Vec<StopStep> {
        vec![
            StopStep::Stdin { line: "stop".into(), wait: S(20) },
            StopStep::Signal { signal: 15, wait: S(10) },
            StopStep::GroupSignal { signal: 15, wait: S(5) },
        ]
    }

    fn waits(grace: u64) -> Vec<u64> {
        rungs(&steps(), S(grace)).iter().map(|r| r.wait.as_secs()).collect()
    }

    #[test]
    fn rungs_fit_the_grace() {
        assert_eq!(waits(60), [20, 10, 5]);
        assert_eq!(waits(35), [20, 10], "5 s are kept for SIGKILL");
        assert_eq!(waits(30), [20, 5]);
        assert_eq!(waits(8), [6]);
        assert_eq!(waits(0), [0u64; 0]);
        assert!(exceeds(&steps(), S(39)) && !exceeds(&steps(), S(40)));
    }

    #[test]
    fn a_stop_taken_up_later_goes_on_at_its_rung() {
        let r = rungs(&steps(), S(60));
        let at = |s| rung_at(&r, S(s));
        assert_eq!([at(0), at(19), at(20), at(29), at(30), at(35), at(999)], [0, 0, 1, 1, 2, 3, 3]);
    }
}
