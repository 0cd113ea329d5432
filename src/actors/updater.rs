//! UpdaterActor: the agent's own updates. It waits and acts; `policy::updater` decides.
//!
//! ```text
//!  HTTP ── Updater (handle) ──Ask──►┌──────────────┐──effects──► Depot: manifest, releases, canary, hand-over
//!  timer, tasks ─────────────Fact──►│ UpdaterActor │──standing─► watch: /agent/update/status
//!  root ─────────────────────Ping──►└──────────────┘──warning──► StatusAggregator
//! ```
//! I promise: a command is answered at once, an order once it is stored; what was ordered has one outcome, whichever
//! program runs then; one thing is under way at a time; the program that runs is only left when
//! the new one is verified, has run by itself, is recorded as on trial, and no operation is going on.
//!
//! I do not: judge a program on trial (the composition root does, before and beside all actors).
use crate::{
    actors::{
        game_server::Denied,
        root::Child,
        slot::{Slot, Unanswered},
        status::{Status, StatusReader},
    },
    model::{
        catalog::AgentManifest,
        ids::OperationId,
        operation::{Operation, OperationKind},
        refusal::Refusal,
        settings::{Settings, UpdateMode},
        snapshot::Warning,
        time::WallTime,
        update::{Standing, UpdateRecord},
    },
    policy::{
        operations::{By, Outcome},
        status::UpdatePart,
        updater::{Answer, Candidate, Command, Desk, Effect, Fact, Way},
    },
};
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

/// The first look after a start; thousands of containers of one host do not all start in the same second.
const FIRST_LOOK: Duration = Duration::from_secs(20);

/// Why a program was not made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub why: String,
    /// It will be so the next time too.
    pub programs_fault: bool,
}

/// What the actor asks of others.
pub trait Depot: Send + Sync + 'static {
    fn now(&self) -> WallTime;
    fn recall(&self) -> BoxFuture<'static, Result<UpdateRecord, String>>;
    fn manifest(&self) -> BoxFuture<'static, Result<AgentManifest, String>>;
    /// Fetches it, compares its hash, keeps it among the releases, and lets it run by itself for a moment.
    fn prepare(&self, candidate: Candidate) -> BoxFuture<'static, Result<(), Unfit>>;
    fn operation_id(&self) -> OperationId;
    /// Stores that an update was ordered; the new record.
    fn store(&self, by: By, subject: String) -> BoxFuture<'static, Result<UpdateRecord, String>>;
    /// Stores how it ended; the new record.
    fn conclude(&self, outcome: Outcome) -> BoxFuture<'static, Result<UpdateRecord, String>>;
    /// Records that this version failed, and with it what was ordered; the new record.
    fn reject(&self, version: String, why: String) -> BoxFuture<'static, Result<UpdateRecord, String>>;
    /// Stores the trial and points `current` at this version; the caller of it all is told to execute it.
    fn switch(&self, version: String) -> BoxFuture<'static, Result<(), String>>;
}

/// Handle; survives the actor's own restarts.
#[derive(Clone)]
pub struct Updater {
    slot: Slot<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    depot: Arc<dyn Depot>,
    settings: Arc<Settings>,
    status: Status,
    way: Way,
    standing: watch::Sender<Standing>,
}

impl Updater {
    /// `running`: the version of this program, without `v`.
    pub fn new(depot: Arc<dyn Depot>, settings: Arc<Settings>, status: Status, running: &str) -> Updater {
        let way = Way {
            running: running.to_owned(),
            mode: settings.agent.update_mode,
            channel: settings.agent.update_channel.clone(),
        };
        let standing = watch::Sender::new(Desk::new(way.clone()).standing());
        Updater { slot: Slot::default(), shared: Arc::new(Shared { depot, settings, status, way, standing }) }
    }

    pub fn standing(&self) -> Standing {
        self.shared.standing.borrow().clone()
    }

    /// Looks whether there is something newer, and takes nothing.
    pub async fn check(&self) -> Result<Standing, Denied> {
        self.order(Command::Check).await
    }

    /// Takes what the channel promotes, or this version, also an older one.
    pub async fn update(&self, version: Option<String>) -> Result<Standing, Denied> {
        self.order(Command::Take(version)).await
    }

    async fn order(&self, command: Command) -> Result<Standing, Denied> {
        let within = self.shared.settings.limits.command_timeout;
        match self.slot.call(within, |reply| Message::Ask(command, reply)).await {
            Ok(Answer::Accepted) => Ok(self.standing()),
            Ok(Answer::Busy) => Err(Denied::Refused(Refusal::UpdateInProgress)),
            // Why is in the standing and in a warning.
            Ok(Answer::Unsaved | Answer::Later) | Err(Unanswered::Late) => Err(Denied::Busy),
            Err(Unanswered::Gone) => Err(Denied::Gone),
        }
    }

    /// The record has changed: a trial has ended well.
    pub fn record_changed(&self) {
        self.slot.cast(Message::Recall);
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let shared = self.shared.clone();
        self.slot.child("updater", Message::Ping, move || UpdaterActor { shared: shared.clone() })
    }
}

pub(crate) enum Message {
    Ask(Command, RpcReplyPort<Answer>),
    Fact(Box<Fact>),
    Stored(Result<UpdateRecord, String>),
    Recall,
    Tick,
    Ping(RpcReplyPort<()>),
}

struct UpdaterActor {
    shared: Arc<Shared>,
}

struct State {
    desk: Desk,
    tasks: JoinSet<()>,
    /// Who gave the order that is being stored.
    waiting: Option<RpcReplyPort<Answer>>,
}

