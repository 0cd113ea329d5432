//! TerminalActor: the named shells of a dev container. Keepers hold them; `policy::terminal` decides about each.
//!
//! ```text
//!  console viewers ──Attach──►┌───────────────┐──launch, resize, hang up──► keeper of each session
//!    Seat: read, write  Left  │ TerminalActor │◄──exited─────────────────── (facts carry session and run)
//!    (no byte passes here)    └───────────────┘──World: what a shell is, what earlier agents left
//! ```
//! I promise (each tested in `terminal/tests.rs`): who attaches gets a living shell or the reason why there is none;
//! a shell lives on for `terminal.linger` after its last viewer, also across an agent restart and my own; one that ended
//! is told to whoever looks, and the next viewer gets a fresh one; the terminal is as large as its smallest viewer's
//! window; there are at most `terminal.max_sessions` shells with `console.max_viewers` viewers each.
//!
//! I do not: move bytes (a [`Seat`] reads the log and writes to the keeper), or say in `/status` who works here.
mod desk;
mod perform;
#[cfg(test)]
mod tests;
pub mod world;

pub use desk::{Desk, Seat};

use crate::{
    actors::{
        game_server::{Denied, RunEnd},
        root::Child,
        slot::Slot,
    },
    model::{exit::Exit, ids::RunId, refusal::Refusal, settings::Settings},
    policy::terminal::{self, Effect, Found, Session, Size, Ticket, Viewer},
};
use desk::Desks;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinSet;
use world::World;

/// Handle to the TerminalActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct Terminal {
    slot: Slot<Message>,
    world: Arc<dyn World>,
    settings: Arc<Settings>,
    desks: Arc<Desks>,
}

impl Terminal {
    pub fn new(world: Arc<dyn World>, settings: Arc<Settings>) -> Terminal {
        Terminal { slot: Slot::default(), world, settings, desks: Arc::default() }
    }

    /// How the root brings the actor to life, again and again.
    pub fn child(&self) -> Child {
        let mold = self.clone();
        self.slot.child("terminal", Message::Ping, move || TerminalActor { handle: mold.clone() })
    }

    /// A place at the session's shell, which is started if none lives. Answers within `limits.command_timeout`.
    pub async fn attach(&self, session: &str) -> Result<Seat, Denied> {
        terminal::check_name(session).map_err(Denied::Refused)?;
        let within = self.settings.limits.command_timeout;
        self.slot.command(within, |reply| Message::Attach(session.to_owned(), reply)).await
    }

    /// A session's output; nothing is started for it.
    pub fn kept(&self, session: &str) -> Result<Arc<Desk>, Denied> {
        terminal::check_name(session).map_err(Denied::Refused)?;
        self.desks.find(session).ok_or(Denied::Refused(Refusal::NoSuchSession))
    }
}

type Answer = RpcReplyPort<Result<Seat, Refusal>>;

pub(crate) enum Message {
    Awaken,
    /// What earlier agents left; then everybody may come.
    Recovered(Result<Vec<(String, Found)>, String>),
    Attach(String, Answer),
    Left(String, Viewer),
    Resized(String, Viewer, Size),
    Fact(String, Fact),
    Ping(RpcReplyPort<()>),
    #[cfg(test)]
    Panic,
}

/// What something that was started for a session reports.
pub(crate) enum Fact {
    Launched(RunId, Result<(), Refusal>),
    Exited(Box<Exit>),
    TimerFired(Ticket),
    Forgotten(Result<(), String>),
}

struct TerminalActor {
    handle: Terminal,
}

struct State {
    sessions: BTreeMap<String, Open>,
    recovering: bool,
    /// Dropped with the actor, and every task with it.
    tasks: JoinSet<()>,
}

/// One session and those who wait to be let in.
struct Open {
    session: Session,
    desk: Arc<Desk>,
    answers: BTreeMap<Viewer, Answer>,
}

impl Actor for TerminalActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        Ok(State { sessions: BTreeMap::new(), recovering: true, tasks: JoinSet::new() })
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
            Message::Recovered(found) => self.on_recovered(&me, state, found),
            Message::Attach(name, reply) => self.on_attach(&me, state, &name, reply),
            Message::Left(name, viewer) => self.with(&me, state, &name, |open| open.session.detach(viewer)),
            Message::Resized(name, viewer, size) => {
                self.with(&me, state, &name, |open| open.session.resize(viewer, size));
            }
            Message::Fact(name, fact) => self.on_fact(&me, state, &name, fact),
            Message::Ping(reply) => {
                _ = reply.send(()); // who asked may have given up
                return Ok(());
            }
            #[cfg(test)]
            Message::Panic => panic!("injected"),
        }
        while state.tasks.try_join_next().is_some() {}
        Ok(())
    }
}

