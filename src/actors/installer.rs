//! InstallerActor: what is installed on this machine. It remembers, waits and acts; `policy::installer` decides.
//!
//! ```text
//!  HTTP, others ── Installer (handle) ──Ask──►┌────────────────┐──effects──► Workshop: artifact server, disk
//!                                             │ InstallerActor │
//!  tasks ────────────────────────────Fact────►│   (Machine)    │──part────► StatusAggregator
//!  root ─────────────────────────────Ping────►└────────────────┘──seen────► who follows an operation
//! ```
//! I promise (each tested in `installer/tests.rs`):
//! - a command is answered within `limits.command_timeout`, and what I acknowledged is on disk: killed at any moment, my
//!   successor takes it up and brings it to an end;
//! - I never wait inside a handler; a step is cut off by lack of progress, not by the clock;
//! - equal orders are one operation, and every operation ends exactly once;
//! - an order that cannot be carried out leaves what was there before.
//!
//! I do not: move bytes (the [`Workshop`] does, in threads of its own), choose versions (`policy::catalog` does), or know
//! what an installed thing is for.
mod following;
mod perform;
#[cfg(test)]
mod tests;
pub mod workshop;

use crate::{
    actors::{game_server::Denied, root::Child, slot::Slot, status::Status},
    model::{
        ids::OperationId,
        install::{Family, Present, Tree, TreeId, User, Wanted},
        operation::Operation,
        refusal::Refusal,
        settings::Settings,
    },
    policy::{
        installer::{
            Command, Effect, Fact, InstallPart, Machine, Ticket, choice,
            order::{Order, satisfying},
        },
        operations::By,
    },
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use workshop::{Available, Progress, Unmet, Workshop};

/// How long an answer is kept back until what it names is shown.
const SHOWN_WITHIN: Duration = Duration::from_millis(500);

/// A command was taken; what becomes of it is seen in the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// `None` when nothing had to be done.
    pub operation: Option<OperationId>,
}

/// What everybody may see; only the newest counts.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// False until the first look around is over.
    pub awake: bool,
    pub present: Present,
    /// Newest first.
    pub operations: Arc<Vec<Operation>>,
}

/// An installed tree and who uses it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    pub tree: Tree,
    pub active: bool,
    pub users: Vec<User>,
}

/// Handle to the InstallerActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct Installer {
    slot: Slot<Message>,
    workshop: Arc<dyn Workshop>,
    settings: Arc<Settings>,
    status: Status,
    seen: Arc<watch::Sender<Arc<Seen>>>,
}

impl Installer {
    /// The handle exists before the actor: give [`Installer::child`] to the root.
    pub fn new(workshop: Arc<dyn Workshop>, settings: Arc<Settings>, status: Status) -> Installer {
        let (slot, seen) = (Slot::default(), Arc::new(watch::Sender::new(Arc::default())));
        Installer { slot, workshop, settings, status, seen }
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let mold = self.clone();
        self.slot.child("installer", Message::Ping, move || {
            let Installer { slot: _, workshop, settings, status, seen } = mold.clone();
            InstallerActor { workshop, settings, status, seen }
        })
    }

    /// Sees to it that this is installed and sound, and with `activate` also the active version of its family.
    /// Refused with field and allowed values where the artifact server says that there is no such thing; where it
    /// cannot be asked in time the operation finds out, and says so.
    pub async fn ensure(&self, wanted: Wanted, activate: bool, holder: &str) -> Result<Accepted, Denied> {
        choice::check(&wanted).map_err(Denied::Refused)?;
        if satisfying(&wanted, &self.present()).is_none() {
            let asked = timeout(self.settings.limits.command_timeout / 2, self.workshop.consult(wanted.clone())).await;
            if let Ok(Err(Unmet::Refused(refusal))) = asked {
                return Err(Denied::Refused(refusal));
            }
        }
        self.order(Order::Ensure { wanted, activate }, holder).await
    }

    pub async fn activate(&self, tree: TreeId, holder: &str) -> Result<Accepted, Denied> {
        self.order(Order::Activate { tree }, holder).await
    }

