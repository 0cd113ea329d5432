//! The keeper's record of a run in the words of the model.
use crate::{
    host::process::Ended,
    keeper::layout::{Progress, RunRecord},
    model::{
        exit::{Exit, ExitStatus},
        ids::RunId,
        time::{BootTime, WallTime},
    },
};
use std::time::Duration;

/// The oom counter could not be read.
const UNREADABLE: u64 = u64::MAX;

pub(super) fn from_record(record: &RunRecord) -> Exit {
    Exit {
        run: RunId(record.run),
        status: status(record),
        started_at: WallTime(record.started_wall_ms),
        ended_at: WallTime(record.ended_wall_ms),
        started: BootTime(Duration::from_nanos(record.started_boot_ns)),
        ended: BootTime(Duration::from_nanos(record.ended_boot_ns)),
        max_rss_bytes: record.max_rss_kib * 1024,
        oom_kills: oom_kills(record.oom_before, record.oom_after),
        log_start: record.log_start,
        log_end: record.log_end,
        // Not part of the record: only a report says so.
        alone: false,
        next: None,
    }
}

pub(super) fn oom_kills(before: u64, after: u64) -> Option<u64> {
    (before != UNREADABLE && after != UNREADABLE).then(|| after.saturating_sub(before))
}

fn status(record: &RunRecord) -> ExitStatus {
    match (record.progress, record.wait_code) {
        (Progress::Exited, libc::CLD_EXITED) => ExitStatus::Code(record.wait_status),
        (Progress::Exited, libc::CLD_KILLED | libc::CLD_DUMPED) => {
            ExitStatus::Signal { signal: record.wait_status, core_dumped: record.wait_code == libc::CLD_DUMPED }
        }
        _ => ExitStatus::Unknown,
    }
}

pub(super) fn from_ended(ended: Option<Ended>) -> ExitStatus {
    match ended {
        Some(Ended::Code(code)) => ExitStatus::Code(code),
        Some(Ended::Signal(signal, core_dumped)) => ExitStatus::Signal { signal, core_dumped },
        None => ExitStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_status() {
        let record =
            |progress, wait_code, wait_status| RunRecord { progress, wait_code, wait_status, ..Default::default() };
        for (record, want) in [
            (record(Progress::Exited, libc::CLD_EXITED, 7), ExitStatus::Code(7)),
            (record(Progress::Exited, libc::CLD_KILLED, 9), ExitStatus::Signal { signal: 9, core_dumped: false }),
            (record(Progress::Exited, libc::CLD_DUMPED, 11), ExitStatus::Signal { signal: 11, core_dumped: true }),
            (record(Progress::Vanished, libc::CLD_EXITED, 0), ExitStatus::Unknown),
            (record(Progress::Launched, 0, 0), ExitStatus::Unknown),
        ] {
            assert_eq!(from_record(&record).status, want);
        }
        assert_eq!((oom_kills(3, 5), oom_kills(5, 3), oom_kills(UNREADABLE, 1)), (Some(2), Some(0), None));
    }
}
