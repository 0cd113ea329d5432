//! BackupActor: copies of the workspace or the server root, made and put back. It waits and acts; `policy::backup` decides.
//!
//! ```text
//!  HTTP ── Vault (handle) ──Ask──►┌─────────────┐──effects──► World: disk, archive, the game's console
//!                                 │ BackupActor │
//!  tasks ───────────────────Fact─►│  (Machine)  │──part────► StatusAggregator
//!  root ────────────────────Ping─►└─────────────┘──seen────► lists, and who wants to change the workload
//! ```
//! I promise (each tested in `backup/tests.rs`): one thing is under way at a time, and the second is told what; an order is
//! on disk before it is acknowledged and has exactly one outcome, also if I or the agent die in its midst; a step is cut off
//! by lack of progress, not by the clock; I never wait inside a handler.
//!
//! I do not: keep the workload from being started meanwhile ([`super::container`] does, by what I publish), or know what
//! lies in an archive.
mod perform;
#[cfg(test)]
mod tests;
pub mod world;

use crate::{
    actors::{
        game_server::Denied,
        root::Child,
        slot::{Slot, Unanswered},
        status::Status,
    },
    model::{
        backup::{Backup, BackupId, Backups},
        container::Kind,
        ids::OperationId,
        operation::OperationState,
        refusal::Refusal,
        settings::Settings,
    },
    policy::{
        backup::{BackupPart, Fact, Machine, Order, Shelves, Ticket, Wish},
        operations::By,
    },
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use world::World;

/// What everybody may see; only the newest counts.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// False until it is known what lies on disk.
    awake: bool,
    shelves: Shelves,
    in_the_way: Option<Refusal>,
    part: BackupPart,
}

/// A restore that was begun.
#[derive(Clone, Debug, PartialEq)]
pub struct PuttingBack {
    pub operation: OperationId,
    pub of: Backup,
    pub checkpoint: BackupId,
}

/// Handle to the BackupActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct Vault {
    slot: Slot<Message>,
    world: Arc<dyn World>,
    settings: Arc<Settings>,
    status: Status,
    seen: Arc<watch::Sender<Arc<Seen>>>,
}

impl Vault {
    /// The handle exists before the actor: give [`Vault::child`] to the root.
    pub fn new(world: Arc<dyn World>, settings: Arc<Settings>, status: Status) -> Vault {
        Vault { slot: Slot::default(), world, settings, status, seen: Arc::new(watch::Sender::new(Arc::default())) }
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let mold = self.clone();
        self.slot.child("backup", Message::Ping, move || BackupActor { handle: mold.clone() })
    }

    /// Newest first.
    pub async fn list(&self, kind: Kind) -> Result<Backups, Denied> {
        Ok(self.awake().await?.shelves.of(kind).clone())
    }

    /// Resolves once it is known what lies on disk.
    async fn awake(&self) -> Result<Arc<Seen>, Denied> {
        let mut seen = self.seen.subscribe();
        let awake = timeout(self.settings.limits.command_timeout, seen.wait_for(|seen| seen.awake)).await;
        let awake = awake.map_err(|_| Denied::Refused(Refusal::Recovering))?;
        awake.map(|seen| seen.clone()).map_err(|_| Denied::Gone)
    }

    /// Refused while something is under way that the workload must not be changed beside.
    pub async fn out_of_the_way(&self) -> Result<(), Denied> {
        match &self.awake().await?.in_the_way {
            None => Ok(()),
            Some(refusal) => Err(Denied::Refused(refusal.clone())),
        }
    }

    /// The operation, and the id that the backup will have.
    pub async fn make(&self, kind: Kind, holder: &str) -> Result<(OperationId, BackupId), Denied> {
        let id = self.fresh()?;
        Ok((self.order(kind, Order::Make { id: id.clone() }, holder).await?, id))
    }

    pub async fn put_back(&self, kind: Kind, id: &BackupId, holder: &str) -> Result<PuttingBack, Denied> {
        let checkpoint = self.fresh()?;
        let order = Order::PutBack { of: id.clone(), checkpoint: checkpoint.clone() };
        let gone = || Denied::Refused(Refusal::NoSuchBackup { id: id.clone() });
        let of = self.awake().await?.shelves.find(kind, id).cloned().ok_or_else(gone)?;
        Ok(PuttingBack { operation: self.order(kind, order, holder).await?, of, checkpoint })
    }

    pub async fn verify(&self, kind: Kind, id: &BackupId, holder: &str) -> Result<OperationId, Denied> {
        self.order(kind, Order::Verify { of: id.clone() }, holder).await
    }

    pub async fn delete(&self, kind: Kind, id: &BackupId, holder: &str) -> Result<OperationId, Denied> {
        self.order(kind, Order::Delete { of: id.clone() }, holder).await
    }

    /// `None`: it is no operation of this desk.
    pub async fn cancel(&self, operation: &OperationId) -> Option<Result<(), Denied>> {
        let within = self.settings.limits.command_timeout;
        match self.slot.call(within, |reply| Message::Cancel(operation.clone(), reply)).await {
            Ok(answer) => answer.map(|answer| answer.map_err(Denied::Refused)),
            Err(Unanswered::Late) => Some(Err(Denied::Busy)),
            Err(Unanswered::Gone) => Some(Err(Denied::Gone)),
        }
    }

    /// The backup of this id, if it is there by now.
    pub fn find(&self, kind: Kind, id: &BackupId) -> Option<Backup> {
        self.seen.borrow().shelves.find(kind, id).cloned()
    }

