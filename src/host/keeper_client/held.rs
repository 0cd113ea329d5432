//! What the client knows of the run: being launched, alive, ended; and who waits for an answer.
use super::{MOST_INPUT, launch::Subject};
use crate::{
    host::{
        clock::BootId,
        keeping::{Alive, Discovery, EventSink, KeepingError},
        process::{Ended, Identity, PidFd},
    },
    keeper::{
        layout::RunRecord,
        protocol::{Launch, LaunchStep},
    },
    model::{
        exit::Exit,
        ids::RunId,
        time::{BootTime, WallTime},
    },
};
use std::{collections::HashMap, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::sync::oneshot;

pub(super) type Launched = Result<Alive, KeepingError>;

/// Inputs whose fate is not known yet.
const MOST_INPUTS: usize = 1024;

#[derive(Default)]
pub(super) struct Held {
    pub sink: Option<EventSink>,
    pub live: Option<Live>,
    /// The newest run that ended.
    pub last: Option<Exit>,
    launching: Option<Launching>,
    /// The launch that was ordered last, and what an error of it would speak of.
    ordered: Option<(Launch, Arc<Subject>)>,
    /// A launch that the keeper was permitted: where its answer comes, until somebody asks for it.
    begun: Option<(RunId, oneshot::Receiver<Launched>)>,
    inputs: HashMap<u64, oneshot::Sender<u64>>,
    inputs_sent: u64,
}

/// A run that is alive as far as we know.
#[derive(Clone)]
pub(super) struct Live {
    pub alive: Alive,
    pub identity: Identity,
    pub record: RunRecord,
    /// The process itself; with the spare master it is what outlives a keeper.
    pub handle: Option<Arc<PidFd>>,
    pub master: Option<Arc<OwnedFd>>,
    /// How it ended, if we were its parent and have reaped it.
    pub ended: Option<Ended>,
}

struct Launching {
    run: RunId,
    subject: Arc<Subject>,
    answer: oneshot::Sender<Launched>,
}

impl Live {
    pub(super) fn new(record: RunRecord, boot_id: BootId) -> Live {
        let alive = Alive {
            run: RunId(record.run),
            pid: record.pid,
            started: BootTime(Duration::from_nanos(record.started_boot_ns)),
            started_at: WallTime(record.started_wall_ms),
            log_start: record.log_start,
        };
        let identity = Identity { pid: record.pid, start_ticks: record.start_ticks, boot_id };
        Live { alive, identity, record, handle: None, master: None, ended: None }
    }
}

impl Held {
    pub(super) fn discovery(&self) -> Discovery {
        match (&self.live, &self.last) {
            (Some(live), _) => Discovery::Alive(live.alive.clone()),
            (None, Some(exit)) => Discovery::Ended(exit.clone()),
            (None, None) => Discovery::Nothing,
        }
    }

    pub(super) fn live(&self, run: RunId) -> Option<&Live> {
        self.live.as_ref().filter(|live| live.alive.run == run)
    }

    pub(super) fn live_mut(&mut self, run: RunId) -> Option<&mut Live> {
        self.live.as_mut().filter(|live| live.alive.run == run)
    }

    /// The run whose launch somebody waits for.
    pub(super) fn launching(&self) -> Option<RunId> {
        self.launching.as_ref().filter(|l| !l.answer.is_closed()).map(|l| l.run)
    }

    /// From now on the answer to this launch is waited for.
    pub(super) fn expect_launch(
        &mut self,
        order: &Launch,
        subject: Arc<Subject>,
        sink: EventSink,
    ) -> Result<oneshot::Receiver<Launched>, KeepingError> {
        if self.live.is_some() || self.launching().is_some() {
            return Err(subject.error(LaunchStep::Busy, libc::EBUSY));
        }
        self.sink = Some(sink);
        self.ordered = Some((order.clone(), subject.clone()));
        Ok(self.await_launch(RunId(order.run), subject))
    }

    fn await_launch(&mut self, run: RunId, subject: Arc<Subject>) -> oneshot::Receiver<Launched> {
        let (answer, receiver) = oneshot::channel();
        self.launching = Some(Launching { run, subject, answer });
        receiver
    }

    /// Would this launch be the last one over again, but for its number?
    pub(super) fn repeats(&self, order: &Launch) -> bool {
        self.ordered.as_ref().is_some_and(|(last, _)| Launch { run: last.run + 1, ..last.clone() } == *order)
    }

    /// The keeper repeats the last launch by its permit.
    pub(super) fn go_on(&mut self, run: RunId) {
        let Some((order, subject)) = &mut self.ordered else { return };
        order.run = run.0;
        let subject = subject.clone();
        self.begun = Some((run, self.await_launch(run, subject)));
    }

    /// Where the answer to a launch comes that need not be ordered any more.
    pub(super) fn take_begun(&mut self, run: RunId) -> Option<oneshot::Receiver<Launched>> {
        self.begun.take().filter(|(begun, _)| *begun == run).map(|(_, answer)| answer)
    }

    pub(super) fn launched(&mut self, live: Live) {
        if let Some(launching) = self.launching.take_if(|l| l.run == live.alive.run) {
            // Whoever asked may have given up; the run is held all the same.
            let _ = launching.answer.send(Ok(live.alive.clone()));
        }
        self.live = Some(live);
    }

    pub(super) fn launch_refused(&mut self, run: RunId, step: u8, errno: i32) {
        let Some(launching) = self.launching.take_if(|l| l.run == run) else { return };
        let error = match LaunchStep::from_u8(step) {
            Some(step) => launching.subject.error(step, errno),
            None => KeepingError::Link(format!("the launch failed at unknown step {step}, errno {errno}")),
        };
        let _ = launching.answer.send(Err(error));
    }

    /// Whatever launch is under way will not be answered.
    pub(super) fn fail_launch(&mut self, error: KeepingError) {
        if let Some(launching) = self.launching.take() {
            let _ = launching.answer.send(Err(error));
        }
    }

    /// A number for an input, and where its answer will come.
    pub(super) fn expect_input(
        &mut self,
        run: RunId,
        bytes: usize,
    ) -> Result<(u64, oneshot::Receiver<u64>), KeepingError> {
        if self.live(run).is_none() {
            return Err(KeepingError::NotAlive(run));
        }
        if bytes > MOST_INPUT {
            return Err(KeepingError::Environment(format!("input of {bytes} bytes, more than {MOST_INPUT}")));
        }
        self.inputs.retain(|_, waiting| !waiting.is_closed());
        if self.inputs.len() >= MOST_INPUTS {
            return Err(KeepingError::Environment("the workload does not read its input".into()));
        }
        self.inputs_sent += 1;
        let (answer, receiver) = oneshot::channel();
        self.inputs.insert(self.inputs_sent, answer);
        Ok((self.inputs_sent, receiver))
    }

    pub(super) fn input_taken(&mut self, number: u64, accepted: u64) {
        if let Some(waiting) = self.inputs.remove(&number) {
            let _ = waiting.send(accepted);
        }
    }

    /// Nobody will answer any more.
    pub(super) fn forget_inputs(&mut self) {
        self.inputs.clear();
    }
}
