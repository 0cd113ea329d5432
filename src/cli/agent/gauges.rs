//! What the status aggregator reads off this machine.
use crate::{
    actors::status::Gauges,
    host::{
        cgroup::Figures,
        clock,
        keeper_client::KeeperClient,
        machine,
        process::OrphanReaper,
        rest,
        usage::{Measured, UsageReader},
    },
    model::{
        settings::Settings,
        snapshot::{Usage, Warning},
        time::{BootTime, WallTime},
    },
};
use futures_util::future::BoxFuture;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub struct MachineGauges {
    /// Of the game and of the editor: one container has one of them.
    keepers: [KeeperClient; 2],
    samples: Arc<Mutex<Samples>>,
    /// This container's, which does not change while it runs.
    memory_limit: u64,
}

struct Samples {
    usage: UsageReader,
    /// As a subreaper the agent inherits what dead keepers leave.
    orphans: OrphanReaper,
}

impl MachineGauges {
    pub fn new(settings: &Settings, keepers: [KeeperClient; 2]) -> MachineGauges {
        let samples = Samples { usage: UsageReader::new(settings.root.clone()), orphans: OrphanReaper::default() };
        let memory_limit = machine::memory_limit(Path::new("/")).unwrap_or(0);
        MachineGauges { keepers, samples: Arc::new(Mutex::new(samples)), memory_limit }
    }
}

impl Gauges for MachineGauges {
    fn now(&self) -> (BootTime, WallTime) {
        (clock::boot_time(), clock::wall_time())
    }

    /// How a tree is killed changes nothing for the operator: `doctor` tells it.
    fn warnings(&self) -> Vec<Warning> {
        let [game, editor] = &self.keepers;
        let mut warnings = game.warnings();
        let unknown: Vec<Warning> = editor.warnings().into_iter().filter(|w| !warnings.contains(w)).collect();
        warnings.extend(unknown);
        warnings.retain(|warning| warning.code != "cgroup_kill_unavailable");
        warnings
    }

    fn rest(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(rest::rest(time))
    }

    fn usage(&self, pid: Option<i32>) -> BoxFuture<'static, Usage> {
        let (keepers, samples, limit) = (self.keepers.clone(), self.samples.clone(), self.memory_limit);
        Box::pin(async move {
            // A keeper without a run counts nothing.
            let all = keepers.map(|keeper| keeper.figures());
            let figures = all.iter().find(|f| f.memory_bytes.is_some_and(|b| b > 0)).unwrap_or(&all[0]);
            let measured = pid.map_or(Measured::Nothing, |pid| measured(figures, pid));
            let limit = figures.memory_limit_bytes.unwrap_or(limit);
            // A few small files of /proc and /sys: less work than handing it to another thread.
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.orphans.sweep();
            samples.usage.sample(clock::boot_time(), &measured, limit)
        })
    }
}

/// What the cgroup counts, where it counts both and the workload is in it (an adopted editor is not); it costs three
/// reads, a look at all of /proc hundreds.
pub(super) fn measured(figures: &Figures, pid: i32) -> Measured {
    match (figures.memory_bytes.filter(|bytes| *bytes > 0), figures.cpu) {
        (Some(memory_bytes), Some(cpu)) => Measured::Counted { memory_bytes, cpu },
        _ => Measured::Tree { pid },
    }
}
