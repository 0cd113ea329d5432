//! DevProvisionActor: sets up a dev container and knows how far that is. `policy::dev_provision` decides.
//!
//! ```text
//!  HTTP ── DevProvision (handle) ──Configure──►┌───────────────────┐──perform──► World: account, workspace, installs,
//!                                              │ DevProvisionActor │             shells' files, services
//!  tasks ──Fact (each with its ticket)────────►│     (Machine)     │◄──progress, done──┘
//!  root ──Ping────────────────────────────────►└───────────────────┘──part──► StatusAggregator
//! ```
//! I promise (each tested in `dev_provision/tests.rs`): an unusable configuration changes nothing; what I acknowledged is
//! on disk; whatever kills me, my successor or the next agent goes on where it was; each operation ends with one outcome,
//! in time; I never wait inside a handler.
//!
//! I do not: hold shells or the editor (their actors do), or start and stop anything: a dev container has no such verbs.
#[cfg(test)]
mod tests;
pub mod world;

use crate::{
    actors::{
        game_server::{Accepted, Denied},
        report::{self, lost},
        root::Child,
        slot::Slot,
        status::Status,
    },
    model::{phase::State as Shown, refusal::Refusal, settings::Settings},
    policy::{
        dev_provision::{Effect, Fact, Machine, Memory, Resolved, Step, Ticket},
        operations::By,
        status::DevPart,
    },
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::task::{AbortHandle, JoinSet};
use world::World;

const RECALL_WITHIN: Duration = Duration::from_secs(30);
const SAVE_WITHIN: Duration = Duration::from_secs(30);

/// Handle to the DevProvisionActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct DevProvision {
    slot: Slot<Message>,
    world: Arc<dyn World>,
    settings: Arc<Settings>,
    status: Status,
    /// Where the workspace is on this machine, for the status.
    workspace: String,
}

impl DevProvision {
    pub fn new(world: Arc<dyn World>, settings: Arc<Settings>, status: Status, workspace: String) -> DevProvision {
        DevProvision { slot: Slot::default(), world, settings, status, workspace }
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let mold = self.clone();
        self.slot.child("dev_provision", Message::Ping, move || DevProvisionActor { handle: mold.clone() })
    }

    /// `body`: the whole `/config` request as JSON. Validated here; a refusal names the field and nothing was changed.
    pub async fn configure(&self, body: serde_json::Value, holder: &str) -> Result<Accepted, Denied> {
        let within = self.settings.limits.command_timeout;
        let judged = tokio::time::timeout(within, self.world.resolve(body)).await;
        let resolved = Arc::new(judged.map_err(|_| Denied::Busy)?.map_err(Denied::Refused)?);
        let by = By { id: self.world.operation_id(), holder: holder.to_owned() };
        self.slot.command(within, |reply| Message::Configure(resolved.clone(), by.clone(), reply)).await
    }

    /// A runtime was installed, switched or removed: what shells find is brought up to date.
    pub fn runtimes_changed(&self) {
        self.slot.cast(Message::RuntimesChanged);
    }
}

type Answer = RpcReplyPort<Result<Accepted, Refusal>>;

pub(crate) enum Message {
    Awaken,
    Configure(Arc<Resolved>, By, Answer),
    Fact(Fact),
    RuntimesChanged,
    Ping(RpcReplyPort<()>),
    #[cfg(test)]
    Panic,
}

struct DevProvisionActor {
    handle: DevProvision,
}

struct State {
    machine: Machine,
    /// The answer that waits for the disk.
    promised: Option<(Ticket, Answer, Accepted)>,
    timer: Option<(Ticket, AbortHandle)>,
    step: Option<AbortHandle>,
    /// Dropped with the actor, and every task with it.
    tasks: JoinSet<()>,
    shown: Option<DevPart>,
}

impl Actor for DevProvisionActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        let machine = Machine::new(self.handle.settings.clone());
        Ok(State { machine, promised: None, timer: None, step: None, tasks: JoinSet::new(), shown: None })
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
            Message::Configure(resolved, by, reply) => self.on_configure(&me, state, resolved, by, reply),
            Message::Fact(fact) => self.on_fact(&me, state, fact),
            Message::RuntimesChanged => {
                let effects = state.machine.on_runtimes_changed();
                self.perform(&me, state, effects);
            }
            Message::Ping(reply) => return Ok(reply.send(())?),
            #[cfg(test)]
            Message::Panic => panic!("injected"),
        }
        self.settle(state);
        Ok(())
    }
}