impl TerminalActor {
    fn world(&self) -> &dyn World {
        &*self.handle.world
    }

    fn on_recovered(&self, me: &ActorRef<Message>, state: &mut State, found: Result<Vec<(String, Found)>, String>) {
        state.recovering = false;
        let found = found.unwrap_or_else(|why| {
            tracing::error!(why, "shells of an earlier agent cannot be looked for");
            Vec::new()
        });
        for (name, found) in found {
            if self.open(state, &name).is_ok() {
                self.with(me, state, &name, |open| open.session.on_found(found));
            }
        }
    }

    fn on_attach(&self, me: &ActorRef<Message>, state: &mut State, name: &str, reply: Answer) {
        let viewer = match self.admit(state, name) {
            Ok(viewer) => viewer,
            Err(refusal) => return answer(reply, Err(refusal)),
        };
        let fresh = self.world().fresh_run();
        self.with(me, state, name, |open| {
            open.answers.insert(viewer, reply);
            open.session.attach(viewer, fresh)
        });
    }

    /// A number for one more viewer of an open session, if there is room.
    fn admit(&self, state: &mut State, name: &str) -> Result<Viewer, Refusal> {
        if state.recovering {
            return Err(Refusal::Recovering);
        }
        let settings = &self.handle.settings;
        let known = state.sessions.get(name);
        let others = state.sessions.len() - usize::from(known.is_some());
        let viewers = known.map_or(0, |open| open.session.viewers());
        terminal::room(others, viewers, (settings.terminal.max_sessions, settings.console.max_viewers))?;
        self.open(state, name).map_err(|detail| Refusal::NoShell { detail })?;
        Ok(self.handle.desks.next_viewer())
    }

    fn open(&self, state: &mut State, name: &str) -> Result<(), String> {
        if state.sessions.contains_key(name) {
            return Ok(());
        }
        let settings = &self.handle.settings.terminal;
        let desk = self.handle.desks.open(name, (settings.columns, settings.rows), self.world())?;
        let session = Session::new(settings.linger, desk.viewers().clone());
        state.sessions.insert(name.to_owned(), Open { session, desk, answers: BTreeMap::new() });
        Ok(())
    }

    fn on_fact(&self, me: &ActorRef<Message>, state: &mut State, name: &str, fact: Fact) {
        let fresh = self.world().fresh_run();
        self.with(me, state, name, |open| match fact {
            Fact::Launched(run, result) => open.session.on_launched(run, result),
            Fact::Exited(exit) => {
                let end = RunEnd { run: exit.run, status: exit.status };
                open.desk.live.send_if_modified(|live| live.take_if(|run| *run == end.run).is_some());
                open.desk.ends.send_replace(Some(end));
                open.session.on_exited(exit.run, fresh)
            }
            Fact::TimerFired(ticket) => open.session.on_timer(ticket),
            Fact::Forgotten(result) => {
                if let Err(why) = result {
                    tracing::warn!(session = name, why, "what a shell left could not be removed");
                }
                open.session.on_forgotten(fresh)
            }
        });
    }

    /// Asks the session, does what it says, shows what it is, and lets go of it once nothing is left.
    fn with(&self, me: &ActorRef<Message>, state: &mut State, name: &str, ask: impl FnOnce(&mut Open) -> Vec<Effect>) {
        let Some(open) = state.sessions.get_mut(name) else { return };
        let effects = ask(open);
        // Before anybody is let in, who may type at once.
        let live = open.session.live();
        open.desk.live.send_if_modified(|was| std::mem::replace(was, live) != live);
        self.perform(me, &mut state.tasks, open, effects);
        if open.session.is_gone() {
            state.sessions.remove(name);
            self.handle.desks.close(name);
        }
    }
}

/// The viewer may have given up waiting; then nobody needs the answer.
fn answer<T: Send + 'static>(reply: RpcReplyPort<T>, value: T) {
    _ = reply.send(value);
}