    /// Back to the version of this family that was active before.
    pub async fn rollback(&self, family: Family, holder: &str) -> Result<Accepted, Denied> {
        self.ask(Command::Rollback(family, self.by(holder))).await
    }

    /// Refused while somebody uses it.
    pub async fn remove(&self, tree: TreeId, holder: &str) -> Result<Accepted, Denied> {
        let users = self.users(&tree).await?;
        if !users.is_empty() {
            return Err(Denied::Refused(Refusal::InUse { what: tree.to_string(), users }));
        }
        self.order(Order::Remove { tree }, holder).await
    }

    /// Every file against the manifest; without a version those of the active one.
    pub async fn verify(&self, family: Family, version: Option<String>, holder: &str) -> Result<Accepted, Denied> {
        self.order(Order::Verify { tree: self.named(&family, version)? }, holder).await
    }

    /// Makes it as it was installed; without a version the active one.
    pub async fn repair(&self, family: Family, version: Option<String>, holder: &str) -> Result<Accepted, Denied> {
        self.order(Order::Repair { tree: self.named(&family, version)? }, holder).await
    }

    fn named(&self, family: &Family, version: Option<String>) -> Result<TreeId, Denied> {
        let active = || self.present().active(family).map(str::to_owned);
        let none = || Denied::Refused(Refusal::NotInstalled { what: family.to_string(), installed: Vec::new() });
        Ok(family.version(&version.or_else(active).ok_or_else(none)?))
    }

    /// Staging and cache that nobody needs, and superseded versions.
    pub async fn collect(&self, holder: &str) -> Result<Accepted, Denied> {
        self.order(Order::Collect, holder).await
    }

    /// The operation ends as failed and what it did is undone.
    pub async fn cancel(&self, operation: OperationId) -> Result<Accepted, Denied> {
        self.ask(Command::Cancel(operation)).await
    }

    /// What everybody may see, as it changes.
    pub fn seen(&self) -> watch::Receiver<Arc<Seen>> {
        self.seen.subscribe()
    }

    /// What was installed at the last look.
    pub fn present(&self) -> Present {
        self.seen.borrow().present.clone()
    }

    /// What is on a shelf, with who uses it now.
    pub async fn stock(&self, belongs: impl Fn(&Family) -> bool) -> Result<Vec<Stock>, Denied> {
        let present = self.present();
        let mut stock = Vec::new();
        for tree in present.trees.iter().filter(|tree| belongs(&tree.id.family)) {
            let users = self.users(&tree.id).await?;
            stock.push(Stock { tree: tree.clone(), active: present.is_active(&tree.id), users });
        }
        Ok(stock)
    }

    /// The runtimes of the artifact server; the error says why they are not known.
    pub async fn available(&self) -> Result<Vec<Available>, String> {
        let within = self.settings.limits.command_timeout;
        let asked = timeout(within, self.workshop.available()).await;
        asked.unwrap_or_else(|_| Err(format!("the artifact server did not answer within {} s", within.as_secs())))
    }

    async fn users(&self, tree: &TreeId) -> Result<Vec<User>, Denied> {
        let asked = timeout(self.settings.limits.command_timeout, self.workshop.users(tree.clone())).await;
        let users = asked.map_err(|_| Denied::Busy)?;
        users.map_err(|detail| Denied::Refused(Refusal::Unusable { field: "(machine)".into(), detail }))
    }

    async fn order(&self, order: Order, holder: &str) -> Result<Accepted, Denied> {
        self.ask(Command::Do(order, self.by(holder))).await
    }

    /// Answers once the operation can be looked up: who is told an id may ask for it at once.
    async fn ask(&self, command: Command) -> Result<Accepted, Denied> {
        let accepted = self.told(command).await?;
        if let Some(id) = &accepted.operation {
            let mut reader = self.status.reader();
            let shown = async {
                let mut now = reader.current();
                while !now.operations.iter().any(|o| o.id == *id) {
                    now = reader.past(now.snapshot.revision.0).await;
                }
            };
            // A status that is being restarted shows it later.
            _ = timeout(SHOWN_WITHIN, shown).await;
        }
        Ok(accepted)
    }

    async fn told(&self, command: Command) -> Result<Accepted, Denied> {
        let within = self.settings.limits.command_timeout;
        self.slot.command(within, |reply| Message::Ask(command.clone(), reply)).await
    }

