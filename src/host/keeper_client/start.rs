//! One launch from the spec to the answer.
use super::{Core, held::Launched, launch};
use crate::{
    host::{
        cgroup::{Limits, WorkloadCgroup},
        failpoint,
        keeping::{EventSink, KeepingError},
    },
    keeper::protocol::{Launch, LaunchStep, Order},
    model::{ids::RunId, workload::WorkloadSpec},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

/// A program starts within milliseconds; from a sleeping disk or a loaded network, within seconds.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(30);

/// What an ended run left behind is gone within milliseconds, unless it hangs in the kernel.
const CLEARING_TIMEOUT: Duration = Duration::from_secs(10);
const CLEARING_POLL: Duration = Duration::from_millis(10);

/// An order that is on its way, if a keeper was there to take it.
pub(super) struct Begun {
    order: Order,
    subject: Arc<launch::Subject>,
    sink: EventSink,
    answer: oneshot::Receiver<Launched>,
    sent: bool,
}

impl Core {
    /// Everything that needs no waiting.
    pub(super) fn begin_launch(&self, run: RunId, spec: &WorkloadSpec, sink: EventSink) -> Result<Begun, KeepingError> {
        failpoint::reach("agent.before_launch");
        let (order, subject) = self.launch_order(run, spec)?;
        let subject = Arc::new(subject);
        if let Some(answer) = self.held().take_begun(run) {
            return Ok(Begun { order: Order::Launch(Box::new(order)), subject, sink, answer, sent: true });
        }
        self.send_launch(order, subject, sink)
    }

    /// The keeper may begin this run by itself, if it would be launched just as the present one was.
    pub(super) fn permit_launch(&self, run: RunId, spec: &WorkloadSpec) {
        // What cannot be launched is said when it is to be.
        let Ok((order, _)) = self.launch_order(run, spec) else { return };
        if self.held().repeats(&order)
            && let Some(state) = self.log.state()
        {
            state.permit(run.0);
        }
    }

    pub(super) fn withdraw_permit(&self) {
        if let Some(state) = self.log.state() {
            state.withdraw_permit();
        }
    }

    /// Everything that does.
    pub(super) async fn finish_launch(self: &Arc<Self>, mut begun: Begun) -> Launched {
        let until = Instant::now() + CLEARING_TIMEOUT;
        loop {
            let answer = self.answer(&mut begun).await;
            let Order::Launch(order) = begun.order else { return answer };
            let order = match answer {
                // What a cgroup is good for is less than what the program is good for.
                Err(KeepingError::Launch { step: LaunchStep::Cgroup, message, .. })
                    if !order.cgroup_procs.is_empty() =>
                {
                    self.without_cgroup(*order, &message)
                }
                // No run is alive, or the order would not have been sent: the keeper still clears up after the last.
                Err(KeepingError::Launch { step: LaunchStep::Busy, .. }) if Instant::now() < until => {
                    sleep(CLEARING_POLL).await;
                    *order
                }
                answer => return answer,
            };
            begun = self.send_launch(order, begun.subject, begun.sink)?;
        }
    }

    fn send_launch(
        &self,
        order: Launch,
        subject: Arc<launch::Subject>,
        sink: EventSink,
    ) -> Result<Begun, KeepingError> {
        let answer = self.held().expect_launch(&order, subject.clone(), sink.clone())?;
        let order = Order::Launch(Box::new(order));
        let sent = self.current_link().is_some_and(|link| link.send(&order).is_ok());
        Ok(Begun { order, subject, sink, answer, sent })
    }

    async fn answer(self: &Arc<Self>, begun: &mut Begun) -> Launched {
        if !begun.sent {
            self.send_to_new_keeper(&begun.order).await?;
        }
        failpoint::reach("agent.after_launch_order");
        match timeout(LAUNCH_TIMEOUT, &mut begun.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(KeepingError::Link("it went away during the launch".into())),
            Err(_) => Err(KeepingError::Link(format!("no answer within {} s", LAUNCH_TIMEOUT.as_secs()))),
        }
    }

    fn launch_order(&self, run: RunId, spec: &WorkloadSpec) -> Result<(Launch, launch::Subject), KeepingError> {
        let program = launch::program(spec)?;
        let mut prepared = self.prepared();
        let identity = prepared.accounts.identity(spec.user.as_deref())?;
        let limits = Limits {
            memory_bytes: spec.memory_bytes,
            processes: spec.max_processes,
            piecemeal: self.plan.dies_piecemeal,
        };
        let cgroup = prepared.cgroup.take().filter(|group| group.is_prepared_for(limits));
        let prepare = || WorkloadCgroup::prepare(&self.places, &self.plan.cgroup_name(), limits);
        let cgroup = cgroup.unwrap_or_else(prepare);
        let order = launch::order(&self.plan, (run, spec, &program), identity, prepared.size, &cgroup);
        prepared.cgroup = Some(cgroup);
        Ok((order, launch::Subject::of(spec, &program)))
    }

    fn without_cgroup(&self, order: Launch, why: &str) -> Launch {
        tracing::warn!(workload = self.plan.name, why, "the workload's cgroup cannot be entered; it starts without");
        let mut prepared = self.prepared();
        if let Some(group) = prepared.cgroup.take() {
            prepared.cgroup = Some(group.given_up(why));
        }
        Launch { cgroup_procs: Vec::new(), cgroup_kill: None, oom_counter: None, ..order }
    }
}
