//! What others may see of the machine.
use super::{
    Machine, ladder,
    memory::Desired,
    phase::{Live, Phase},
};
use crate::{
    model::{operation::Operation, snapshot::Warning},
    policy::status::{GamePart, OperationPart, ProcessPart},
};

impl Machine {
    /// This machine's part of the published status.
    pub fn part(&self) -> GamePart {
        let live = self.phase.live();
        let operation = self.memory.journal.holder();
        let installing = matches!(&self.phase, Phase::Preparing(p) if p.installing);
        GamePart {
            recovering: matches!(self.phase, Phase::Recovering(_)),
            configured: self.config.is_some(),
            state: self.state(),
            stopped_by: self.stopped_by(),
            process: live.and_then(process),
            ports: live.map(|l| l.spec.ports.clone()).unwrap_or_default(),
            ready: matches!(&self.phase, Phase::Ready(live) if live.watch.is_answering()),
            ready_source: self.ready_source().to_owned(),
            ready_error: live.map(|l| l.watch.reason().to_owned()).unwrap_or_default(),
            last_ready_at: self.memory.last_ready_at,
            install_step: operation.filter(|_| installing).map(|o| o.step.clone()).unwrap_or_default(),
            install_progress: operation.filter(|_| installing).and_then(|o| o.progress),
            provisioned: self.memory.provisioned,
            provisioning_error: self.memory.provisioning_error.clone(),
            crash_count: self.memory.crash_count,
            last_crash: self.memory.last_crash.clone(),
            restart_attempt: self.memory.restart.streak,
            next_restart_at: self.memory.restart.due.and(self.memory.restart_at),
            server_root: self.config.as_ref().map(|c| c.spec.cwd.display().to_string()),
            operation: operation.map(operation_part),
            players: live.and_then(|l| l.players.clone()),
            warnings: self.all_warnings(),
            error: self.memory.failure.clone().filter(|_| matches!(self.phase, Phase::Error { .. })),
            config: self.config.as_ref().map(|c| c.shown.clone()),
            operations: self.memory.journal.rows(),
            crashes: self.crashes.clone(),
        }
    }

    fn stopped_by(&self) -> Option<String> {
        let intent = &self.memory.intent;
        let wanted = matches!(self.phase, Phase::Idle) && intent.desired == Desired::Stopped;
        (wanted && !intent.by.is_empty()).then(|| intent.by.clone())
    }

    fn ready_source(&self) -> &'static str {
        let spec = self.phase.live().map(|l| &l.spec).or(self.config.as_ref().map(|c| &c.spec));
        spec.map_or("", |s| s.ready.probe.source())
    }

    fn all_warnings(&self) -> Vec<Warning> {
        let mut all = self.warnings.clone();
        let Some(config) = &self.config else { return all };
        all.extend(config.warnings.iter().cloned());
        if self.phase.live().is_some_and(|l| l.spec != config.spec) {
            let message = "a newer configuration is saved; it is used from the next start on".to_owned();
            all.push(Warning { code: "config_pending".into(), message });
        }
        let grace = self.rules.stop.grace;
        if ladder::exceeds(&config.spec.stop, grace) {
            let message =
                format!("the stop steps take longer than stop.grace ({} s) and are cut short", grace.as_secs());
            all.push(Warning { code: "stop_budget_exceeds_grace".into(), message });
        }
        all
    }
}

fn process(live: &Live) -> Option<ProcessPart> {
    let born = live.born?;
    Some(ProcessPart { pid: born.pid, started: born.started, started_at: born.started_at })
}

fn operation_part(o: &Operation) -> OperationPart {
    OperationPart { id: o.id.clone(), kind: o.kind, started_at: o.started_at, message: o.step.clone() }
}