impl DevProvisionActor {
    fn on_configure(&self, me: &ActorRef<Message>, state: &mut State, resolved: Arc<Resolved>, by: By, reply: Answer) {
        match state.machine.configure(self.handle.world.now(), resolved, by) {
            Err(refusal) => answer(reply, Err(refusal)),
            Ok(decision) => {
                let accepted = Accepted { operation: Some(decision.operation), state: Shown::Installing };
                state.promised = Some((decision.durable, reply, accepted));
                self.perform(me, state, decision.effects);
            }
        }
    }

    fn on_fact(&self, me: &ActorRef<Message>, state: &mut State, fact: Fact) {
        if let Fact::Stored(ticket, _) = &fact
            && let Some((_, reply, accepted)) = state.promised.take_if(|(waits_for, ..)| waits_for == ticket)
        {
            answer(reply, Ok(accepted));
        }
        let effects = state.machine.on_fact(self.handle.world.now(), fact);
        self.perform(me, state, effects);
    }

    /// Lets go of what no longer matters, and publishes what changed.
    fn settle(&self, state: &mut State) {
        if let Some((_, timer)) = state.timer.take_if(|(ticket, _)| !state.machine.awaits(*ticket)) {
            timer.abort();
        }
        while state.tasks.try_join_next().is_some() {}
        let part = state.machine.part(&self.handle.workspace);
        if state.shown.as_ref() != Some(&part) {
            self.handle.status.publish_dev(part.clone());
            state.shown = Some(part);
        }
    }

    fn perform(&self, me: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Recall => self.recall(me, state),
                Effect::Save(ticket, memory) => self.save(me, state, ticket, *memory),
                Effect::Perform(ticket, step, config) => self.step(me, state, ticket, step, config),
                Effect::Arm(ticket, after) => self.arm(me, state, ticket, after),
                Effect::Abandon => _ = state.step.take().inspect(AbortHandle::abort),
                Effect::Refresh => self.refresh(state),
            }
        }
    }

    fn recall(&self, me: &ActorRef<Message>, state: &mut State) {
        let recalled = self.handle.world.recall();
        let lost = Fact::Recalled(Err(lost(RECALL_WITHIN)));
        let fact = async move { Fact::Recalled(recalled.await.map(Box::new)) };
        state.report(me, Some(RECALL_WITHIN), lost, fact);
    }

    fn save(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, memory: Memory) {
        let saved = self.handle.world.save(memory);
        let lost = Fact::Stored(ticket, Err(lost(SAVE_WITHIN)));
        state.report(me, Some(SAVE_WITHIN), lost, async move { Fact::Stored(ticket, saved.await) });
    }

    /// The operation's own deadline ends it.
    fn step(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, step: Step, config: Arc<Resolved>) {
        let to = me.clone();
        let progress = Arc::new(move |text: &str, progress: Option<f64>| {
            tell(&to, Fact::Progressed { ticket, text: text.to_owned(), progress });
        });
        let done = self.handle.world.perform(step, config, progress);
        let lost = Fact::Done(ticket, Err("its task broke; the agent's log has more".into()));
        state.step = Some(state.report(me, None, lost, async move { Fact::Done(ticket, done.await) }));
    }

    fn arm(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, after: Duration) {
        let me = me.clone();
        let timer = state.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            tell(&me, Fact::Overdue(ticket));
        });
        state.timer = Some((ticket, timer));
    }

    fn refresh(&self, state: &mut State) {
        let refreshed = self.handle.world.refresh();
        state.tasks.spawn(async move {
            if let Err(why) = refreshed.await {
                tracing::warn!(why, "what shells find could not be brought up to date");
            }
        });
    }
}

impl State {
    /// Runs `fact` in a task; `lost` is reported instead if it does not come to an end by itself, within `limit` if any.
    fn report(
        &mut self,
        me: &ActorRef<Message>,
        limit: Option<Duration>,
        lost: Fact,
        fact: impl Future<Output = Fact> + Send + 'static,
    ) -> AbortHandle {
        report::send(&mut self.tasks, me, limit, Message::Fact(lost), async { Message::Fact(fact.await) })
    }
}

/// An actor that is gone needs no facts: its successor finds out by itself.
fn tell(me: &ActorRef<Message>, fact: Fact) {
    _ = me.cast(Message::Fact(fact));
}

/// The caller may have given up waiting; then nobody needs the answer.
fn answer<T: Send + 'static>(reply: RpcReplyPort<T>, value: T) {
    _ = reply.send(value);
}
