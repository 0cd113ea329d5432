//! Sharing: several gateways, one Redis: who listens to which agents, and what the others heard.
//!
//! ```text
//!  collectors ──publish──► queue (newest only, in order) ──┐
//!                                                           ├── one connection ──► Redis: agent:<vmid>, leases
//!  every 2 s: renew leases, read what others wrote ─────────┘
//!                 └──► Shards ──► Collectors              └──► Statuses
//! ```
//! I promise: a status reaches readers here before it goes to Redis, and without waiting for it; what Redis missed while it
//! was gone is written in the order in which it was heard, the newest of each agent only; who does not renew is replaced
//! within 8 s, who leaves in order at once; without Redis nobody can share, so each gateway then listens to every agent itself.
//!
//! I do not: decide who gets which share or what is newer (`policy::collector` does).
use super::{
    collector::Outlet,
    gateway_root::Shards,
    root::Child,
    slot::Slot,
    statuses::{Cached, Statuses},
};
use crate::{
    host::{
        clock,
        status_cache::{Error, StatusCache},
    },
    model::{gateway::Servers, ids::Vmid, settings::Secret},
    policy::collector::{
        Entry, Known,
        share::{self, LEASE, RENEW, SHARDS},
    },
};
use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// What gathers within this time goes to Redis in one piece.
const GATHER: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time that leaving in order may take.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);
/// Entries written at a time.
const MOST: usize = 5_000;

/// Clones share one state; survives the actor's own restarts.
#[derive(Clone)]
pub struct Sharing {
    slot: Slot<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    /// `None`: this gateway is alone.
    redis: Option<Secret>,
    /// This gateway's name among those that share; new in each life.
    me: String,
    statuses: Statuses,
    servers: watch::Receiver<Arc<Servers>>,
    shards: watch::Sender<Shards>,
    queue: Mutex<Queue>,
    filled: Notify,
    leaving: Notify,
    left: Notify,
}

/// Entries on their way to Redis, each agent's newest, in the order in which the first of them came.
#[derive(Default)]
struct Queue {
    order: VecDeque<Vmid>,
    newest: HashMap<Vmid, Bytes>,
}

impl Queue {
    fn push(&mut self, vmid: Vmid, json: Bytes) {
        if self.newest.insert(vmid, json).is_none() {
            self.order.push_back(vmid);
        }
    }

    fn take(&mut self) -> Vec<(Vmid, Bytes)> {
        let most = self.order.len().min(MOST);
        self.order.drain(..most).filter_map(|vmid| Some((vmid, self.newest.remove(&vmid)?))).collect()
    }

    /// What could not be written comes first again, unless something newer of the same agent has come.
    fn put_back(&mut self, entries: Vec<(Vmid, Bytes)>) {
        let newer: HashSet<Vmid> = entries.iter().map(|(v, _)| *v).filter(|v| self.newest.contains_key(v)).collect();
        self.order.retain(|vmid| !newer.contains(vmid));
        for (vmid, json) in entries.into_iter().rev() {
            self.order.push_front(vmid);
            self.newest.entry(vmid).or_insert(json);
        }
    }
}

impl Sharing {
    pub fn new(redis: Option<Secret>, statuses: Statuses, servers: watch::Receiver<Arc<Servers>>) -> Sharing {
        let shards = if redis.is_some() { Shards::default() } else { every_shard() };
        let shared = Shared {
            redis,
            me: uuid::Uuid::new_v4().to_string(),
            statuses,
            servers,
            shards: watch::Sender::new(shards),
            queue: Mutex::default(),
            filled: Notify::new(),
            leaving: Notify::new(),
            left: Notify::new(),
        };
        Sharing { slot: Slot::default(), shared: Arc::new(shared) }
    }

    /// Which agents are this gateway's to listen to.
    pub fn shards(&self) -> watch::Receiver<Shards> {
        self.shared.shards.subscribe()
    }

    /// Writes what waits and gives up the leases, so that others need not wait for their end. The actor does nothing
    /// more: for a gateway that goes down.
    pub async fn leave(&self) {
        if self.shared.redis.is_none() {
            return;
        }
        self.shared.leaving.notify_one();
        if timeout(LEAVES_WITHIN, self.shared.left.notified()).await.is_err() {
            tracing::warn!("the leases could not be given up: others take over when they end");
        }
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let shared = self.shared.clone();
        self.slot.child("sharing", Message::Ping, move || Sharer { shared: shared.clone() })
    }
}

fn every_shard() -> Shards {
    Arc::new((0..SHARDS).collect())
}

impl Outlet for Sharing {
    fn publish(&self, vmid: Vmid, entry: &Entry, online: bool) {
        self.shared.statuses.publish(vmid, Cached::new(entry.json.clone(), entry.last_seen));
        // Who is silent is left to expire there: an entry in Redis means that the agent is heard.
        if online && self.shared.redis.is_some() {
            self.shared.queue().push(vmid, entry.json.clone());
            self.shared.filled.notify_one();
        }
    }

    fn chance(&self) -> f64 {
        f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
    }
}

enum Message {
    Ping(RpcReplyPort<()>),
    /// The task that works ended, which it never does by itself.
    Broke,
}

struct Sharer {
    shared: Arc<Shared>,
}

