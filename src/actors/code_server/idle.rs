//! IdleActor: stops an editor that nobody uses. It looks and acts; `policy::code_server::idle` decides.
//!
//! ```text
//!  timer ──Tick──► ┌───────────┐──sample──► Counters: connections, terminals, CPU
//!  task ──Counted─►│ IdleActor │──stop────► CodeServer, as `idle_stop`
//!  root ──Ping────►└───────────┘──activity► StatusAggregator
//! ```
//! I promise (each tested in `idle/tests.rs`): an editor is stopped once it was not used for `codeserver.idle_stop`, and
//! not before; it stays down until somebody starts it; a stop that was refused is asked for again; what cannot be
//! counted stops nothing.
//!
//! I do not live at all while `codeserver.idle_stop` is 0. I wake up once every `codeserver.idle_sample`.
#[cfg(test)]
mod tests;

use super::CodeServer;
use crate::{
    actors::{root::Child, slot::Slot, status::Status},
    model::{
        activity::Sample,
        settings::Codeserver,
        time::{BootTime, WallTime},
    },
    policy::code_server::idle::{HOLDER, Watch},
};
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use tokio::{task::JoinSet, time::timeout};

/// What the actor asks of the machine.
pub trait Counters: Send + Sync + 'static {
    fn now(&self) -> (BootTime, WallTime);
    /// `pid`: the editor's main process. Cheap: a few system calls.
    fn sample(&self, pid: i32) -> BoxFuture<'static, Result<Sample, String>>;
}

/// Handle to the IdleActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct IdleStop {
    slot: Slot<Message>,
    counters: Arc<dyn Counters>,
    editor: CodeServer,
    status: Status,
    rules: Codeserver,
}

impl IdleStop {
    pub fn new(counters: Arc<dyn Counters>, editor: CodeServer) -> IdleStop {
        let (status, rules) = (editor.status.clone(), editor.settings.codeserver.clone());
        IdleStop { slot: Slot::default(), counters, editor, status, rules }
    }

    /// How the root brings the actor to life, again and again; `None` where nothing is ever to be stopped.
    pub fn child(&self) -> Option<Child> {
        let mold = self.clone();
        let child = self.slot.child("code_server_idle", Message::Ping, move || IdleActor { handle: mold.clone() });
        (!self.rules.idle_stop.is_zero()).then_some(child)
    }
}

pub(crate) enum Message {
    /// Time to look.
    Tick,
    /// What was counted of the editor with this main process.
    Counted(i32, Result<Sample, String>),
    Ping(RpcReplyPort<()>),
}

struct IdleActor {
    handle: IdleStop,
}

#[derive(Default)]
struct State {
    /// While the editor is up.
    watch: Option<Watch>,
    /// A look, or a stop; dropped with the actor.
    tasks: JoinSet<()>,
}

impl Actor for IdleActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
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
        while state.tasks.try_join_next().is_some() {}
        match message {
            Message::Tick => {
                me.send_after(self.handle.rules.idle_sample, || Message::Tick);
                self.look(&me, state);
            }
            Message::Counted(pid, sample) => self.on_counted(state, pid, sample),
            Message::Ping(reply) => _ = reply.send(()), // who asked may have given up
        }
        self.handle.status.publish_activity(state.watch.as_ref().map(Watch::activity));
        Ok(())
    }
}

impl IdleActor {
    /// The editor's main process, once it answers.
    fn up(&self) -> Option<i32> {
        let part = self.handle.status.code_server();
        let part = part.borrow();
        part.process.filter(|_| part.ready).map(|process| process.pid)
    }

    fn look(&self, me: &ActorRef<Message>, state: &mut State) {
        let Some(pid) = self.up() else {
            state.watch = None;
            return;
        };
        let (me, counted, within) = (me.clone(), self.handle.counters.sample(pid), self.handle.rules.idle_sample);
        state.tasks.spawn(async move {
            let late = || Err(format!("no answer within {} s", within.as_secs()));
            let sample = timeout(within, counted).await.unwrap_or_else(|_| late());
            _ = me.cast(Message::Counted(pid, sample)); // an actor that is gone has no use for it
        });
    }

    fn on_counted(&self, state: &mut State, pid: i32, sample: Result<Sample, String>) {
        let sample = match sample {
            Ok(sample) if self.up() == Some(pid) => sample,
            Ok(_) => return,
            Err(why) => {
                tracing::warn!(why, "whether the editor is used cannot be seen: it is left running");
                state.watch = None;
                return;
            }
        };
        let now = self.handle.counters.now();
        let Some(watch) = state.watch.as_mut().filter(|watch| watch.is_of(pid)) else {
            state.watch = Some(Watch::begin(&self.handle.rules, pid, now, &sample));
            return;
        };
        if watch.on_sample(now, &sample) {
            self.stop(state);
        }
    }

    /// Refused while another operation is going on: the next look asks again.
    fn stop(&self, state: &mut State) {
        let editor = self.handle.editor.clone();
        state.tasks.spawn(async move {
            match editor.stop(HOLDER).await {
                Ok(_) => tracing::info!("the editor is stopped: nobody uses it"),
                Err(denied) => tracing::info!(?denied, "an idle editor could not be stopped yet"),
            }
        });
    }
}
