//! The address of an actor that may be reborn: handles hold the slot, the root's spawner puts the present actor in it.
use super::{
    game_server::Denied,
    root::{Child, Spawn},
};
use crate::model::refusal::Refusal;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorRef, Message, RpcReplyPort, rpc::CallResult};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// Between two tries of a command that came before the actor's first look around was over.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Not within its time; the message may still be acted on.
    Late,
    /// Nobody is there, or it died over the message.
    Gone,
}

/// Clones share one address.
pub struct Slot<M: Message> {
    current: Arc<watch::Sender<Option<ActorRef<M>>>>,
}

impl<M: Message> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Slot { current: self.current.clone() }
    }
}

impl<M: Message> Default for Slot<M> {
    fn default() -> Self {
        Slot { current: Arc::new(watch::Sender::new(None)) }
    }
}

impl<M: Message> Slot<M> {
    pub fn put(&self, actor: ActorRef<M>) {
        self.current.send_replace(Some(actor));
    }

    pub fn current(&self) -> Option<ActorRef<M>> {
        self.current.borrow().clone()
    }

    /// Resolves once somebody is there: an actor takes a moment to be born.
    pub async fn filled(&self) {
        // Cannot fail: the sender lives in `self`.
        _ = self.current.subscribe().wait_for(Option::is_some).await;
    }

    /// False if nobody is there to read it.
    pub fn cast(&self, message: M) -> bool {
        self.current().is_some_and(|actor| actor.cast(message).is_ok())
    }

    pub async fn call<T: Send + 'static>(
        &self,
        within: Duration,
        message: impl FnOnce(RpcReplyPort<T>) -> M,
    ) -> Result<T, Unanswered> {
        let actor = self.current().ok_or(Unanswered::Gone)?;
        match actor.call(message, Some(within)).await {
            Ok(CallResult::Success(answer)) => Ok(answer),
            Ok(CallResult::Timeout) => Err(Unanswered::Late),
            Ok(CallResult::SenderError) | Err(_) => Err(Unanswered::Gone),
        }
    }

    /// Waits for the answer for as long as it takes; `false` if nobody is there to give one.
    pub(super) async fn answers(&self, ping: impl FnOnce(RpcReplyPort<()>) -> M) -> bool {
        let Some(actor) = self.current() else { return false };
        matches!(actor.call(ping, None).await, Ok(CallResult::Success(())))
    }

    /// A command, answered within twice `within`. The first look around takes a moment: who asks right after the agent's start, or the
    /// actor's rebirth, need not ask again.
    pub async fn command<T: Send + 'static>(
        &self,
        within: Duration,
        message: impl Fn(RpcReplyPort<Result<T, Refusal>>) -> M,
    ) -> Result<T, Denied> {
        let (deadline, mut pace) = (Instant::now() + within, interval(LOOK_AGAIN));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timeout_at(deadline, self.filled()).await.map_err(|_| Denied::Gone)?;
        loop {
            pace.tick().await;
            match self.call(within, &message).await {
                Ok(Err(Refusal::Recovering)) if Instant::now() < deadline => {}
                Ok(answer) => return answer.map_err(Denied::Refused),
                Err(Unanswered::Late) => return Err(Denied::Busy),
                Err(Unanswered::Gone) => return Err(Denied::Gone),
            }
        }
    }

    /// How the root brings the actor of this address to life, again and again.
    pub fn child<A>(
        &self,
        name: &'static str,
        ping: fn(RpcReplyPort<()>) -> M,
        newborn: impl Fn() -> A + Send + Sync + 'static,
    ) -> Child
    where
        A: Actor<Msg = M, Arguments = ()>,
    {
        let (slot, pinged) = (self.clone(), self.clone());
        let spawn: Spawn = Arc::new(move |root| {
            let (slot, newborn) = (slot.clone(), newborn());
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(None, newborn, (), root).await?;
                slot.put(actor.clone());
                Ok(actor.get_cell())
            })
        });
        let answers = Arc::new(move || -> BoxFuture<'static, bool> {
            let slot = pinged.clone();
            Box::pin(async move { slot.answers(ping).await })
        });
        Child::new(name, spawn, answers)
    }
}