    /// Follows an operation to its end; also across the actor's own restarts.
    pub async fn outcome(&self, operation: &OperationId) -> Result<(), String> {
        let mut seen = self.seen.subscribe();
        loop {
            let now = seen.borrow_and_update().clone();
            match now.part.operations.iter().find(|row| row.id == *operation) {
                Some(row) if row.state == OperationState::Done => return Ok(()),
                Some(row) if row.state.is_final() => return Err(row.error.clone().unwrap_or_default()),
                Some(_) => {}
                None if now.awake => return Err(format!("nothing is known of operation {operation} any more")),
                None => {}
            }
            if seen.changed().await.is_err() {
                return Err("the agent is going down".into());
            }
        }
    }

    /// Ends what is under way; resolves when it has ended or `within` is over. What is being put in place stays to be
    /// finished by the next life.
    pub async fn shut_down(&self, within: Duration) {
        let Some(holder) = self.seen.borrow().part.operation.as_ref().map(|operation| operation.id.clone()) else {
            return;
        };
        if let Some(Ok(())) = self.cancel(&holder).await {
            // Late or not, the next life tells how it ended.
            _ = timeout(within, self.outcome(&holder)).await;
        }
    }

    fn fresh(&self) -> Result<BackupId, Denied> {
        self.world.backup_id().ok_or(Denied::Gone)
    }

    async fn order(&self, kind: Kind, order: Order, holder: &str) -> Result<OperationId, Denied> {
        let within = self.settings.limits.command_timeout;
        let shelves = self.awake().await?.shelves.clone();
        let foreseen = timeout(within, self.world.foresee(kind, order.clone(), shelves)).await;
        foreseen.map_err(|_| Denied::Busy)?.map_err(Denied::Refused)?;
        let by = By { id: self.world.operation_id(), holder: holder.to_owned() };
        match self.slot.call(within, |reply| Message::Ask(Wish { kind, order }, by, reply)).await {
            Ok(answer) => answer.map_err(Denied::Refused),
            Err(Unanswered::Late) => Err(Denied::Busy),
            Err(Unanswered::Gone) => Err(Denied::Gone),
        }
    }
}

type Answer = RpcReplyPort<Result<OperationId, Refusal>>;

pub(crate) enum Message {
    Awaken,
    Ask(Wish, By, Answer),
    Cancel(OperationId, RpcReplyPort<Option<Result<(), Refusal>>>),
    Fact(Fact),
    Ping(RpcReplyPort<()>),
    #[cfg(test)]
    Panic,
}

struct BackupActor {
    handle: Vault,
}

struct State {
    machine: Machine,
    /// The answer that waits for the disk.
    promised: Option<(Ticket, Answer, OperationId)>,
    /// How the step under way is ended early.
    stop: Option<(Ticket, CancellationToken)>,
    /// Dropped with the actor, and every task with it.
    tasks: JoinSet<()>,
    shown: Option<BackupPart>,
}

impl Actor for BackupActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        let settings = &self.handle.settings;
        let machine = Machine::new(settings.backups.clone(), settings.limits.operations_kept);
        Ok(State { machine, promised: None, stop: None, tasks: JoinSet::new(), shown: None })
    }

    async fn post_start(&self, me: ActorRef<Message>, _: &mut State) -> Result<(), ActorProcessingErr> {
        Ok(me.cast(Message::Awaken)?)
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Awaken => {
                let effects = state.machine.awaken();
                self.perform(&me, state, effects);
            }
            Message::Ask(wish, by, reply) => self.on_ask(&me, state, wish, by, reply),
            Message::Cancel(operation, reply) => self.on_cancel(&me, state, &operation, reply),
            Message::Fact(fact) => self.on_fact(&me, state, fact),
            Message::Ping(reply) => _ = reply.send(()), // who asked may have given up
            #[cfg(test)]
            Message::Panic => panic!("injected"),
        }
        self.publish(state);
        Ok(())
    }
}

impl BackupActor {
    fn on_ask(&self, me: &ActorRef<Message>, state: &mut State, wish: Wish, by: By, reply: Answer) {
        match state.machine.order(self.handle.world.now(), wish, by) {
            Err(refusal) => answer(reply, Err(refusal)),
            Ok(decision) => {
                state.promised = Some((decision.durable, reply, decision.operation));
                self.perform(me, state, decision.effects);
            }
        }
    }

    fn on_cancel(
        &self,
        me: &ActorRef<Message>,
        state: &mut State,
        operation: &OperationId,
        reply: RpcReplyPort<Option<Result<(), Refusal>>>,
    ) {
        let cancelled = state.machine.cancel(operation);
        answer(reply, cancelled.map(|cancelled| cancelled.map(|effects| self.perform(me, state, effects))));
    }

    fn on_fact(&self, me: &ActorRef<Message>, state: &mut State, fact: Fact) {
        if let Fact::Stored(ticket, _) = &fact
            && let Some((_, reply, operation)) = state.promised.take_if(|(waits_for, ..)| waits_for == ticket)
        {
            answer(reply, Ok(operation));
        }
        let effects = state.machine.on_fact(self.handle.world.now(), fact);
        self.perform(me, state, effects);
    }

    /// Once per message, only what changed.
    fn publish(&self, state: &mut State) {
        while state.tasks.try_join_next().is_some() {}
        let (awake, part) = (state.machine.is_awake(), state.machine.part());
        if !awake || state.shown.as_ref() == Some(&part) {
            return;
        }
        let (shelves, in_the_way) = (state.machine.shelves().clone(), state.machine.in_the_way());
        self.handle.seen.send_replace(Arc::new(Seen { awake, shelves, in_the_way, part: part.clone() }));
        self.handle.status.publish_backup(part.clone());
        state.shown = Some(part);
    }
}

/// The caller may have given up waiting; then nobody needs the answer.
fn answer<T: Send + 'static>(reply: RpcReplyPort<T>, value: T) {
    _ = reply.send(value);
}
