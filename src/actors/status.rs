//! StatusAggregator: single writer of the published status.
//!
//! ```text
//!  actors ──part (newest only)──►┌──────────────────┐
//!  sampler ──usage every─────────►│ StatusAggregator │──watch<Arc<Published>>──► StatusReader: /status, /events, /ready
//!            status.interval      └──────────────────┘
//! ```
//! I promise: a revision is never taken back and rises by one with each visible change, also across my own restarts;
//! the JSON of a revision is made once; readers never wait for me; I wake up for a changed part and for a sample every
//! `status.interval`, and for nothing else; what a run uses is sampled at once when it begins, is ready or ends.
//!
//! I do not: decide what the status says (`policy::status` does) or keep history.
mod reader;

pub use reader::{Check, Published, StatusReader};

use crate::{
    actors::{root::Child, slot::Slot},
    model::{
        activity::Activity,
        container::Kind,
        dev::Addon,
        snapshot::{Snapshot, Usage, Warning},
        time::{BootTime, WallTime},
    },
    policy::{
        backup::BackupPart,
        installer::InstallPart,
        status::{
            DevPart, Finding, GamePart, Identity, Parts, UpdatePart, all_crashes, all_operations, findings, fold,
            revise, says_the_same,
        },
    },
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet};

/// How long somebody waits for a status that is being restarted.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(1);

