//! One launch from the spec to the answer.
use super::{Core, held::Launched, launch};
use crate::{
    host::{
        cgroup::{Limits, WorkloadCgroup},
        keeping::{EventSink, KeepingError},
    },
    keeper::protocol::{Launch, LaunchStep, Order},
    model::{ids::RunId, workload::WorkloadSpec},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// A program starts within milliseconds; from a sleeping disk or a loaded network, within seconds.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(30);

/// An order that is on its way, if a keeper was there to take it.
pub(super) struct Begun {
    order: Box<Launch>,
    subject: launch::Subject,
    sink: EventSink,
    answer: oneshot::Receiver<Launched>,
    sent: bool,
}

impl Core {
    /// Everything that needs no waiting.
    pub(super) fn begin_launch(&self, run: RunId, spec: &WorkloadSpec, sink: EventSink) -> Result<Begun, KeepingError> {
        let (order, subject) = self.launch_order(run, spec)?;
        self.send_launch(order, subject, sink)
    }

    /// Everything that does.
    pub(super) async fn finish_launch(self: &Arc<Self>, begun: Begun) -> Launched {
        let (order, subject, sink) = (begun.order.clone(), begun.subject.clone(), begun.sink.clone());
        match self.answer(begun).await {
            // What a cgroup is good for is less than what the program is good for.
            Err(KeepingError::Launch { step: LaunchStep::Cgroup, message, .. }) => {
                let order = self.without_cgroup(*order, &message);
                let begun = self.send_launch(order, subject, sink)?;
                self.answer(begun).await
            }
            answer => answer,
        }
    }

    fn send_launch(&self, order: Launch, subject: launch::Subject, sink: EventSink) -> Result<Begun, KeepingError> {
        let answer = self.held().expect_launch(RunId(order.run), subject.clone(), sink.clone())?;
        let order = Order::Launch(Box::new(order));
        let sent = self.current_link().is_some_and(|link| link.send(&order).is_ok());
        let Order::Launch(order) = order else { return Err(KeepingError::Link("it changed its kind".into())) };
        Ok(Begun { order, subject, sink, answer, sent })
    }

    async fn answer(self: &Arc<Self>, begun: Begun) -> Launched {
        let run = RunId(begun.order.run);
        if !begun.sent
            && let Err(e) = self.send_to_new_keeper(&Order::Launch(begun.order)).await
        {
            self.held().launch_failed(run, e);
        }
        match timeout(LAUNCH_TIMEOUT, begun.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(KeepingError::Link("it went away during the launch".into())),
            Err(_) => Err(KeepingError::Link(format!("no answer within {} s", LAUNCH_TIMEOUT.as_secs()))),
        }
    }

    fn launch_order(&self, run: RunId, spec: &WorkloadSpec) -> Result<(Launch, launch::Subject), KeepingError> {
        let program = launch::program(spec)?;
        let mut prepared = self.prepared();
        let identity = prepared.accounts.identity(spec.user.as_deref())?;
        let limits = Limits { memory_bytes: spec.memory_bytes, processes: spec.max_processes };
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
