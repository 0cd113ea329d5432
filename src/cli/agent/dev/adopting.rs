//! The editor's keeper, and an editor that no keeper holds: one that an earlier agent of another make started, or whose
//! keeper's traces are lost. It is found in `/proc`, kept by its true name, and taken up again by the next agent.
//!
//! `/proc` is searched only before a launch, that is when the known process is gone, and only if somebody listens at the
//! editor's port.
use crate::{
    host::{
        clock::{self, BootId},
        keeper_client::KeeperClient,
        keeping::{Alive, Discovery, EventSink, KeeperEvent, Keeping, KeepingError, Scope},
        probe::{PortOwner, missing_ports},
        process::{Ended, Identity, PidFd, descendants, scan},
        store::{Durability, Store},
    },
    model::{
        exit::{Exit, ExitStatus},
        ids::RunId,
        time::{BootTime, WallTime},
        workload::WorkloadSpec,
    },
    policy::code_server::{Role, claims, is_its_program},
};
use futures_util::future::{BoxFuture, FutureExt};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Record of the adopted process.
const RECORD: &str = "adopted";

#[derive(Clone)]
pub struct Adopting {
    keeper: KeeperClient,
    records: Store,
    shelf: PathBuf,
    port: u16,
    adopted: Arc<Mutex<Option<Adopted>>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Adopted {
    run: RunId,
    pid: i32,
    start_ticks: u64,
    boot: String,
    started: BootTime,
    started_at: WallTime,
}

impl Adopting {
    pub fn new(keeper: KeeperClient, records: Store, shelf: PathBuf, port: u16) -> Adopting {
        Adopting { keeper, records, shelf, port, adopted: Arc::default() }
    }

    /// An editor of ours that holds the port, whoever started it.
    pub fn find(&self) -> BoxFuture<'static, Option<Identity>> {
        let (shelf, port) = (self.shelf.clone(), self.port);
        async move {
            let searched = tokio::task::spawn_blocking(move || search(&shelf, port)).await;
            let searched = searched.map_err(io::Error::other).and_then(|found| found);
            searched.unwrap_or_else(|why| {
                tracing::warn!(%why, "a running editor cannot be looked for");
                None
            })
        }
        .boxed()
    }

    fn current(&self) -> Option<Adopted> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, adopted: Option<Adopted>) {
        let stored = match &adopted {
            Some(adopted) => self.records.save(RECORD, adopted, Durability::Process),
            None => self.records.remove(RECORD),
        };
        if let Err(why) = stored {
            tracing::warn!(%why, "which editor was adopted could not be noted");
        }
        *self.adopted.lock().unwrap_or_else(PoisonError::into_inner) = adopted;
    }

    /// From now on its end is told; `None` if it has ended already.
    fn take_up(&self, adopted: Adopted, sink: EventSink) -> io::Result<Option<Alive>> {
        let Some(who) = adopted.identity()? else { return Ok(None) };
        let Some(pidfd) = PidFd::open(&who)? else { return Ok(None) };
        self.remember(Some(adopted.clone()));
        let (log_end, adopting, of) = (self.keeper.console().range().end, self.clone(), adopted.clone());
        tokio::spawn(async move {
            if let Err(why) = pidfd.gone().await {
                tracing::error!(%why, "the end of an adopted editor cannot be seen");
                return;
            }
            adopting.remember(None);
            sink(KeeperEvent::Exited(of.exit(pidfd.status_after_reap(), log_end)));
        });
        let Adopted { run, pid, started, started_at, .. } = adopted;
        Ok(Some(Alive { run, pid, started, started_at, log_start: log_end }))
    }

    /// What an earlier agent adopted.
    fn recall(&self, sink: EventSink) -> io::Result<Option<Discovery>> {
        let Some(adopted) = self.records.load::<Adopted>(RECORD).map_err(io::Error::other)? else { return Ok(None) };
        let boot = BootId::current()?.to_string();
        if let Some(alive) = self.take_up(adopted.clone(), sink)? {
            return Ok(Some(Discovery::Alive(alive)));
        }
        self.remember(None);
        let log_end = self.keeper.console().range().end;
        Ok(Some(match adopted.boot == boot {
            true => Discovery::Ended(adopted.exit(None, log_end)),
            false => Discovery::LostByReboot,
        }))
    }
}

impl Adopted {
    fn of(run: RunId, who: &Identity) -> Adopted {
        let started = BootTime(Duration::from_millis(who.start_ticks.saturating_mul(1000 / TICKS_A_SECOND)));
        let age = clock::boot_time().since(started).as_millis();
        let started_at = WallTime(clock::wall_time().0.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)));
        let boot = who.boot_id.to_string();
        Adopted { run, pid: who.pid, start_ticks: who.start_ticks, boot, started, started_at }
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        let same = |who: &Identity| who.start_ticks == self.start_ticks && who.boot_id.to_string() == self.boot;
        Ok(Identity::of(self.pid)?.filter(same).filter(Identity::lives))
    }

    /// It was nobody's child of ours: its status is known only where the kernel keeps it.
    fn exit(&self, ended: Option<Ended>, log_end: u64) -> Exit {
        Exit {
            run: self.run,
            status: match ended {
                Some(Ended::Code(code)) => ExitStatus::Code(code),
                Some(Ended::Signal(signal, core_dumped)) => ExitStatus::Signal { signal, core_dumped },
                None => ExitStatus::Unknown,
            },
            started_at: self.started_at,
            ended_at: clock::wall_time(),
            started: self.started,
            ended: clock::boot_time(),
            max_rss_bytes: 0,
            oom_kills: None,
            log_start: log_end,
            log_end,
            // What it leaves behind lets go of the port by itself, and a start waits for that.
            alone: true,
            next: None,
        }
    }
}

