//! What the status aggregator reads off this machine.
use crate::{
    actors::status::Gauges,
    host::{
        clock, machine,
        usage::{Measured, UsageReader},
    },
    model::{
        settings::Settings,
        snapshot::Usage,
        time::{BootTime, WallTime},
    },
};
use futures_util::future::BoxFuture;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

pub struct MachineGauges {
    reader: Arc<Mutex<UsageReader>>,
    /// This container's, which does not change while it runs.
    memory_limit: u64,
}

impl MachineGauges {
    pub fn new(settings: &Settings) -> MachineGauges {
        let reader = Arc::new(Mutex::new(UsageReader::new(settings.root.clone())));
        MachineGauges { reader, memory_limit: machine::memory_limit(Path::new("/")).unwrap_or(0) }
    }
}

impl Gauges for MachineGauges {
    fn now(&self) -> (BootTime, WallTime) {
        (clock::boot_time(), clock::wall_time())
    }

    fn usage(&self, pid: Option<i32>) -> BoxFuture<'static, Usage> {
        let (reader, limit) = (self.reader.clone(), self.memory_limit);
        Box::pin(async move {
            let measured = pid.map_or(Measured::Nothing, |pid| Measured::Tree { pid });
            // Reads /proc and one statvfs: tens of microseconds, less than handing it to another thread costs.
            reader.lock().unwrap_or_else(PoisonError::into_inner).sample(clock::boot_time(), &measured, limit)
        })
    }
}
