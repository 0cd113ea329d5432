//! GameServerActor: one supervised game server. It remembers, waits and acts; `policy::game_server` decides.
//!
//! ```text
//!  HTTP ── GameServer (handle) ──Ask──►┌─────────────────┐──effects──► World: disk, server root, probes, crash engine
//!                                      │ GameServerActor │            Keeping: launch, signal, input
//!  tasks, timers, keeper ────Fact─────►│   (Machine)     │◄──facts─── both, each fact with its run or ticket
//!  root ───────────────────Ping───────►└─────────────────┘──part────► StatusAggregator, Console
//! ```
//! I promise (each tested in `game_server/tests.rs`):
//! - a command is answered within `limits.command_timeout`, and what I acknowledged is on disk and in the status;
//! - I never wait inside a handler: whatever takes time is a task that reports exactly one fact;
//! - if I panic, freeze or return an error the root replaces me; my successor takes the same path as a new agent, finds
//!   the run and goes on, and neither the game nor its console notices;
//! - what is published never shows a state that I do not know.
//!
//! I do not: fork or wait for processes (the keeper does), move console bytes (the [`Console`] does, without me),
//! decide anything by looking at a phase (the machine does), or say how an operation ended other than in the status.
mod console;
mod perform;
#[cfg(test)]
pub(super) mod tests;
pub mod world;

pub use console::{Chunk, Console, RunEnd};

use crate::{
    actors::{root::Child, slot::Slot, status::Status},
    model::{
        dev::Addon, ids::OperationId, phase::State as Shown, refusal::Refusal, settings::Settings, snapshot::Players,
    },
    policy::{
        game_server::{
            Machine,
            command::{Command, Leaving},
            effect::Effect,
            fact::{Fact, Reply, RunFact, Ticket},
        },
        operations::By,
        status::GamePart,
    },
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::{AbortHandle, JoinSet};
use world::World;

/// A command was taken; what becomes of it is seen in the operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// `None` when nothing had to be done (start while running, stop while stopped).
    pub operation: Option<OperationId>,
    pub state: Shown,
}

/// Why there is no [`Accepted`].
#[derive(Clone, Debug, PartialEq)]
pub enum Denied {
    Refused(Refusal),
    /// The actor did not answer within `limits.command_timeout`.
    Busy,
    /// The actor is not there (it is being restarted, or the agent is going down).
    Gone,
}

/// What of the container it supervises, and whose part of the status it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Game,
    /// The editor of a dev container.
    CodeServer,
    /// Another addon of a dev container.
    Addon(Addon),
}

impl Part {
    fn actor(self) -> &'static str {
        match self {
            Part::Game => "game_server",
            Part::CodeServer => "code_server",
            Part::Addon(addon) => addon.as_str(),
        }
    }
}

/// Handle to the GameServerActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct GameServer {
    part: Part,
    slot: Slot<Message>,
    world: Arc<dyn World>,
    settings: Arc<Settings>,
    status: Status,
    console: Console,
}

impl GameServer {
    /// The handle exists before the actor: give [`GameServer::child`] to the root.
    pub fn new(world: Arc<dyn World>, settings: Arc<Settings>, status: Status) -> GameServer {
        GameServer::part(Part::Game, world, settings, status)
    }

    /// The same supervision for another part of the container.
    pub fn part(part: Part, world: Arc<dyn World>, settings: Arc<Settings>, status: Status) -> GameServer {
        let slot = Slot::default();
        let size = (settings.console.columns, settings.console.rows);
        let console = Console::new(world.clone(), slot.clone(), size);
        GameServer { part, slot, world, settings, status, console }
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let mold = self.clone();
        self.slot.child(self.part.actor(), Message::Ping, move || {
            let GameServer { part, slot: _, world, settings, status, console } = mold.clone();
            GameServerActor { part, world, settings, status, console }
        })
    }