/// USER_HZ, which is 100 on every Linux that runs this.
const TICKS_A_SECOND: u64 = 100;

/// The editor that holds the port. While nobody does, nobody is looked at.
fn search(shelf: &Path, port: u16) -> io::Result<Option<Identity>> {
    if !missing_ports(PortOwner::Anybody, &[port])?.is_empty() {
        return Ok(None);
    }
    for pid in parents(shelf)? {
        if missing_ports(PortOwner::Tree(pid), &[port])?.is_empty()
            && let Some(who) = Identity::of(pid)?.filter(Identity::lives)
        {
            return Ok(Some(who));
        }
    }
    Ok(None)
}

/// Everybody who was started as an editor of ours.
pub fn parents(shelf: &Path) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    scan::command_lines(|pid, line| {
        if claims(line, shelf) == Some(Role::Parent) {
            found.push(pid);
        }
    })?;
    found.retain(|pid| is_its_program(scan::program(*pid).as_deref(), shelf));
    Ok(found)
}

fn signal(who: &Identity, signal: i32, scope: Scope) -> io::Result<()> {
    let wanted = match scope {
        Scope::Tree => Signal::SIGKILL,
        Scope::Leader | Scope::Group => Signal::try_from(signal)?,
    };
    let below = if scope == Scope::Leader { Vec::new() } else { descendants(who) };
    for each in std::iter::once(who).chain(&below) {
        if let Some(pidfd) = PidFd::open(each)? {
            pidfd.signal(wanted)?;
        }
    }
    Ok(())
}

impl Keeping for Adopting {
    fn discover(&self, sink: EventSink) -> BoxFuture<'static, Result<Discovery, KeepingError>> {
        let (adopting, inner) = (self.clone(), self.keeper.discover(sink.clone()));
        async move {
            let held = inner.await?;
            if matches!(held, Discovery::Alive(_)) {
                return Ok(held);
            }
            let recalled = adopting.recall(sink).map_err(|e| KeepingError::Environment(e.to_string()))?;
            Ok(recalled.unwrap_or(held))
        }
        .boxed()
    }

    fn launch(
        &self,
        run: RunId,
        spec: &WorkloadSpec,
        sink: EventSink,
    ) -> BoxFuture<'static, Result<Alive, KeepingError>> {
        let (adopting, spec) = (self.clone(), spec.clone());
        async move {
            if let Some(who) = adopting.find().await {
                let taken = adopting.take_up(Adopted::of(run, &who), sink.clone());
                if let Some(alive) = taken.map_err(|e| KeepingError::Environment(e.to_string()))? {
                    tracing::info!(pid = alive.pid, "an editor that runs already is adopted");
                    return Ok(alive);
                }
            }
            adopting.keeper.launch(run, &spec, sink).await
        }
        .boxed()
    }

    /// An editor that runs already is looked for before each launch, so none goes without being asked for.
    fn permit(&self, _: Option<(RunId, &WorkloadSpec)>) {}

    fn input(&self, run: RunId, bytes: bytes::Bytes) -> BoxFuture<'static, Result<u64, KeepingError>> {
        self.keeper.input(run, bytes)
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.keeper.resize(columns, rows);
    }

    fn signal(&self, run: RunId, number: i32, scope: Scope) -> BoxFuture<'static, Result<(), KeepingError>> {
        let Some(adopted) = self.current().filter(|adopted| adopted.run == run) else {
            return self.keeper.signal(run, number, scope);
        };
        async move {
            let sent = tokio::task::spawn_blocking(move || match adopted.identity()? {
                Some(who) => signal(&who, number, scope).map(|()| true),
                None => Ok(false),
            });
            match sent.await.map_err(io::Error::other).and_then(|sent| sent) {
                Ok(true) => Ok(()),
                Ok(false) => Err(KeepingError::NotAlive(run)),
                Err(e) => Err(KeepingError::Environment(e.to_string())),
            }
        }
        .boxed()
    }

    fn retire(&self) -> BoxFuture<'static, ()> {
        self.keeper.retire()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn all_processes_are_looked_at_once_and_only_if_somebody_listens() {
        let passes = || scan::PASSES.with(std::cell::Cell::get);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let before = passes();
        assert_eq!(search(Path::new("/opt/zlh/services/code-server"), port).unwrap(), None, "this is no editor");
        assert_eq!(passes() - before, 1);
        drop(listener);
        assert_eq!(search(Path::new("/opt/zlh/services/code-server"), port).unwrap(), None);
        assert_eq!(passes() - before, 1, "nobody listens: nobody is looked at");
    }
}