impl Actor for Sharer {
    type Msg = Message;
    type State = JoinSet<()>;
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Message>, _: ()) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut work = JoinSet::new();
        if let Some(url) = self.shared.redis.clone() {
            let (shared, ended) = (self.shared.clone(), EndsLoudly(me));
            work.spawn(async move {
                let _told_when_dropped = ended;
                Worker { shared, followed: HashMap::new(), heard: Instant::now() }.run(&url).await;
            });
        }
        Ok(work)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        _: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Ping(reply) => {
                _ = reply.send(()); // who asked may have given up
                Ok(())
            }
            Message::Broke => Err("the task that shares statuses broke".into()),
        }
    }
}

/// Tells also when the task panics.
struct EndsLoudly(ActorRef<Message>);

impl Drop for EndsLoudly {
    fn drop(&mut self) {
        _ = self.0.cast(Message::Broke); // an actor that is gone knows
    }
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task at the connection.
struct Worker {
    shared: Arc<Shared>,
    /// What is known of agents that other gateways listen to.
    followed: HashMap<Vmid, Known>,
    /// When Redis answered last.
    heard: Instant,
}

impl Worker {
    async fn run(mut self, url: &Secret) {
        let mut pause = FIRST_PAUSE;
        let mut failures = 0u64;
        loop {
            let error = match StatusCache::connect(url).await {
                Ok(cache) => {
                    if failures > 0 {
                        tracing::info!(failures, "Redis answers again");
                    }
                    (pause, failures) = (FIRST_PAUSE, 0);
                    match self.serve(cache).await {
                        Ok(()) => return self.gone().await,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if failures == 0 {
                tracing::error!(%error, "Redis does not answer: statuses are not shared until it does");
            }
            failures += 1;
            if self.heard.elapsed() > LEASE {
                self.own(every_shard());
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.shared.leaving.notified() => return self.gone().await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Nothing more is done in this life.
    async fn gone(&self) {
        self.shared.left.notify_one();
        std::future::pending().await
    }

    /// Until this gateway leaves, or the connection fails.
    async fn serve(&mut self, mut cache: StatusCache) -> Result<(), Error> {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.shared.leaving.notified() => return self.leave(&mut cache).await,
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + RENEW;
                    self.round(&mut cache).await?;
                }
                () = self.shared.filled.notified() => {
                    sleep(GATHER).await;
                    self.flush(&mut cache).await?;
                }
            }
            self.heard = Instant::now();
        }
    }

    async fn leave(&mut self, cache: &mut StatusCache) -> Result<(), Error> {
        self.flush(cache).await?;
        let mine = self.shared.shards.borrow().clone();
        cache.leave(&self.shared.me, &mine).await
    }

    async fn round(&mut self, cache: &mut StatusCache) -> Result<(), Error> {
        let me = &self.shared.me;
        let mut leases = cache.look(me, LEASE, SHARDS).await?;
        leases.gateways.sort();
        let place = leases.gateways.iter().position(|name| name == me).unwrap_or_default();
        let plan = share::plan(&leases.mine, &leases.others, leases.gateways.len(), place);
        cache.release(me, &plan.release).await?;
        let taken = cache.take(me, LEASE, &plan.take).await?;
        plan.release.iter().for_each(|shard| _ = leases.mine.remove(shard));
        leases.mine.extend(taken);
        self.own(Arc::new(leases.mine));
        self.flush(cache).await?;
        self.follow(cache).await
    }

    fn own(&self, shards: Shards) {
        self.shared.shards.send_if_modified(|mine| {
            let differs = *mine != shards;
            *mine = shards;
            differs
        });
    }

    async fn flush(&mut self, cache: &mut StatusCache) -> Result<(), Error> {
        loop {
            let entries = self.shared.queue().take();
            if entries.is_empty() {
                return Ok(());
            }
            match cache.write(&entries).await {
                Ok(0) => {}
                Ok(refused) => tracing::debug!(refused, "Redis holds newer statuses than were written"),
                Err(error) => {
                    self.shared.queue().put_back(entries);
                    return Err(error);
                }
            }
        }
    }

    /// Reads what others heard.
    async fn follow(&mut self, cache: &mut StatusCache) -> Result<(), Error> {
        let servers = self.shared.servers.borrow().clone();
        let mine = self.shared.shards.borrow().clone();
        let theirs: Vec<Vmid> =
            servers.by_vmid.keys().copied().filter(|vmid| !mine.contains(&share::shard(*vmid))).collect();
        let entries = cache.read(&theirs).await?;
        let wanted: HashSet<Vmid> = theirs.iter().copied().collect();
        self.followed.retain(|vmid, _| wanted.contains(vmid));
        for (vmid, json) in theirs.into_iter().zip(entries) {
            self.take_over(vmid, json);
        }
        Ok(())
    }

    fn take_over(&mut self, vmid: Vmid, json: Option<Vec<u8>>) {
        let known = self.followed.entry(vmid).or_default();
        let changed = known.newest().is_none_or(|newest| json.as_deref() != Some(&newest.json[..]));
        let entry = json.and_then(|json| Entry::of_cache(json.into()));
        let shown = match entry {
            Some(entry) if changed => known.on_heard(entry).cloned(),
            Some(_) => None,
            None => known.on_silence(clock::wall_time(), "no gateway hears this agent"),
        };
        if let Some(entry) = shown {
            self.shared.statuses.publish(vmid, Cached::new(entry.json, entry.last_seen));
        }
    }
}

#[cfg(test)]
mod tests;