    fn by(&self, holder: &str) -> By {
        By { id: self.workshop.operation_id(), holder: holder.to_owned() }
    }
}

type Answer = RpcReplyPort<Result<Accepted, Refusal>>;

/// What reaches the actor.
pub(crate) enum Message {
    /// First message to self: `pre_start` does nothing that can hang.
    Awaken,
    /// The world wants something.
    Ask(Command, Answer),
    /// Something I started reports.
    Fact(Fact),
    Ping(RpcReplyPort<()>),
    #[cfg(test)]
    Panic,
}

struct InstallerActor {
    workshop: Arc<dyn Workshop>,
    settings: Arc<Settings>,
    status: Status,
    seen: Arc<watch::Sender<Arc<Seen>>>,
}

struct State {
    machine: Machine,
    /// Answers that wait for the disk.
    promised: BTreeMap<Ticket, Vec<(Answer, Accepted)>>,
    /// How steps under way are ended early.
    stops: BTreeMap<Ticket, CancellationToken>,
    /// Dropped with the actor, and every task with it.
    tasks: JoinSet<()>,
    shown: Option<(InstallPart, Present)>,
}

impl Actor for InstallerActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        let machine = Machine::new(self.settings.install.clone(), self.settings.limits.operations_kept);
        let (promised, stops, tasks) = (BTreeMap::new(), BTreeMap::new(), JoinSet::new());
        Ok(State { machine, promised, stops, tasks, shown: None })
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
            Message::Awaken => self.awaken(&me, state),
            Message::Ask(command, reply) => self.on_ask(&me, state, command, reply),
            Message::Fact(fact) => self.on_fact(&me, state, fact),
            Message::Ping(reply) => answer(reply, ()),
            #[cfg(test)]
            Message::Panic => panic!("injected"),
        }
        self.publish(state);
        Ok(())
    }
}

impl InstallerActor {
    fn awaken(&self, me: &ActorRef<Message>, state: &mut State) {
        let effects = state.machine.awaken();
        self.carry_out(me, state, effects);
    }

    fn on_ask(&self, me: &ActorRef<Message>, state: &mut State, command: Command, reply: Answer) {
        let decision = match state.machine.on_command(self.workshop.now(), command) {
            Ok(decision) => decision,
            Err(refusal) => return answer(reply, Err(refusal)),
        };
        let accepted = Accepted { operation: decision.operation };
        match decision.durable {
            Some(ticket) => state.promised.entry(ticket).or_default().push((reply, accepted)),
            None => answer(reply, Ok(accepted)),
        }
        self.carry_out(me, state, decision.effects);
    }

    fn on_fact(&self, me: &ActorRef<Message>, state: &mut State, fact: Fact) {
        match &fact {
            Fact::Stored(ticket, _) => {
                let promised = state.promised.remove(ticket).unwrap_or_default();
                promised.into_iter().for_each(|(reply, accepted)| answer(reply, Ok(accepted)));
            }
            Fact::Did(ticket, _) | Fact::Consulted(ticket, _) => _ = state.stops.remove(ticket),
            Fact::Recalled(..) | Fact::Surveyed(..) | Fact::Progressed { .. } => {}
        }
        let effects = state.machine.on_fact(self.workshop.now(), fact);
        self.carry_out(me, state, effects);
    }

    fn carry_out(&self, me: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        self.perform(me, state, effects);
        while state.tasks.try_join_next().is_some() {}
    }

    /// Once per message, only what changed. A reborn actor says nothing before it knows.
    fn publish(&self, state: &mut State) {
        if !state.machine.is_awake() {
            return;
        }
        let now = (state.machine.part(), state.machine.present().clone());
        if state.shown.as_ref() == Some(&now) {
            return;
        }
        let (part, present) = now.clone();
        self.seen.send_replace(Arc::new(Seen { awake: true, present, operations: part.operations.clone() }));
        self.status.publish_install(part);
        state.shown = Some(now);
    }
}

/// The caller may have given up waiting; then nobody needs the answer.
fn answer<T: Send + 'static>(reply: RpcReplyPort<T>, value: T) {
    _ = reply.send(value);
}
