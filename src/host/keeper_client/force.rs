//! Signals, and the end that cannot be refused: a tree kill that works whatever became of the keeper.
use super::{Core, held::Live};
use crate::{
    host::{
        keeping::{KeeperEvent, KeepingError},
        process::{Identity, PidFd, ProcessGroup, descendants, session_members},
    },
    keeper::protocol::{Order, Scope},
    model::ids::RunId,
};
use nix::sys::signal::Signal;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// A keeper needs milliseconds for a tree; after this we do it ourselves as well.
const KEEPER_GRACE: Duration = Duration::from_secs(2);
/// How long a tree is hunted before it is reported as not to be killed (processes that hang in the kernel).
const HUNT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

impl Core {
    /// Orders the signal; without a keeper, sends it ourselves.
    pub(super) fn send_signal(&self, run: RunId, signal: i32, scope: Scope) -> Result<(), KeepingError> {
        let (live, last) = {
            let held = self.held();
            (held.live(run).cloned(), held.last.as_ref().map(|exit| exit.run))
        };
        let in_question = live.is_some() || (scope == Scope::Tree && last == Some(run));
        if !in_question {
            return Err(KeepingError::NotAlive(run));
        }
        match (self.link(), live) {
            (Some(link), _) => link.send(&Order::Signal { run: run.0, signal, scope }),
            (None, Some(live)) => send_directly(&live, signal, scope),
            (None, None) => Ok(()),
        }
    }

    /// Sees a tree kill through; `TreeEmpty` follows in any case. A keeper that is stopped or hung does not save its run.
    pub(super) async fn force(
        self: &Arc<Self>,
        run: RunId,
        sent: Result<(), KeepingError>,
    ) -> Result<(), KeepingError> {
        if let Err(KeepingError::NotAlive(_)) = sent {
            return sent;
        }
        if self.link().is_none() && self.held().live(run).is_none() {
            let killed = self.kill_strays().await;
            self.tell(KeeperEvent::TreeEmpty { run, killed });
            return Ok(());
        }
        let patience = if sent.is_ok() && self.link().is_some() { KEEPER_GRACE } else { Duration::ZERO };
        if self.has_ended(run, patience).await {
            return Ok(());
        }
        let Some(live) = self.held().live(run).cloned() else { return Ok(()) };
        self.kill_tree(&live.identity).await;
        if self.has_ended(run, KEEPER_GRACE).await {
            return Ok(());
        }
        if live.identity.lives() {
            return Err(KeepingError::Environment(format!(
                "process {} does not die: it hangs in the kernel",
                live.identity.pid
            )));
        }
        // It is dead, and its keeper does not say so: the keeper is what hangs. Its end is dealt with like any other.
        if let Some(keeper) = self.link().as_ref().and_then(|link| link.keeper.as_ref()) {
            tracing::warn!(workload = self.plan.name, %run, "the keeper hangs and is killed");
            let _ = keeper.signal(Signal::SIGKILL);
        }
        self.has_ended(run, HUNT).await.then_some(()).ok_or(KeepingError::Link("its keeper hangs".into()))
    }

    async fn has_ended(&self, run: RunId, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            let news = self.ended.notified();
            if self.held().live(run).is_none() {
                return true;
            }
            if timeout_at(until, news).await.is_err() {
                return self.held().live(run).is_none();
            }
        }
    }

    /// Kills everyone who is proven to belong to the run, until nobody is left or [`HUNT`] is over. How many were hit.
    pub(super) async fn kill_tree(&self, leader: &Identity) -> u32 {
        self.hunt(|| members(leader), |tree| strike(leader, tree)).await
    }

    /// Kills whoever is in the workload's cgroup, and says how many that were.
    pub(super) async fn kill_strays(&self) -> u32 {
        let killed = self.hunt(Vec::new, |_| ()).await;
        if killed > 0 {
            tracing::warn!(
                workload = self.plan.name,
                killed,
                "processes of a lost run were still there and were killed"
            );
        }
        killed
    }

    async fn hunt(&self, members: impl Fn() -> Vec<Identity>, strike: impl Fn(&[Identity])) -> u32 {
        let cgroup = self.cgroup();
        let until = Instant::now() + HUNT;
        let mut hit = HashSet::new();
        loop {
            let inside = cgroup.pids().into_iter().filter_map(|pid| Identity::of(pid).ok().flatten());
            let mut tree = members();
            tree.extend(inside.filter(Identity::lives));
            if tree.is_empty() || Instant::now() > until {
                return hit.len() as u32;
            }
            if let Err(e) = cgroup.kill() {
                tracing::debug!(error = %e, "the cgroup could not be killed; one by one then");
            }
            strike(&tree);
            hit.extend(tree);
            sleep(POLL).await;
        }
    }
}

/// Who belongs to the run by descent or by session. The leader itself comes last: while it exists, it is the proof.
fn members(leader: &Identity) -> Vec<Identity> {
    let mut tree: Vec<Identity> = descendants(leader);
    tree.extend(session_members(leader));
    tree.retain(|who| who != leader && who.lives());
    if leader.lives() {
        tree.push(*leader);
    }
    tree
}

/// Stops the leader first, so that it makes no more children, and kills it last.
fn strike(leader: &Identity, tree: &[Identity]) {
    if let Ok(Some(handle)) = PidFd::open(leader) {
        let _ = handle.signal(Signal::SIGSTOP);
    }
    for who in tree {
        match PidFd::open(who).map(|handle| handle.map(|h| h.signal(Signal::SIGKILL))) {
            Ok(None | Some(Ok(_))) => {}
            Ok(Some(Err(e))) | Err(e) => tracing::warn!(pid = who.pid, error = %e, "could not be killed"),
        }
    }
}

fn send_directly(live: &Live, signal: i32, scope: Scope) -> Result<(), KeepingError> {
    let failed = |e: std::io::Error| KeepingError::Environment(format!("signal {signal} was not sent: {e}"));
    let named = Signal::try_from(signal).map_err(|e| failed(e.into()))?;
    let heard = match scope {
        // Seen through by `force`.
        Scope::Tree => true,
        Scope::Group => match ProcessGroup::led_by(&live.identity).map_err(failed)? {
            Some(group) => group.signal(named).map_err(failed)?,
            None => false,
        },
        Scope::Leader => match PidFd::open(&live.identity).map_err(failed)? {
            Some(handle) => {
                handle.signal(named).and_then(|heard| handle.signal(Signal::SIGCONT).map(|_| heard)).map_err(failed)?
            }
            None => false,
        },
    };
    heard.then_some(()).ok_or(KeepingError::NotAlive(live.alive.run))
}
