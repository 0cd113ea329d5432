//! Velocity: keeps a proxy's list of servers as ours, if a proxy is named.
//!
//! ```text
//!  every velocity.interval ──► proxy's list, our statuses ──► policy::velocity ──► register, unregister
//! ```
//! I promise: a server is registered only after players could join it; a proxy that was restarted knows all of them again
//! after one interval; what others registered is left alone; one comparison at a time.
use super::{directory::Directory, root::Child, slot::Slot, statuses::Statuses};
use crate::{
    host::{
        clock,
        velocity::{Bridge, Error},
    },
    model::{gateway::Server, time::WallTime},
    policy::velocity::{Call, Entry, Wish, calls, name, wish},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// What was heard longer ago is not known any more.
const FRESH: i64 = 15_000;

/// Survives the actor's own restarts.
#[derive(Clone)]
pub struct Velocity {
    slot: Slot<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    directory: Directory,
    statuses: Statuses,
    bridge: Bridge,
    every: Duration,
}

impl Velocity {
    /// `every`: `velocity.interval`.
    pub fn new(directory: Directory, statuses: Statuses, bridge: Bridge, every: Duration) -> Velocity {
        Velocity { slot: Slot::default(), shared: Arc::new(Shared { directory, statuses, bridge, every }) }
    }

    /// How the root brings the actor to life.
    pub fn child(&self) -> Child {
        let shared = self.shared.clone();
        self.slot.child("velocity", Message::Ping, move || Registrar { shared: shared.clone() })
    }
}

enum Message {
    Compare,
    Compared(Result<(), Error>),
    Ping(RpcReplyPort<()>),
}

struct Registrar {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct State {
    comparing: JoinSet<()>,
    /// The proxy did not answer last time: told once, and once when it does again.
    away: bool,
}

impl Actor for Registrar {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        me.cast(Message::Compare)?;
        Ok(State::default())
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Compare => {
                while state.comparing.try_join_next().is_some() {}
                let shared = self.shared.clone();
                // An actor that is gone has no use for it.
                state.comparing.spawn(async move { _ = me.cast(Message::Compared(shared.compare().await)) });
            }
            Message::Compared(result) => {
                told(result, &mut state.away);
                me.send_after(self.shared.every, || Message::Compare);
            }
            Message::Ping(reply) => reply.send(())?,
        }
        Ok(())
    }
}

fn told(result: Result<(), Error>, away: &mut bool) {
    match result {
        Ok(()) if *away => tracing::info!("the proxy's bridge answers again"),
        Err(error) if !*away => tracing::warn!(%error, "game servers cannot be registered with the proxy"),
        _ => return,
    }
    *away = !*away;
}

impl Shared {
    async fn compare(&self) -> Result<(), Error> {
        let present: Vec<Entry> = self
            .bridge
            .list()
            .await?
            .into_iter()
            .map(|l| Entry { name: l.name, address: l.address, port: l.port })
            .collect();
        for call in calls(&self.wishes(), &present) {
            match &call {
                Call::Register(Entry { name, address, port }) => self.bridge.register(name, address, *port).await?,
                Call::Unregister(name) => self.bridge.unregister(name).await?,
            }
            tracing::info!(?call, "the proxy was told");
        }
        Ok(())
    }

    fn wishes(&self) -> BTreeMap<String, Wish> {
        let now = clock::wall_time();
        let servers = self.directory.servers();
        servers.by_vmid.values().map(|server| (name(server.vmid), self.wish(server, now))).collect()
    }

    fn wish(&self, server: &Server, now: WallTime) -> Wish {
        let fresh = self.statuses.read(server.vmid).filter(|cached| now.0 - cached.last_seen.0 < FRESH);
        let status = fresh.and_then(|cached| serde_json::from_slice(&cached.json).ok());
        wish(server, status.as_ref())
    }
}
