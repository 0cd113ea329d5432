//! What the IdleActor asks of this machine.
use crate::{
    actors::code_server::idle::Counters,
    cli::agent::gauges::measured,
    host::{accounts, clock, connections, keeper_client::KeeperClient, terminals, usage::UsageReader},
    model::{
        activity::Sample,
        dev::USER,
        settings::Settings,
        time::{BootTime, WallTime},
    },
};
use futures_util::future::{BoxFuture, FutureExt};
use nix::unistd::{Uid, geteuid};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone)]
pub struct EditorCounters {
    port: u16,
    keeper: KeeperClient,
    usage: Arc<Mutex<UsageReader>>,
}

impl EditorCounters {
    pub fn new(settings: &Settings, keeper: KeeperClient) -> EditorCounters {
        let usage = Arc::new(Mutex::new(UsageReader::new(settings.root.clone())));
        EditorCounters { port: settings.codeserver.port, keeper, usage }
    }

    fn count(&self, pid: i32) -> Result<Sample, String> {
        let connections = connections::to_port(self.port).map_err(|e| format!("connections: {e}"))?;
        let terminals = terminals::stamp(owner()?, pid).map_err(|e| format!("terminals: {e}"))?;
        let measured = measured(&self.keeper.figures(), pid);
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let cpu_percent = usage.sample(clock::boot_time(), &measured, 0).cpu_percent;
        Ok(Sample { connections, cpu_percent, terminals })
    }
}

/// Whose terminals are looked at.
fn owner() -> Result<Uid, String> {
    match geteuid().is_root() {
        false => Ok(geteuid()),
        true => match accounts::look_up(USER).map_err(|e| e.to_string())? {
            Some(account) => Ok(Uid::from_raw(account.uid)),
            None => Err(format!("account {USER} is gone")),
        },
    }
}

impl Counters for EditorCounters {
    fn now(&self) -> (BootTime, WallTime) {
        (clock::boot_time(), clock::wall_time())
    }

    fn sample(&self, pid: i32) -> BoxFuture<'static, Result<Sample, String>> {
        let counters = self.clone();
        async move {
            let counted = tokio::task::spawn_blocking(move || counters.count(pid)).await;
            counted.unwrap_or_else(|e| Err(format!("it broke off: {e}")))
        }
        .boxed()
    }
}
