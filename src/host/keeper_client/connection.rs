//! Coming to a keeper: the one that listens, or a new one; and letting it go.
use super::{
    Core,
    bell::Bell,
    held::Live,
    link::{Link, Reports},
    spawn,
};
use crate::{
    host::{
        failpoint,
        keeping::KeepingError,
        process::{Ended, PidFd},
    },
    keeper::{
        layout::{Progress, RunRecord},
        protocol::{Order, Report},
    },
    model::ids::RunId,
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

/// A keeper that lives must listen within this time (it may be on its way in, or out).
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle keeper leaves at once when asked to.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// A keeper's exit code when another holds the folder (EX_TEMPFAIL of sysexits.h).
const LOCKED_OUT: i32 = 75;
const POLL: Duration = Duration::from_millis(5);

impl Core {
    /// Connects to the keeper that lives here and takes up what it holds, which is returned. `None`: none lives.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Option<RunRecord>, KeepingError> {
        let until = Instant::now() + LISTEN_TIMEOUT;
        loop {
            let socket = self.folder.connect().map_err(|e| KeepingError::Link(e.to_string()))?;
            let keeper = self.log.state().map(|state| state.keeper()).filter(|who| who.lives());
            match (socket, keeper) {
                (Some(socket), keeper) => {
                    let process = keeper.and_then(|who| PidFd::open(&who).ok().flatten());
                    match self.take_up(socket, process).await {
                        Ok((_, record)) => return Ok(Some(record)),
                        Err(e) if Instant::now() > until => return Err(e),
                        // On its way out; or killed right after a launch, when its child still had the socket open.
                        Err(_) => sleep(POLL).await,
                    }
                }
                (None, None) => return Ok(None),
                (None, Some(who)) if Instant::now() > until => {
                    return Err(KeepingError::Link(format!("process {} lives but does not listen", who.pid)));
                }
                (None, Some(_)) => sleep(POLL).await,
            }
        }
    }

    /// Makes a connection the current one: from here on its reports are heard.
    async fn take_up(
        self: &Arc<Self>,
        socket: OwnedFd,
        process: Option<PidFd>,
    ) -> Result<(Arc<Link>, RunRecord), KeepingError> {
        let (link, reports, who) = Reports::open(socket, process, &self.plan.build).await?;
        tracing::debug!(workload = self.plan.name, keeper = who.pid, build = link.build, "connected to keeper");
        self.log.reopen();
        self.set_link(Some(link.clone()));
        let record = RunRecord::decode(&who.record).unwrap_or_default();
        self.reconcile(record);
        let listener = tokio::spawn(self.clone().listen(link.clone(), reports));
        self.set_listener(Some(listener.abort_handle()));
        self.log.ring();
        Ok((link, record))
    }

    /// What the keeper holds against what we believe.
    fn reconcile(self: &Arc<Self>, record: RunRecord) {
        let known = self.held().live(RunId(record.run)).is_some();
        match record.progress {
            Progress::Launched if !known => {
                self.catch_up();
                let boot_id = self.log.state().map(|state| state.boot_id()).unwrap_or_default();
                self.held().launched(Live::new(record, boot_id));
                self.ask_for_spare();
            }
            Progress::Exited | Progress::Vanished if known => self.on_exited(&record, false, None),
            Progress::Exited | Progress::Vanished => self.held().last = Some(super::exits::from_record(&record)),
            Progress::Launched | Progress::Empty | Progress::Failed => {}
        }
    }

    /// The one task that hears this connection; ends with it.
    async fn listen(self: Arc<Self>, link: Arc<Link>, mut reports: Reports) {
        let mut sender = JoinSet::new();
        sender.spawn(link.clone().flush_forever());
        if let Some(bell) = Bell::hang(&link) {
            sender.spawn(self.clone().hear(bell));
        }
        loop {
            match reports.next().await {
                Ok(Some(report)) => {
                    // They came with this one: the kernel never glues two messages with descriptors together.
                    let fds = if matches!(report, Report::Fds { .. }) { reports.take_fds() } else { VecDeque::new() };
                    self.on_report(report, fds);
                }
                Ok(None) => break,
                Err(e) => {
                    tracing::warn!(workload = self.plan.name, error = %e, "the keeper cannot be understood");
                    break;
                }
            }
        }
        sender.abort_all();
        drop(reports);
        self.on_hang_up(link).await;
    }

    async fn hear(self: Arc<Self>, bell: Bell) {
        while bell.rung().await {
            self.log.ring();
        }
    }

    /// For an order that found no keeper of our build: an idle old one makes way for a new one.
    pub(super) async fn send_to_new_keeper(self: &Arc<Self>, order: &Order) -> Result<(), KeepingError> {
        let _turn = self.turn.lock().await;
        if self.link().is_none() {
            self.connect().await?;
        }
        let link = match self.link() {
            Some(link) if link.build == self.plan.build => link,
            Some(old) => {
                self.dismiss(&old).await;
                self.spawn_keeper().await?
            }
            None => {
                // Nobody knows of a run, yet its cgroup is ours by name: what a lost keeper left does not run beside it.
                if !self.plan.leave_rest {
                    self.kill_strays().await;
                }
                self.spawn_keeper().await?
            }
        };
        link.send(order)
    }

    pub(super) async fn spawn_keeper(self: &Arc<Self>) -> Result<Arc<Link>, KeepingError> {
        let until = Instant::now() + LISTEN_TIMEOUT;
        loop {
            let (socket, process) = spawn::keeper(&self.plan, &self.folder)?;
            failpoint::reach("agent.after_keeper_spawn");
            let watched = process.as_ref().and_then(|p| p.try_clone().ok());
            let error = match self.take_up(socket, process).await {
                Ok((link, _)) => return Ok(link),
                Err(e) => e,
            };
            // A keeper killed in the middle of a launch leaves its lock to its child for a moment.
            let locked = leave(watched.as_ref()).await == Some(Ended::Code(LOCKED_OUT));
            if !locked || Instant::now() > until {
                let words = spawn::last_words(&self.folder);
                let holder = if locked { "another keeper holds the folder".to_owned() } else { error.to_string() };
                return Err(KeepingError::Spawn(if words.is_empty() { holder } else { words }));
            }
            sleep(POLL).await;
        }
    }

    /// Asks an idle keeper to leave and sees it off. One that holds a run stays.
    async fn dismiss(&self, link: &Arc<Link>) {
        if self.held().live.is_some() || link.send(&Order::Retire).is_err() {
            return;
        }
        self.set_link(None);
        leave(link.keeper.as_ref()).await;
    }

    pub(super) async fn retire(self: &Arc<Self>) {
        let _turn = self.turn.lock().await;
        if self.held().live.is_some() || self.held().launching().is_some() {
            return;
        }
        if let Some(link) = self.link() {
            self.dismiss(&link).await;
        }
        self.cgroup().remove();
        self.prepared().cgroup = None;
    }

    pub(super) fn send_input(&self, run: RunId, bytes: &Bytes) -> Result<oneshot::Receiver<u64>, KeepingError> {
        let (seq, answer) = self.held().expect_input(run, bytes.len())?;
        self.send(&Order::Input { seq, bytes: bytes.to_vec() })?;
        Ok(answer)
    }
}

/// Waits for a keeper to end, and reaps it if it is our child.
pub(super) async fn leave(keeper: Option<&PidFd>) -> Option<Ended> {
    let keeper = keeper?;
    timeout(LEAVE_TIMEOUT, keeper.gone()).await.ok()?.ok()?;
    // ECHILD: an earlier agent's child, which init reaps.
    keeper.reap().ok().flatten()
}
