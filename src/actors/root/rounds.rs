//! Whether the children live: somebody asks them all, now and then, and tells the root what they said.
//!
//! A task of its own, for as long as the root lives, that asks one child after the other and sets one timer: an idle agent wakes
//! up for little else, and what is asked side by side, or spawned, wakes another thread, which finds nothing left to do. The
//! price: each frozen child costs its round [`PING_WITHIN`], and all others are told of that much later.
use super::{Message, Ping, Rest};
use ractor::{ActorId, ActorRef, rpc::CallResult};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep};

/// From the beginning of a round to the next one's, unless it takes longer.
pub const PING_EVERY: Duration = Duration::from_secs(15);
/// A child that takes longer has not answered.
pub const PING_WITHIN: Duration = Duration::from_secs(5);

/// A child to ask, and which life of it.
pub struct Asked {
    pub child: usize,
    pub who: ActorId,
    pub ping: Ping,
}

/// Did this life of the child answer?
pub struct Answer {
    pub child: usize,
    pub who: ActorId,
    pub answered: bool,
}

/// Returns when the root is gone.
pub async fn rounds(root: ActorRef<Message>, rest: Rest) {
    let mut began = Instant::now();
    loop {
        rest(PING_EVERY.saturating_sub(began.elapsed())).await;
        began = Instant::now();
        let Ok(CallResult::Success(children)) = root.call(Message::Round, None).await else { return };
        let answers = ask(children).await;
        if root.cast(Message::Answers(answers)).is_err() {
            return;
        }
    }
}

async fn ask(children: Vec<Asked>) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(children.len());
    let mut patience = pin!(sleep(PING_WITHIN));
    for Asked { child, who, ping } in children {
        patience.as_mut().reset(Instant::now() + PING_WITHIN);
        let answered = tokio::select! {
            biased;
            answered = ping() => answered,
            () = &mut patience => false,
        };
        answers.push(Answer { child, who, answered });
    }
    answers
}
