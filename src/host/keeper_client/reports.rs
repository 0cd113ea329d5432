//! What each report of the keeper means. Runs in the connection's own task: nothing here waits.
use super::{Core, exits, held::Live};
use crate::{
    host::{clock::BootId, failpoint, keeping::KeeperEvent, process::PidFd},
    keeper::{
        layout::{Progress, RunRecord},
        protocol::{Order, Report},
    },
    model::{
        exit::{Exit, ExitStatus},
        ids::RunId,
    },
};
use std::{collections::VecDeque, os::fd::OwnedFd, sync::Arc};

/// Kind number of `Order::Adopt`.
const ADOPT: u8 = 7;

impl Core {
    pub(super) fn on_report(self: &Arc<Self>, report: Report, fds: VecDeque<OwnedFd>) {
        match report {
            Report::Launched { run, .. } => self.on_launched(RunId(run), &report),
            Report::LaunchFailed { run, step, errno } => self.held().launch_refused(RunId(run), step, errno),
            Report::InputTaken { seq, accepted } => self.held().input_taken(seq, accepted),
            Report::Head => self.log.ring(),
            Report::Exited { record, alone, next } => {
                if let Some(record) = RunRecord::decode(&record) {
                    self.on_exited(&record, alone, next.map(RunId));
                }
            }
            Report::TreeEmpty { run, killed } => self.on_tree_empty(RunId(run), killed),
            Report::Fds { run } => self.on_fds(RunId(run), fds),
            Report::Refused { kind: ADOPT, reason } => drop(tokio::spawn(self.clone().lose(reason))),
            // The run it was for has ended meanwhile; its end is reported on its own.
            Report::Refused { kind, reason } => tracing::debug!(kind, reason, "the keeper refused an order"),
            Report::Hello { .. } => {}
        }
    }

    fn on_launched(self: &Arc<Self>, run: RunId, report: &Report) {
        let Report::Launched { pid, start_ticks, boot_ns, wall_ms, .. } = *report else { return };
        failpoint::reach("agent.before_launched_fact");
        // A run that a new keeper has adopted: we know more about it than this report.
        if self.held().live(run).is_some() {
            return;
        }
        // The record was written before the report; only it knows the console offset and the oom counter.
        let record = self.log.state().and_then(|state| state.record(run.0)).unwrap_or_else(|| RunRecord {
            log_start: self.log.range().end,
            oom_before: u64::MAX,
            ..RunRecord::default()
        });
        let record = RunRecord {
            run: run.0,
            progress: Progress::Launched,
            pid,
            start_ticks,
            started_boot_ns: boot_ns,
            started_wall_ms: wall_ms,
            ..record
        };
        let boot_id = self.log.state().map_or_else(BootId::default, |state| state.boot_id());
        self.held().launched(Live::new(record, boot_id));
        // After the launch was reported: nobody waits for it, and from now on a lost keeper does not cost the run.
        self.ask_for_spare();
    }

    /// Fails only together with the connection, which is dealt with there.
    pub(super) fn ask_for_spare(&self) {
        let _ = self.send(&Order::GiveFds);
    }

    fn on_fds(&self, run: RunId, mut fds: VecDeque<OwnedFd>) {
        let (Some(master), Some(handle)) = (fds.pop_front(), fds.pop_front()) else { return };
        if let Some(live) = self.held().live_mut(run) {
            live.master = Some(Arc::new(master));
            live.handle = Some(Arc::new(PidFd::from_fd(handle)));
        }
    }

    /// Tells the sink once per run, however often the end is seen.
    pub(super) fn on_exited(&self, record: &RunRecord, alone: bool, next: Option<RunId>) {
        failpoint::reach("agent.before_exit_fact");
        let mut exit = Exit { alone, next, ..exits::from_record(record) };
        let mut held = self.held();
        if held.last.as_ref().is_some_and(|last| last.run == exit.run) {
            return;
        }
        // With the run goes its spare master: who still holds the terminal must see it hang up.
        let live = held.live.take_if(|live| live.alive.run == exit.run);
        if exit.status == ExitStatus::Unknown {
            exit.status = live.as_ref().map_or(ExitStatus::Unknown, status_of_adopted);
        }
        held.last = Some(exit.clone());
        // The keeper has answered for what it had taken; nobody will for the rest.
        held.forget_inputs();
        if let Some(next) = next {
            held.go_on(next);
        }
        let sink = held.sink.clone();
        drop(held);
        if let Some(sink) = sink {
            sink(KeeperEvent::Exited(exit));
        }
        failpoint::reach("agent.after_exit_fact");
        self.ended.notify_waiters();
        self.log.ring();
    }

    fn on_tree_empty(&self, run: RunId, killed: u32) {
        failpoint::reach("agent.before_tree_empty_fact");
        self.tell(KeeperEvent::TreeEmpty { run, killed });
        self.ended.notify_waiters();
        self.log.ring();
    }

    pub(super) fn tell(&self, event: KeeperEvent) {
        let sink = self.held().sink.clone();
        if let Some(sink) = sink {
            sink(event);
        }
    }
}

/// A run whose first keeper died is our child if anyone's, so we may know what its second keeper cannot.
fn status_of_adopted(live: &Live) -> ExitStatus {
    let asked = || {
        let handle = live.handle.as_ref()?;
        handle.reap().ok().flatten().or_else(|| handle.status_after_reap())
    };
    exits::from_ended(live.ended.or_else(asked))
}