/// What the aggregator asks of the machine.
pub trait Gauges: Send + Sync + 'static {
    fn now(&self) -> (BootTime, WallTime);
    /// What the workload and its disk use now; resolves within a second. `pid`: its main process, if it lives.
    fn usage(&self, pid: Option<i32>) -> BoxFuture<'static, Usage>;
    /// What this machine cannot give the workload, as far as it is known now; no I/O.
    fn warnings(&self) -> Vec<Warning>;
    /// Waits, with as few wake-ups as this machine can.
    fn rest(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Handle for those who have something to say; survives the actor's own restarts.
#[derive(Clone)]
pub struct Status {
    slot: Slot<Message>,
    shared: Arc<Shared>,
}

/// Outlives the actor: what was said last, and what was published last.
struct Shared {
    identity: Identity,
    gauges: Arc<dyn Gauges>,
    interval: Duration,
    game: watch::Sender<GamePart>,
    code_server: watch::Sender<GamePart>,
    sshd: watch::Sender<GamePart>,
    tailscale: watch::Sender<GamePart>,
    dev: watch::Sender<DevPart>,
    activity: watch::Sender<Option<Activity>>,
    install: watch::Sender<InstallPart>,
    backup: watch::Sender<BackupPart>,
    update: watch::Sender<UpdatePart>,
    published: watch::Sender<Arc<Published>>,
}

impl Shared {
    fn addon(&self, addon: Addon) -> &watch::Sender<GamePart> {
        match addon {
            Addon::CodeServer => &self.code_server,
            Addon::Sshd => &self.sshd,
            Addon::Tailscale => &self.tailscale,
        }
    }

    /// Of those beside the editor.
    fn addons(&self) -> Vec<(Addon, GamePart)> {
        [Addon::Sshd, Addon::Tailscale].map(|addon| (addon, self.addon(addon).borrow().clone())).into()
    }
}

impl Status {
    /// `interval`: `status.interval`.
    pub fn new(identity: Identity, gauges: Arc<dyn Gauges>, interval: Duration) -> Result<Status, serde_json::Error> {
        let game = GamePart { recovering: true, ..GamePart::default() };
        let dev = DevPart { recovering: true, ..DevPart::default() };
        let update = UpdatePart { recovering: true, ..UpdatePart::default() };
        let parts = Parts {
            identity: identity.clone(),
            game: game.clone(),
            code_server: game.clone(),
            dev: dev.clone(),
            update: update.clone(),
            ..Parts::default()
        };
        let now = gauges.now();
        let first = with_json(unsent(fold(&parts, now), &parts, &[], now.1))?;
        let (code_server, game) = (watch::Sender::new(game.clone()), watch::Sender::new(game));
        let (dev, update) = (watch::Sender::new(dev), watch::Sender::new(update));
        let (install, published) = (watch::Sender::default(), watch::Sender::new(Arc::new(first)));
        let (sshd, tailscale) = (watch::Sender::default(), watch::Sender::default());
        let (activity, backup) = (watch::Sender::default(), watch::Sender::default());
        let shared = Shared {
            identity,
            gauges,
            interval,
            game,
            code_server,
            sshd,
            tailscale,
            dev,
            activity,
            install,
            backup,
            update,
            published,
        };
        Ok(Status { slot: Slot::default(), shared: Arc::new(shared) })
    }

    pub fn reader(&self) -> StatusReader {
        StatusReader::new(self.shared.published.subscribe())
    }

    /// The game server's part has changed. Never blocks; only the newest part counts.
    pub fn publish_game(&self, part: GamePart) {
        self.shared.game.send_replace(part);
        self.slot.cast(Message::Changed);
    }

    /// As [`Status::publish_game`], for the editor's part.
    pub fn publish_code_server(&self, part: GamePart) {
        self.shared.code_server.send_replace(part);
        self.slot.cast(Message::Changed);
    }

    /// What the editor's supervisor says.
    pub fn code_server(&self) -> watch::Receiver<GamePart> {
        self.shared.code_server.subscribe()
    }

    /// As [`Status::publish_game`], for an addon's part.
    pub fn publish_addon(&self, addon: Addon, part: GamePart) {
        self.shared.addon(addon).send_replace(part);
        self.slot.cast(Message::Changed);
    }

    /// What an addon's supervisor says.
    pub fn addon(&self, addon: Addon) -> watch::Receiver<GamePart> {
        self.shared.addon(addon).subscribe()
    }

    /// As [`Status::publish_game`], for the dev container's part.
    pub fn publish_dev(&self, part: DevPart) {
        self.shared.dev.send_replace(part);
        self.slot.cast(Message::Changed);
    }

    /// As [`Status::publish_game`], for how the editor is used; `None` while nobody looks.
    pub fn publish_activity(&self, activity: Option<Activity>) {
        let news = |said: &mut Option<Activity>| std::mem::replace(said, activity.clone()) != activity;
        if self.shared.activity.send_if_modified(news) {
            self.slot.cast(Message::Changed);
        }
    }

    /// As [`Status::publish_game`], for the installer's part.
    pub fn publish_install(&self, part: InstallPart) {
        self.shared.install.send_replace(part);
        self.slot.cast(Message::Changed);
    }

    /// As [`Status::publish_game`], for what goes on with backups.
    pub fn publish_backup(&self, part: BackupPart) {
        self.shared.backup.send_replace(part);
        self.slot.cast(Message::Changed);
    }

    /// What the game server and the dev container said last of themselves, once the one of this kind knows.
    pub async fn workloads(&self, kind: Kind) -> (GamePart, DevPart) {
        let known = |dev: &DevPart| dev.configured && !dev.recovering;
        match kind {
            Kind::Game => self.recovered().await,
            Kind::Dev => _ = self.shared.dev.subscribe().wait_for(known).await,
        }
        (self.shared.game.borrow().clone(), self.shared.dev.borrow().clone())
    }

    /// As [`Status::publish_game`], for what is to be said of the agent's updates.
    pub fn publish_update(&self, part: UpdatePart) {
        let news = |said: &mut UpdatePart| std::mem::replace(said, part.clone()) != part;
        if self.shared.update.send_if_modified(news) {
            self.slot.cast(Message::Changed);
        }
    }

    /// Resolves once it is known what survived of an earlier life.
    pub async fn recovered(&self) {
        _ = self.shared.game.subscribe().wait_for(|game| !game.recovering).await;
    }

    /// Resolves once everything that was said before is published: who is told that a command was taken finds it in the
    /// status. A status that is just being restarted shows it later.
    pub async fn caught_up(&self) {
        // Messages are taken in order.
        _ = self.slot.call(CAUGHT_UP_WITHIN, Message::Ping).await;
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let shared = self.shared.clone();
        self.slot.child("status", Message::Ping, move || StatusAggregator { shared: shared.clone() })
    }
}

pub(crate) enum Message {
    /// Somebody's part changed.
    Changed,
    /// Time for a sample.
    Tick,
    Sampled(Usage),
    Ping(RpcReplyPort<()>),
    #[cfg(test)]
    Panic,
}

struct StatusAggregator {
    shared: Arc<Shared>,
}

struct State {
    parts: Parts,
    tasks: JoinSet<()>,
}

impl Actor for StatusAggregator {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        let (game, dev) = (self.shared.game.borrow().clone(), self.shared.dev.borrow().clone());
        let (install, backup) = (self.shared.install.borrow().clone(), self.shared.backup.borrow().clone());
        let usage = self.shared.published.borrow().snapshot.usage.clone();
        let code_server = self.shared.code_server.borrow().clone();
        let (identity, activity) = (self.shared.identity.clone(), self.shared.activity.borrow().clone());
        let addons = self.shared.addons().into_iter().collect();
        let (machine, update) = (Vec::new(), self.shared.update.borrow().clone());
        let parts =
            Parts { identity, game, code_server, addons, dev, activity, install, backup, update, usage, machine };
        Ok(State { parts, tasks: JoinSet::new() })
    }

    async fn post_start(&self, me: ActorRef<Message>, _: &mut State) -> Result<(), ActorProcessingErr> {
        Ok(me.cast(Message::Tick)?)
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Changed => self.take_parts(&me, state),
            Message::Tick => return self.tick(&me, state),
            Message::Sampled(usage) => state.parts.usage = usage,
            Message::Ping(reply) => {
                _ = reply.send(()); // who asked may have given up
                return Ok(());
            }
            #[cfg(test)]
            Message::Panic => panic!("injected"),
        }
        state.parts.machine = self.shared.gauges.warnings();
        state.parts.update = self.shared.update.borrow().clone();
        self.publish(state)
    }
}

