//! Root: the supervisor of all actors. One for one, by the same restart rule as game servers.
//!
//! ```text
//!  child ──panic, Err, end──► supervision event ─┐
//!  child ──no answer to 3 pings──► killed ───────┼──► policy::restart ──► born again after its delay
//!  spawner ──SpawnErr (no event comes)───────────┘         └─ gave up ──► root ends with an error: the agent exits
//! ```
//! I promise: a child that is gone or frozen is replaced; handles made before still work (they hold a
//! [`super::slot::Slot`]); more deaths than the rule allows end me, so that whoever supervises the agent takes over;
//! on the way down nothing is reborn and children end in order, the first-born last; asking all children whether they
//! live costs a wake-up or two every [`PING_EVERY`].
//!
//! ractor's defaults do not suffice: by default a supervisor ends when any child ends, children of an ending parent are
//! killed without their `post_stop`, and a failure in `pre_start` reaches the spawner only, as a value.
mod rounds;
#[cfg(test)]
mod tests;

use crate::{
    model::{settings::Restart, time::BootTime},
    policy::restart::{Death, History, Next, Proof},
};
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr, SupervisionEvent};
pub use rounds::PING_EVERY;
use rounds::{Answer, Asked, PING_WITHIN, rounds};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

/// Brings one child to life, linked to the given supervisor.
pub type Spawn = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;
/// Does the child answer? Waits for it as long as it takes; `false` if there is none.
pub type Ping = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;
/// Waits that long.
pub type Rest = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Unanswered pings in a row before a child is killed, and before it is admitted that this does not help.
const MISSES: u32 = 3;
const HOPELESS: u32 = 2 * MISSES;
/// How long a child may take to end in order.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How actors are restarted: at once, then slower; a minute of life is success.
pub fn actor_rule() -> Restart {
    let ms = Duration::from_millis;
    Restart {
        backoff: vec![ms(0), ms(100), ms(500), ms(2000), ms(5000)],
        reset_after: Duration::from_secs(60),
        max_crashes_before_ready: u32::MAX,
        max_crashes_per_hour: 30,
        jitter: 0.0,
        port_wait: Duration::ZERO,
    }
}

/// What the root must know of a child.
#[derive(Clone)]
pub struct Child {
    name: &'static str,
    spawn: Spawn,
    ping: Ping,
}

impl Child {
    pub fn new(name: &'static str, spawn: Spawn, ping: Ping) -> Child {
        Child { name, spawn, ping }
    }
}

/// Handle to the root.
pub struct Root {
    actor: ActorRef<Message>,
    life: JoinHandle<()>,
    failure: watch::Receiver<Option<String>>,
}

impl Root {
    /// Brings up the children in this order.
    pub async fn spawn(children: Vec<Child>, rule: Restart) -> Result<Root, SpawnErr> {
        Root::spawn_resting(children, rule, Arc::new(|time| Box::pin(tokio::time::sleep(time)))).await
    }

    /// As [`Root::spawn`]; between two rounds of questions it waits by `rest`.
    pub async fn spawn_resting(children: Vec<Child>, rule: Restart, rest: Rest) -> Result<Root, SpawnErr> {
        let failed = watch::Sender::new(None);
        let failure = failed.subscribe();
        let root = RootActor { rule, rest, failed, began: Instant::now() };
        let (actor, life) = Actor::spawn(None, root, children).await?;
        Ok(Root { actor, life, failure })
    }

    /// Resolves when the root gave up, with the reason: the agent should exit with an error (70, EX_SOFTWARE).
    pub async fn failed(&mut self) -> String {
        if (&mut self.life).await.is_err() {
            tracing::error!("the root actor's task broke");
        }
        self.failure.borrow().clone().unwrap_or_else(|| "the root actor ended".into())
    }

    /// Nothing is reborn from now on; `farewell` lets children end by themselves; the rest is stopped in order.
    pub async fn shut_down(self, farewell: impl Future<Output = ()>) {
        _ = self.actor.call(Message::Close, Some(PING_WITHIN)).await;
        farewell.await;
        _ = self.actor.cast(Message::Stop);
        if self.life.await.is_err() {
            tracing::error!("the root actor's task broke while it was stopped");
        }
    }
}

#[cfg(test)]
impl Root {
    /// As `kill -9` would: every actor is gone without a farewell.
    pub async fn kill(self) {
        for child in self.actor.get_cell().get_children() {
            child.unlink(self.actor.get_cell());
            _ = child.kill_and_wait(None).await;
        }
        self.actor.kill();
        _ = self.life.await;
    }
}

enum Message {
    /// A child's delay is over.
    Bear(usize),
    /// Whom to ask whether they live.
    Round(RpcReplyPort<Vec<Asked>>),
    Answers(Vec<Answer>),
    Close(RpcReplyPort<()>),
    Stop,
}

struct RootActor {
    rule: Restart,
    rest: Rest,
    failed: watch::Sender<Option<String>>,
    began: Instant,
}

struct State {
    wards: Vec<Ward>,
    closing: bool,
}

/// A child and its history.
struct Ward {
    child: Child,
    cell: Option<ActorCell>,
    born: BootTime,
    misses: u32,
    history: History,
}