    /// `body`: the whole `/config` request as JSON. Validated here; a [`Refusal::Unusable`] names the field and nothing was changed.
    pub async fn configure(&self, body: serde_json::Value, holder: &str) -> Result<Accepted, Denied> {
        let judged = tokio::time::timeout(self.settings.limits.command_timeout, self.world.resolve(body)).await;
        let resolved = judged.map_err(|_| Denied::Busy)?.map_err(Denied::Refused)?;
        self.ask(Command::Configure(Arc::new(resolved), self.by(holder))).await
    }

    pub async fn start(&self, holder: &str) -> Result<Accepted, Denied> {
        self.ask(Command::Start(self.by(holder))).await
    }

    pub async fn stop(&self, holder: &str) -> Result<Accepted, Denied> {
        self.ask(Command::Stop(self.by(holder))).await
    }

    pub async fn restart(&self, holder: &str) -> Result<Accepted, Denied> {
        self.ask(Command::Restart(self.by(holder))).await
    }

    pub async fn kill(&self, holder: &str) -> Result<Accepted, Denied> {
        self.ask(Command::Kill(self.by(holder))).await
    }

    /// One console line without newline, already checked by the caller; goes to the game's console input (PTY, econ, fifo).
    pub async fn command(&self, line: String) -> Result<(), Denied> {
        let within = self.settings.limits.command_timeout;
        if self.console.listening().is_none() && tokio::time::timeout(within, self.status.recovered()).await.is_err() {
            return Err(Denied::Refused(Refusal::Recovering));
        }
        tokio::time::timeout(within, self.console.say(line)).await.unwrap_or(Err(Denied::Busy))
    }

    /// Players by a server-list ping made now; `None` where the game cannot tell.
    pub async fn players(&self) -> Result<Option<Players>, Denied> {
        let (_, spec) = self.console.listening().ok_or(Denied::Refused(Refusal::NotRunning))?;
        let asked = self.world.players(spec);
        tokio::time::timeout(self.settings.ready.timeout, asked).await.map_err(|_| Denied::Busy)
    }

    pub fn console(&self) -> Console {
        self.console.clone()
    }

    /// The agent goes down: resolves when the actor has ended in order, or `within` is over (`Busy`).
    pub async fn shut_down(&self, leaving: Leaving, within: Duration) -> Result<(), Denied> {
        let actor = self.slot.current().ok_or(Denied::Gone)?;
        self.ask(Command::Shutdown(leaving)).await?;
        actor.get_cell().wait(Some(within)).await.map_err(|_| Denied::Busy)
    }

    async fn ask(&self, command: Command) -> Result<Accepted, Denied> {
        let within = self.settings.limits.command_timeout;
        let accepted = self.slot.command(within, |reply| Message::Ask(command.clone(), reply)).await?;
        self.status.caught_up().await;
        Ok(accepted)
    }

    fn by(&self, holder: &str) -> By {
        By { id: self.world.operation_id(), holder: holder.to_owned() }
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
    /// A launch takes its time: what was put off for it is done now.
    Resume,
    Ping(RpcReplyPort<()>),
    #[cfg(test)]
    Panic,
    #[cfg(test)]
    Freeze,
}

struct GameServerActor {
    part: Part,
    world: Arc<dyn World>,
    settings: Arc<Settings>,
    status: Status,
    console: Console,
}

struct State {
    machine: Machine,
    /// A program is on its way: it gets the processors to itself, and what else is to be done waits here, in order.
    put_off: Option<Vec<Effect>>,
    /// Answers that wait for the disk.
    promised: BTreeMap<Ticket, (Answer, Accepted)>,
    timers: BTreeMap<Ticket, AbortHandle>,
    /// Dropped with the actor, and every task with it.
    tasks: JoinSet<()>,
    shown: Option<GamePart>,
}

impl Actor for GameServerActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        let machine = Machine::new(self.settings.clone());
        let (promised, timers, tasks) = (BTreeMap::new(), BTreeMap::new(), JoinSet::new());
        Ok(State { machine, put_off: None, promised, timers, tasks, shown: None })
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
        if matches!(&message, Message::Resume | Message::Fact(Fact::Run(_, RunFact::Launched(_)))) {
            self.resume(&me, state);
        }
        match message {
            Message::Awaken => self.awaken(&me, state),
            Message::Ask(command, reply) => self.on_ask(&me, state, command, reply),
            Message::Fact(fact) => self.on_fact(&me, state, fact),
            Message::Resume => {}
            Message::Ping(reply) => answer(reply, ()),
            #[cfg(test)]
            Message::Panic => panic!("injected"),
            #[cfg(test)]
            Message::Freeze => std::future::pending::<()>().await,
        }
        if state.put_off.is_none() {
            self.publish(state);
        }
        Ok(())
    }
}

