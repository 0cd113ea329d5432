//! What the status aggregator reads off this machine.
use crate::{
    actors::status::Gauges,
    host::{
        cgroup::Figures,
        clock,
        keeper_client::KeeperClient,
        machine,
        process::OrphanReaper,
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
};

pub struct MachineGauges {
    keeper: KeeperClient,
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
    pub fn new(settings: &Settings, keeper: KeeperClient) -> MachineGauges {
        let samples = Samples { usage: UsageReader::new(settings.root.clone()), orphans: OrphanReaper::default() };
        let memory_limit = machine::memory_limit(Path::new("/")).unwrap_or(0);
        MachineGauges { keeper, samples: Arc::new(Mutex::new(samples)), memory_limit }
    }
}

impl Gauges for MachineGauges {
    fn now(&self) -> (BootTime, WallTime) {
        (clock::boot_time(), clock::wall_time())
    }

    /// How a tree is killed changes nothing for the operator: `doctor` tells it.
    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.keeper.warnings();
        warnings.retain(|warning| warning.code != "cgroup_kill_unavailable");
        warnings
    }

    fn usage(&self, pid: Option<i32>) -> BoxFuture<'static, Usage> {
        let (keeper, samples, limit) = (self.keeper.clone(), self.samples.clone(), self.memory_limit);
        Box::pin(async move {
            let figures = keeper.figures();
            let measured = pid.map_or(Measured::Nothing, |pid| measured(&figures, pid));
            let limit = figures.memory_limit_bytes.unwrap_or(limit);
            // A few small files of /proc and /sys: less work than handing it to another thread.
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.orphans.sweep();
            samples.usage.sample(clock::boot_time(), &measured, limit)
        })
    }
}

/// What the cgroup counts, where it counts both; it costs three reads, a look at all of /proc hundreds.
fn measured(figures: &Figures, pid: i32) -> Measured {
    match (figures.memory_bytes, figures.cpu) {
        (Some(memory_bytes), Some(cpu)) => Measured::Counted { memory_bytes, cpu },
        _ => Measured::Tree { pid },
    }
}