impl StatusAggregator {
    /// What is shown beside another process must not be the use of the last one.
    fn take_parts(&self, me: &ActorRef<Message>, state: &mut State) {
        let stage = |parts: &Parts| (parts.process().map(|p| p.pid), parts.supervised().ready);
        while state.tasks.try_join_next().is_some() {}
        let before = stage(&state.parts);
        state.parts.take_game(self.shared.game.borrow().clone());
        state.parts.take_code_server(self.shared.code_server.borrow().clone());
        for (addon, part) in self.shared.addons() {
            state.parts.take_addon(addon, part);
        }
        state.parts.take_dev(self.shared.dev.borrow().clone());
        state.parts.install = self.shared.install.borrow().clone();
        state.parts.activity = self.shared.activity.borrow().clone();
        state.parts.backup = self.shared.backup.borrow().clone();
        if stage(&state.parts) != before {
            let (me, usage) = (me.clone(), self.shared.gauges.usage(stage(&state.parts).0));
            state.tasks.spawn(async move { _ = me.cast(Message::Sampled(usage.await)) });
        }
    }

    /// Samples now, in a task; the next tick is armed from here, so a slow machine gets fewer samples and no burst.
    fn tick(&self, me: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        while state.tasks.try_join_next().is_some() {}
        let (me, interval, gauges) = (me.clone(), self.shared.interval, self.shared.gauges.clone());
        let usage = gauges.usage(state.parts.process().map(|p| p.pid));
        state.tasks.spawn(async move {
            let began = tokio::time::Instant::now();
            match tokio::time::timeout(interval, usage).await {
                Ok(usage) => _ = me.cast(Message::Sampled(usage)),
                Err(_) => tracing::warn!("the resource sample took longer than status.interval"),
            }
            gauges.rest(interval.saturating_sub(began.elapsed())).await;
            _ = me.cast(Message::Tick);
        });
        Ok(())
    }

    fn publish(&self, state: &State) -> Result<(), ActorProcessingErr> {
        let now = self.shared.gauges.now();
        let shown = self.shared.published.borrow().clone();
        let fresh = revise(shown.snapshot.revision, fold(&state.parts, now));
        let fresh = unsent(fresh, &state.parts, &shown.checks, now.1);
        if !same(&shown, &fresh) {
            self.shared.published.send_replace(Arc::new(with_json(fresh)?));
        }
        Ok(())
    }
}

fn same(shown: &Published, fresh: &Published) -> bool {
    says_the_same(&shown.snapshot, &fresh.snapshot)
        && (shown.recovering, &shown.operations) == (fresh.recovering, &fresh.operations)
        && shown.crashes == fresh.crashes
        && shown.checks == fresh.checks
}

/// Everything but the JSON, which is only made for what is sent.
fn unsent(snapshot: Snapshot, parts: &Parts, was: &[Check], at: WallTime) -> Published {
    let checks = findings(parts).into_iter().map(|f| check(f, was, at)).collect();
    let (operations, crashes) = (all_operations(parts), all_crashes(parts));
    let recovering = parts.are_recovering();
    Published { snapshot, json: Bytes::new(), recovering, operations, crashes, checks: Arc::new(checks) }
}

fn with_json(unsent: Published) -> Result<Published, serde_json::Error> {
    Ok(Published { json: serde_json::to_vec(&unsent.snapshot)?.into(), ..unsent })
}

fn check((name, ok, detail): Finding, was: &[Check], now: WallTime) -> Check {
    let same = was.iter().find(|c| c.name == name && c.ok == ok && c.detail == detail);
    Check { name: name.into(), ok, detail, at: same.map_or(now, |c| c.at) }
}

#[cfg(test)]
mod tests;
