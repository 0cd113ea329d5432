//! Collectors: one [`collector`](super::collector) for each agent that is this gateway's to listen to.
//!
//! ```text
//!  registry changed, shards changed ──Look──►┌────────────┐──spawns, stops──► Collector × agents
//!  a collector died ────────────────────────►│ Collectors │◄──supervision───┘
//!  root ──Ping──────────────────────────────►└────────────┘
//! ```
//! I promise: every server of my shards has exactly one collector, with its present address and token; one that dies is
//! replaced after a pause; servers that leave are forgotten, and so are those that another gateway has taken over.
//!
//! I do not: decide which shards are mine (`sharing` does, with `policy::collector::share`).
use super::{
    collector::{self, Assignment, Outlet},
    root::Child,
    slot::Slot,
    statuses::Statuses,
};
use crate::{
    host::{agent_feed::Agent, batching::Batching},
    model::{
        gateway::{Server, Servers},
        ids::Vmid,
    },
    policy::collector::share,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent};
use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// A collector that died comes back after this.
const REBORN_AFTER: Duration = Duration::from_secs(1);
/// New collectors begin within this time, evenly spread.
const SPREAD: Duration = Duration::from_secs(5);

/// What agents say is looked at after so long at most, all of it together.
const BATCH: Duration = Duration::from_millis(20);

/// Shards whose agents are this gateway's.
pub type Shards = Arc<BTreeSet<u16>>;

/// Clones share one state; survives the actor's own restarts.
#[derive(Clone)]
pub struct Collectors {
    slot: Slot<Message>,
    servers: watch::Receiver<Arc<Servers>>,
    shards: watch::Receiver<Shards>,
    statuses: Statuses,
    outlet: Arc<dyn Outlet>,
    /// Where collectors live.
    batching: Arc<Batching>,
}

impl Collectors {
    /// Fails when there can be no thread for the collectors.
    pub fn new(
        servers: watch::Receiver<Arc<Servers>>,
        shards: watch::Receiver<Shards>,
        statuses: Statuses,
        outlet: Arc<dyn Outlet>,
    ) -> io::Result<Collectors> {
        let batching = Arc::new(Batching::start("collectors", BATCH)?);
        Ok(Collectors { slot: Slot::default(), servers, shards, statuses, outlet, batching })
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let mold = self.clone();
        self.slot.child("collectors", Message::Ping, move || Supervisor { handle: mold.clone() })
    }
}

enum Message {
    /// Registry or shards are not what they were.
    Look,
    Ping(RpcReplyPort<()>),
}

struct Supervisor {
    handle: Collectors,
}

struct State {
    running: HashMap<Vmid, Running>,
    /// Servers that were known once: what leaves is forgotten.
    known: BTreeSet<Vmid>,
    _watching: JoinSet<()>,
}

struct Running {
    agent: Agent,
    cell: ActorCell,
}

impl Actor for Supervisor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        let mut watching = JoinSet::new();
        watching.spawn(watch_for_changes(me, self.handle.servers.clone(), self.handle.shards.clone()));
        Ok(State { running: HashMap::new(), known: BTreeSet::new(), _watching: watching })
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => self.look(&me, state).await,
            Message::Ping(reply) => {
                _ = reply.send(()); // who asked may have given up
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorFailed(cell, why) => (cell, why.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.unwrap_or_default()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        let was = state.running.iter().find(|(_, running)| running.cell.get_id() == cell.get_id());
        if let Some(vmid) = was.map(|(vmid, _)| *vmid) {
            state.running.remove(&vmid);
            tracing::error!(vmid = vmid.0, why, "a collector died and is replaced");
            me.send_after(REBORN_AFTER, || Message::Look);
        }
        Ok(())
    }
}

impl Supervisor {
    async fn look(&self, me: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let servers = self.handle.servers.borrow().clone();
        let shards = self.handle.shards.borrow().clone();
        self.forget_who_left(state, &servers);
        let mine = |vmid: &Vmid| shards.contains(&share::shard(*vmid));
        let wanted: HashMap<Vmid, Agent> =
            servers.by_vmid.iter().filter(|(vmid, _)| mine(vmid)).map(|(vmid, s)| (*vmid, agent(s))).collect();
        state.running.retain(|vmid, running| {
            let stays = wanted.get(vmid) == Some(&running.agent);
            if !stays {
                running.cell.unlink(me.get_cell());
                running.cell.stop(None);
            }
            stays
        });
        let missing: Vec<(Vmid, Agent)> =
            wanted.into_iter().filter(|(vmid, _)| !state.running.contains_key(vmid)).collect();
        let spawned = self.handle.batching.handle().spawn(spread_out(self.handle.clone(), missing, me.get_cell()));
        state.running.extend(spawned.await??);
        Ok(())
    }

    fn forget_who_left(&self, state: &mut State, servers: &Servers) {
        for vmid in state.known.iter().filter(|vmid| servers.one(**vmid).is_none()) {
            self.handle.statuses.forget(*vmid);
        }
        state.known = servers.by_vmid.keys().copied().collect();
    }
}

/// Begins to listen to all of them, one after the other.
async fn spread_out(
    handle: Collectors,
    missing: Vec<(Vmid, Agent)>,
    parent: ActorCell,
) -> Result<Vec<(Vmid, Running)>, SpawnErr> {
    let step = SPREAD / u32::try_from(missing.len().max(16)).unwrap_or(u32::MAX);
    let mut running = Vec::with_capacity(missing.len());
    for (place, (vmid, agent)) in missing.into_iter().enumerate() {
        let before = handle.statuses.read(vmid).map(|cached| cached.json.clone());
        let assignment = Assignment { vmid, agent: agent.clone(), before, after: step * place as u32 };
        let collector = collector::spawn(assignment, handle.outlet.clone(), parent.clone()).await?;
        running.push((vmid, Running { agent, cell: collector.get_cell() }));
    }
    Ok(running)
}

fn agent(server: &Server) -> Agent {
    Agent { address: (server.address, server.agent_port).into(), token: server.agent_token.clone() }
}

/// Looks at once, and whenever one of the two changes.
async fn watch_for_changes(
    me: ActorRef<Message>,
    mut servers: watch::Receiver<Arc<Servers>>,
    mut shards: watch::Receiver<Shards>,
) {
    while me.cast(Message::Look).is_ok() {
        let changed = tokio::select! {
            changed = servers.changed() => changed,
            changed = shards.changed() => changed,
        };
        if changed.is_err() {
            return; // the registry is gone: the gateway goes down
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::collector::share::{LEASE, RENEW};

    #[test]
    fn the_longest_way_from_a_death_to_another_listener_is_within_15_s() {
        // The lease was renewed just before, the other has just looked, and the agent is the last to be listened to.
        assert!(LEASE + RENEW + SPREAD < Duration::from_secs(15));
    }
}