impl Actor for RootActor {
    type Msg = Message;
    type State = State;
    type Arguments = Vec<Child>;

    async fn pre_start(&self, _: ActorRef<Message>, children: Vec<Child>) -> Result<State, ActorProcessingErr> {
        let born = BootTime::default();
        let ward = |child| Ward { child, cell: None, born, misses: 0, history: History::default() };
        Ok(State { wards: children.into_iter().map(ward).collect(), closing: false })
    }

    async fn post_start(&self, me: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        tokio::spawn(rounds(me.clone(), self.rest.clone()));
        for child in 0..state.wards.len() {
            self.bear(&me, state, child).await?;
        }
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Bear(child) => self.bear(&me, state, child).await,
            Message::Round(reply) => {
                _ = reply.send(self.round(state)); // who asked ends with me
                Ok(())
            }
            Message::Answers(answers) => answers.iter().try_for_each(|answer| self.on_answer(state, answer)),
            Message::Close(reply) => self.close(state, reply),
            Message::Stop => self.stop(&me, state).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, why) => self.on_gone(&me, state, &cell, &why.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => {
                self.on_gone(&me, state, &cell, why.as_deref().unwrap_or("ended"))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl RootActor {
    fn now(&self) -> BootTime {
        BootTime(self.began.elapsed())
    }

    /// Runs the child's `pre_start` inside this await: it must not do anything that can hang.
    async fn bear(&self, me: &ActorRef<Message>, state: &mut State, child: usize) -> Result<(), ActorProcessingErr> {
        let Some(ward) = state.wards.get_mut(child).filter(|w| w.cell.is_none() && !state.closing) else {
            return Ok(());
        };
        (ward.born, ward.misses) = (self.now(), 0);
        match (ward.child.spawn)(me.get_cell()).await {
            Ok(cell) => {
                ward.cell = Some(cell);
                Ok(())
            }
            Err(why) => self.on_death(me, state, child, &why.to_string()),
        }
    }

    fn on_gone(
        &self,
        me: &ActorRef<Message>,
        state: &mut State,
        cell: &ActorCell,
        why: &str,
    ) -> Result<(), ActorProcessingErr> {
        let is = |w: &Ward| w.cell.as_ref().is_some_and(|c| c.get_id() == cell.get_id());
        match state.wards.iter().position(is) {
            Some(child) => self.on_death(me, state, child, why),
            None => Ok(()),
        }
    }

    fn on_death(
        &self,
        me: &ActorRef<Message>,
        state: &mut State,
        child: usize,
        why: &str,
    ) -> Result<(), ActorProcessingErr> {
        let Some(ward) = state.wards.get_mut(child) else { return Ok(()) };
        ward.cell = None;
        if state.closing {
            return Ok(());
        }
        let (name, at) = (ward.child.name, self.now());
        let death = Death { at, uptime: at.since(ward.born), proof: Proof::Unprobed };
        match ward.history.on_death(&self.rule, death, 0.0) {
            Next::Again { delay, attempt, .. } => {
                tracing::error!(actor = name, why, attempt, ?delay, "an actor died and is restarted");
                me.send_after(delay, move || Message::Bear(child));
                Ok(())
            }
            Next::GiveUp(limit) => self.give_up(format!("actor {name} cannot be kept alive: {limit}; last: {why}")),
        }
    }

    fn give_up(&self, reason: String) -> Result<(), ActorProcessingErr> {
        self.failed.send_replace(Some(reason.clone()));
        Err(reason.into())
    }

    /// Whom to ask now.
    fn round(&self, state: &State) -> Vec<Asked> {
        let ask = |(child, ward): (usize, &Ward)| {
            Some(Asked { child, who: ward.cell.as_ref()?.get_id(), ping: ward.child.ping.clone() })
        };
        state.wards.iter().enumerate().filter_map(ask).collect()
    }

    fn on_answer(&self, state: &mut State, answer: &Answer) -> Result<(), ActorProcessingErr> {
        let Answer { child, who, answered } = *answer;
        let Some(ward) = state.wards.get_mut(child) else { return Ok(()) };
        let Some(cell) = ward.cell.as_ref().filter(|c| c.get_id() == who) else { return Ok(()) };
        ward.misses = if answered { 0 } else { ward.misses + 1 };
        if ward.misses >= HOPELESS {
            return self.give_up(format!("actor {} is stuck and cannot be killed", ward.child.name));
        }
        if ward.misses >= MISSES {
            tracing::error!(actor = ward.child.name, "an actor does not answer and is replaced");
            cell.kill();
        }
        Ok(())
    }

    fn close(&self, state: &mut State, reply: RpcReplyPort<()>) -> Result<(), ActorProcessingErr> {
        state.closing = true;
        _ = reply.send(()); // who asked may have given up
        Ok(())
    }

    /// Last-born first; the status is the first-born, so it tells everything to the end.
    async fn stop(&self, me: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.closing = true;
        for ward in state.wards.iter_mut().rev() {
            let Some(cell) = ward.cell.take() else { continue };
            if cell.stop_and_wait(None, Some(STOP_WITHIN)).await.is_err() {
                tracing::warn!(actor = ward.child.name, "an actor did not stop in time and is killed");
                cell.kill();
            }
        }
        me.stop(None);
        Ok(())
    }
}