impl Actor for UpdaterActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        Ok(State { desk: Desk::new(self.shared.way.clone()), tasks: JoinSet::new(), waiting: None })
    }

    async fn post_start(&self, me: ActorRef<Message>, _: &mut State) -> Result<(), ActorProcessingErr> {
        me.cast(Message::Recall)?;
        if self.shared.settings.agent.update_mode != UpdateMode::Off {
            me.send_after(FIRST_LOOK.min(self.shared.settings.agent.update_interval), || Message::Tick);
        }
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // A task that panicked owes an answer: I begin anew.
        while let Some(done) = state.tasks.try_join_next() {
            done?;
        }
        match message {
            Message::Ping(reply) => {
                _ = reply.send(()); // who asked may have given up
                return Ok(());
            }
            Message::Ask(command, reply) => {
                let (answer, effects) = state.desk.on_command(command);
                self.perform(&me, state, effects);
                self.publish(state);
                match answer {
                    Answer::Later => state.waiting = Some(reply),
                    answer => _ = reply.send(answer), // who asked may have gone
                }
                return Ok(());
            }
            Message::Stored(stored) => {
                let (answer, effects) = state.desk.on_stored(stored);
                self.perform(&me, state, effects);
                self.publish(state);
                state.waiting.take().into_iter().for_each(|reply| _ = reply.send(answer));
                return Ok(());
            }
            Message::Tick => {
                let (_, effects) = state.desk.on_command(Command::Tick);
                self.perform(&me, state, effects);
                me.send_after(self.shared.settings.agent.update_interval, || Message::Tick);
            }
            Message::Recall => self.recall(&me, state),
            Message::Fact(fact) => {
                let effects = state.desk.on_fact(*fact);
                self.perform(&me, state, effects);
            }
        }
        self.publish(state);
        Ok(())
    }
}

impl UpdaterActor {
    fn perform(&self, me: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.act(me, state, effect));
    }

    fn act(&self, me: &ActorRef<Message>, state: &mut State, effect: Effect) {
        let depot = self.shared.depot.clone();
        match effect {
            Effect::Store { subject, holder } => {
                let by = By { id: depot.operation_id(), holder: holder.into() };
                let me = me.clone();
                state.tasks.spawn(async move {
                    let stored = depot.store(by, subject).await;
                    _ = me.cast(Message::Stored(stored)); // an actor that is gone has no use for it
                });
            }
            Effect::Conclude(outcome) => {
                tell(me, state, async move { Fact::Recalled(depot.conclude(outcome).await) });
            }
            Effect::Look => tell(me, state, async move {
                let found = depot.manifest().await;
                Fact::Looked(found, depot.now())
            }),
            Effect::Prepare(candidate) => tell(me, state, async move {
                let prepared = depot.prepare(candidate).await;
                Fact::Prepared(prepared.map_err(|unfit| (unfit.why, unfit.programs_fault)))
            }),
            Effect::Reject { version, why } => {
                tell(me, state, async move { Fact::Recalled(depot.reject(version, why).await) });
            }
            Effect::AwaitQuiet => {
                let (reader, patience) = (self.shared.status.reader(), self.shared.settings.agent.update_patience);
                tell(me, state, async move { Fact::Quiet(quiet(reader, patience).await) });
            }
            Effect::Switch(version) => {
                tell(me, state, async move { Fact::Switched(depot.switch(version).await) });
            }
        }
    }

    fn recall(&self, me: &ActorRef<Message>, state: &mut State) {
        let depot = self.shared.depot.clone();
        tell(me, state, async move { Fact::Recalled(depot.recall().await) });
    }

    fn publish(&self, state: &State) {
        let standing = state.desk.standing();
        self.shared.status.publish_update(UpdatePart {
            recovering: !state.desk.remembers(),
            warnings: warnings(&standing),
            operations: Arc::new(state.desk.operations()),
        });
        self.shared.standing.send_replace(standing);
    }
}

/// The task's answer comes back as a message.
fn tell(me: &ActorRef<Message>, state: &mut State, work: impl Future<Output = Fact> + Send + 'static) {
    let me = me.clone();
    state.tasks.spawn(async move {
        let fact = Box::new(work.await);
        _ = me.cast(Message::Fact(fact)); // an actor that is gone has no use for it
    });
}

/// Resolves when no operation is going on.
async fn quiet(mut reader: StatusReader, patience: Duration) -> Result<(), String> {
    let until = Instant::now() + patience;
    loop {
        let now = reader.current();
        let others = |operation: &&Operation| operation.kind != OperationKind::Update && !operation.state.is_final();
        let Some(busy) = now.operations.iter().find(others) else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if timeout(left, reader.past(now.snapshot.revision.0)).await.is_err() {
            let (id, patience) = (&busy.id.0, patience.as_secs());
            return Err(format!(
                "operation {id} was still going on after {patience} s; update again when it has ended"
            ));
        }
    }
}

fn warnings(standing: &Standing) -> Vec<Warning> {
    let mut said = Vec::new();
    if let Some(latest) = standing.latest.as_ref().filter(|_| standing.update_available) {
        let message = format!("agent {latest} is available, {} is running; zlh update takes it", standing.current);
        said.push(Warning { code: "update_available".into(), message });
    }
    if let Some(why) = &standing.last_error {
        said.push(Warning { code: "update_failed".into(), message: format!("updating the agent: {why}") });
    }
    said
}

#[cfg(test)]
mod tests;
