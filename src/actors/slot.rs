//! The address of an actor that may be reborn: handles hold the slot, the root's spawner puts the present actor in it.
use ractor::{ActorRef, Message, RpcReplyPort, rpc::CallResult};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

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
}
