//! Errands of an actor: whatever takes time runs in a task that sends exactly one message back, also if it panics, is
//! cut off or is cancelled. A handler then never waits, and a state machine never waits in vain.
use ractor::{ActorRef, Message};
use std::{future::Future, time::Duration};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::timeout,
};

/// Runs `errand` among `tasks`; `lost` is sent instead of its message if it does not come to an end by itself, within
/// `limit` if there is one.
pub fn send<M: Message>(
    tasks: &mut JoinSet<()>,
    to: &ActorRef<M>,
    limit: impl Into<Option<Duration>>,
    lost: M,
    errand: impl Future<Output = M> + Send + 'static,
) -> AbortHandle {
    let (report, limit) = (Report::new(to, lost), limit.into());
    tasks.spawn(async move {
        let message = match limit {
            Some(limit) => timeout(limit, errand).await.ok(),
            None => Some(errand.await),
        };
        if let Some(message) = message {
            report.tell(message);
        }
    })
}

/// Exactly one message: the true one, or on drop the one for a lost task. An actor that is gone needs none: its
/// successor finds out by itself.
pub struct Report<M: Message> {
    to: ActorRef<M>,
    lost: Option<M>,
}

impl<M: Message> Report<M> {
    pub fn new(to: &ActorRef<M>, lost: M) -> Report<M> {
        Report { to: to.clone(), lost: Some(lost) }
    }

    pub fn tell(mut self, message: M) {
        self.lost = None;
        _ = self.to.cast(message);
    }
}

impl<M: Message> Drop for Report<M> {
    fn drop(&mut self) {
        if let Some(message) = self.lost.take() {
            _ = self.to.cast(message);
        }
    }
}

/// Why an errand with this limit sent no answer of its own.
pub fn lost(limit: Duration) -> String {
    format!("no answer within {} s, or its task broke", limit.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ractor::{Actor, ActorProcessingErr};
    use std::future::pending;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    const LIMIT: Duration = Duration::from_secs(5);

    struct Listener(UnboundedSender<&'static str>);

    impl Actor for Listener {
        type Msg = &'static str;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<&'static str>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            _: ActorRef<&'static str>,
            heard: &'static str,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            Ok(self.0.send(heard)?)
        }
    }

    async fn listener() -> (ActorRef<&'static str>, UnboundedReceiver<&'static str>) {
        let (heard, hears) = unbounded_channel();
        let (actor, _) = Actor::spawn(None, Listener(heard), ()).await.unwrap();
        (actor, hears)
    }

    /// What arrives when the errand is run and whatever is left of it dropped.
    async fn told(begin: impl FnOnce(&mut JoinSet<()>, &ActorRef<&'static str>)) -> Vec<&'static str> {
        let (actor, mut hears) = listener().await;
        let mut tasks = JoinSet::new();
        begin(&mut tasks, &actor);
        while tasks.join_next().await.is_some() {}
        actor.drain_and_wait(None).await.unwrap();
        drop(actor);
        let mut all = Vec::new();
        while let Ok(heard) = hears.try_recv() {
            all.push(heard);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn an_errand_sends_exactly_one_message_however_it_ends() {
        let done = told(|tasks, to| _ = send(tasks, to, LIMIT, "lost", async { "done" })).await;
        assert_eq!(done, ["done"]);
        let late = told(|tasks, to| _ = send(tasks, to, LIMIT, "lost", pending())).await;
        assert_eq!(late, ["lost"]);
        let broken = told(|tasks, to| _ = send(tasks, to, None, "lost", async { panic!("injected") })).await;
        assert_eq!(broken, ["lost"]);
        let cancelled = told(|tasks, to| send(tasks, to, None, "lost", pending()).abort()).await;
        assert_eq!(cancelled, ["lost"]);
    }
}