impl GameServerActor {
    fn awaken(&self, me: &ActorRef<Message>, state: &mut State) {
        let effects = state.machine.awaken();
        self.carry_out(me, state, effects);
    }

    fn on_ask(&self, me: &ActorRef<Message>, state: &mut State, command: Command, reply: Answer) {
        let decision = match state.machine.on_command(self.world.now(), command) {
            Ok(decision) => decision,
            Err(refusal) => return answer(reply, Err(refusal)),
        };
        let accepted = Accepted { operation: decision.operation, state: decision.state };
        match decision.durable {
            Some(ticket) => _ = state.promised.insert(ticket, (reply, accepted)),
            None => self.acknowledge(state, reply, accepted),
        }
        self.carry_out(me, state, decision.effects);
    }

    fn on_fact(&self, me: &ActorRef<Message>, state: &mut State, fact: Fact) {
        let promised = match &fact {
            Fact::Reply(ticket, Reply::Stored(_)) => state.promised.remove(ticket),
            _ => None,
        };
        let effects = state.machine.on_fact(self.world.now(), fact);
        if let Some((reply, accepted)) = promised {
            self.acknowledge(state, reply, accepted);
        }
        self.carry_out(me, state, effects);
    }

    /// Who is told finds it in the status. What follows comes later: should it break, this much is still true.
    fn acknowledge(&self, state: &mut State, reply: Answer, accepted: Accepted) {
        self.publish(state);
        answer(reply, Ok(accepted));
    }

    /// Performs the effects, then lets go of timers and tasks that no longer matter.
    fn carry_out(&self, me: &ActorRef<Message>, state: &mut State, mut effects: Vec<Effect>) {
        if let Some(put_off) = &mut state.put_off {
            return put_off.append(&mut effects);
        }
        // First of all, before what this very turn stores: only a restart without delay is ordered so.
        if matches!(&effects[..], [Effect::Launch(..), _, ..]) {
            state.put_off = Some(effects.split_off(1));
        }
        self.perform(me, state, effects);
        let State { machine, timers, tasks, .. } = state;
        timers.retain(|ticket, timer| {
            let awaited = machine.awaits_timer(*ticket);
            if !awaited {
                timer.abort();
            }
            awaited
        });
        while tasks.try_join_next().is_some() {}
    }

    fn resume(&self, me: &ActorRef<Message>, state: &mut State) {
        if let Some(effects) = state.put_off.take() {
            self.carry_out(me, state, effects);
        }
    }

    /// Once per message, only what changed, and an outcome only once it is on disk.
    fn publish(&self, state: &mut State) {
        self.console.update(state.machine.listening(), state.machine.last_end());
        if state.machine.is_settling() {
            return;
        }
        let part = state.machine.part();
        if state.shown.as_ref() != Some(&part) {
            match self.part {
                Part::Game => self.status.publish_game(part.clone()),
                Part::CodeServer => self.status.publish_code_server(part.clone()),
                Part::Addon(addon) => self.status.publish_addon(addon, part.clone()),
            }
            state.shown = Some(part);
        }
    }
}

/// The caller may have given up waiting; then nobody needs the answer.
fn answer<T: Send + 'static>(reply: RpcReplyPort<T>, value: T) {
    _ = reply.send(value);
}
