//! The keeper is gone, the agent is not: a run that can be saved is given to a new keeper, any other is brought to its end.
use super::{Core, connection, exits, held::Live, link::Link};
use crate::{
    host::{
        clock, failpoint,
        keeping::{KeeperEvent, KeepingError},
        process::{Ended, PidFd},
    },
    keeper::{
        layout::{Progress, RunRecord},
        protocol::Order,
    },
    model::{exit::Exit, ids::RunId},
};
use futures_util::future::{BoxFuture, FutureExt};
use nix::sys::signal::Signal;
use std::{
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// A program whose terminal hung up may be saving its world.
const HANG_UP_GRACE: Duration = Duration::from_secs(10);
/// How long a new keeper is tried for: its game runs on, but stalls once its terminal is full.
const RESCUE_WITHIN: Duration = Duration::from_secs(10);
const RESCUE_PAUSE: Duration = Duration::from_millis(100);
/// A parent that is not us (init) reaps within this time, and then the kernel tells the status.
const REAP_GRACE: Duration = Duration::from_millis(300);

impl Core {
    /// Boxed, as it may end in another connection that ends here.
    pub(super) fn on_hang_up(self: Arc<Self>, link: Arc<Link>) -> BoxFuture<'static, ()> {
        async move { self.hung_up(link).await }.boxed()
    }

    /// The connection has ended. Nothing to do if it was replaced or let go on purpose.
    async fn hung_up(self: &Arc<Self>, link: Arc<Link>) {
        let _turn = self.turn.lock().await;
        if !self.link().is_some_and(|current| Arc::ptr_eq(&current, &link)) {
            return;
        }
        self.set_link(None);
        connection::leave(link.keeper.as_ref()).await;
        self.held().forget_inputs();
        self.catch_up();
        self.settle_launch();
        let Some(live) = self.held().live.clone() else { return };
        let run = live.alive.run;
        let holds = |record: RunRecord| record.progress == Progress::Launched && record.run == run.0;
        let kept = self.connect().await.is_ok_and(|keeper| keeper.is_some_and(holds));
        // That it has ended may have been the first thing the other keeper said.
        if !kept && self.held().live(run).is_some() {
            self.rescue(live).await;
        }
    }

    /// A keeper that went on by our permit may be gone, or cut off, before it could say so. Its records do.
    pub(super) fn catch_up(&self) {
        let Some(run) = self.held().live.as_ref().map(|live| live.alive.run) else { return };
        let Some(state) = self.log.state() else { return };
        let ended = state.record(run.0).filter(|record| record.progress == Progress::Exited);
        let next = state.newest_record().map(|record| RunId(record.run)).filter(|next| next.0 == run.0 + 1);
        if let (Some(record), Some(next)) = (ended, next) {
            self.on_exited(&record, true, Some(next));
        }
    }

    /// A launch that was under way: the record says whether there is a process.
    fn settle_launch(&self) {
        let state = self.log.state();
        let launched = state.as_ref().and_then(|s| s.newest_record()).filter(|r| r.progress == Progress::Launched);
        let mut held = self.held();
        if let (Some(state), Some(record)) = (state, launched)
            && held.live.is_none()
            && held.last.as_ref().is_none_or(|last| last.run.0 != record.run)
        {
            held.live = Some(Live::new(record, state.boot_id()));
        }
        held.fail_launch(KeepingError::Link("it died during the launch".into()));
    }

    async fn rescue(self: &Arc<Self>, live: Live) {
        let run = live.alive.run;
        failpoint::reach("agent.before_rescue");
        match self.give_away(&live).await {
            Ok(()) => {
                failpoint::reach("agent.after_rescue");
                let detail = "the keeper died; a new one has taken the run over".to_owned();
                tracing::warn!(workload = self.plan.name, %run, detail);
                self.tell(KeeperEvent::KeeperLost { run, recovered: true, detail });
                tokio::spawn(self.clone().reap_adopted(run));
            }
            Err(why) => self.give_up(live, &why.to_string()).await,
        }
    }

    /// The new keeper would not have the run.
    pub(super) async fn lose(self: Arc<Self>, why: String) {
        let live = self.held().live.clone();
        if let Some(live) = live {
            self.give_up(live, &why).await;
        }
    }

    async fn give_up(&self, live: Live, why: &str) {
        let run = live.alive.run;
        let detail = format!("the keeper died, and its run cannot be saved: {why}");
        tracing::warn!(workload = self.plan.name, %run, detail);
        self.tell(KeeperEvent::KeeperLost { run, recovered: false, detail });
        let (exit, killed) = self.bury(&live).await;
        self.finish(exit, killed);
    }

    /// What a keeper needs may be lacking for a moment, the program it is started from too, in the middle of an upgrade.
    async fn give_away(self: &Arc<Self>, live: &Live) -> Result<(), KeepingError> {
        let until = Instant::now() + RESCUE_WITHIN;
        loop {
            match self.give_to_new_keeper(live).await {
                Err(why @ (KeepingError::Spawn(_) | KeepingError::Link(_))) if Instant::now() < until => {
                    tracing::warn!(workload = self.plan.name, %why, "no new keeper yet; its run waits for one");
                    self.set_link(None);
                    sleep(RESCUE_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn give_to_new_keeper(self: &Arc<Self>, live: &Live) -> Result<(), KeepingError> {
        let (Some(master), Some(handle)) = (&live.master, &live.handle) else {
            return Err(KeepingError::Environment("its terminal was not at hand".into()));
        };
        if !live.identity.lives() {
            return Err(KeepingError::NotAlive(live.alive.run));
        }
        let link = match self.link() {
            Some(idle) => idle,
            None => self.spawn_keeper().await?,
        };
        let order =
            Order::Adopt { run: live.alive.run.0, pid: live.identity.pid, start_ticks: live.identity.start_ticks };
        link.send_with(&order, &[master.as_raw_fd(), handle.as_fd().as_raw_fd()])
    }

    /// As subreaper we became the parent of an adopted run: its status comes to us, and the keeper learns it from the
    /// kernel only once it is reaped.
    async fn reap_adopted(self: Arc<Self>, run: RunId) {
        let handle = self.held().live(run).and_then(|live| live.handle.clone());
        let Some(handle) = handle else { return };
        if handle.gone().await.is_err() {
            return;
        }
        if let Ok(Some(ended)) = handle.reap()
            && let Some(live) = self.held().live_mut(run)
        {
            live.ended = Some(ended);
        }
    }

    fn finish(&self, exit: Exit, killed: u32) {
        let run = exit.run;
        let mut held = self.held();
        held.live = None;
        held.last = Some(exit.clone());
        drop(held);
        self.tell(KeeperEvent::Exited(exit));
        self.tell(KeeperEvent::TreeEmpty { run, killed });
        self.ended.notify_waiters();
        self.log.ring();
    }

    /// Brings a run without a keeper to its end and says how that was, and how many had to be killed.
    pub(super) async fn bury(&self, live: &Live) -> (Exit, u32) {
        let opened = || PidFd::open(&live.identity).ok().flatten().map(Arc::new);
        let handle = live.handle.clone().or_else(opened);
        if let Some(handle) = &handle {
            // It has heard its terminal hang up; whoever ignores that may still obey this.
            let asked = handle.signal(Signal::SIGTERM).and_then(|_| handle.signal(Signal::SIGCONT));
            if asked.is_ok_and(|lives| lives) {
                let _ = timeout(HANG_UP_GRACE, handle.gone()).await;
            }
        }
        let killed = match (self.plan.leave_rest, &handle) {
            (true, Some(handle)) => kill_alone(handle).await,
            _ => self.kill_tree(&live.identity).await,
        };
        let ended = match handle {
            Some(handle) => live.ended.or(status(&handle).await),
            None => live.ended,
        };
        (self.exit_of(&live.record, ended), killed)
    }

    fn exit_of(&self, record: &RunRecord, ended: Option<Ended>) -> Exit {
        let oom_after = self.cgroup().figures().oom_kills.unwrap_or(u64::MAX);
        let now = RunRecord { progress: Progress::Vanished, log_end: self.log.range().end, oom_after, ..*record };
        Exit {
            status: exits::from_ended(ended),
            ended: clock::boot_time(),
            ended_at: clock::wall_time(),
            ..exits::from_record(&now)
        }
    }
}

/// The main process only. How many had to be killed.
async fn kill_alone(handle: &PidFd) -> u32 {
    let killed = handle.signal(Signal::SIGKILL).is_ok_and(|lived| lived);
    _ = timeout(HANG_UP_GRACE, handle.gone()).await;
    u32::from(killed)
}

/// The status of an ended process: from wait if it was our child, else from a kernel that tells.
async fn status(handle: &PidFd) -> Option<Ended> {
    let until = Instant::now() + REAP_GRACE;
    loop {
        match handle.reap() {
            Ok(Some(ended)) => return Some(ended),
            Ok(None) => return None,
            Err(_) => {
                if let Some(ended) = handle.status_after_reap() {
                    return Some(ended);
                }
            }
        }
        if Instant::now() > until {
            return None;
        }
        sleep(Duration::from_millis(5)).await;
    }
}
