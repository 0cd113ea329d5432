//! Carries out what the machine decided. Whatever takes time runs in a task that reports exactly one fact, also if it
//! panics, is cut off or is cancelled.
use super::{BackupActor, Message, State, world::Line};
use crate::{
    actors::{
        pace::{self, Ended},
        report::{self, lost},
    },
    policy::backup::{Effect, Fact, Memory, Report, Step, Ticket},
};
use ractor::ActorRef;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sweeping away half an archive may take a while.
const RECALL_WITHIN: Duration = Duration::from_secs(120);
const SAVE_WITHIN: Duration = Duration::from_secs(30);

impl BackupActor {
    pub(super) fn perform(&self, me: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Recall => self.recall(me, state),
                Effect::Save(ticket, memory) => self.save(me, state, ticket, *memory),
                Effect::Do(ticket, step) => self.step(me, state, ticket, step),
                Effect::Stop(ticket) => {
                    if let Some((_, stop)) = state.stop.as_ref().filter(|(of, _)| *of == ticket) {
                        stop.cancel();
                    }
                }
                Effect::Release(ticket) => self.release(me, state, ticket),
            }
        }
    }

    fn recall(&self, me: &ActorRef<Message>, state: &mut State) {
        let recalled = self.handle.world.recall();
        let lost = Fact::Recalled(Err(lost(RECALL_WITHIN)));
        let fact = async move { Fact::Recalled(recalled.await.map(Box::new)) };
        state.ask(me, RECALL_WITHIN, lost, fact);
    }

    fn save(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, memory: Memory) {
        let saved = self.handle.world.save(memory);
        let lost = Fact::Stored(ticket, Err(lost(SAVE_WITHIN)));
        state.ask(me, SAVE_WITHIN, lost, async move { Fact::Stored(ticket, saved.await) });
    }

    /// Whatever comes of it, it is over then: what could not be said stands in the log.
    fn release(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket) {
        let released = self.handle.world.release();
        let over = Fact::Released(ticket);
        state.ask(me, None, over.clone(), async move {
            released.await;
            over
        });
    }

    /// Held to a pace instead of a total.
    fn step(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, step: Step) {
        let (pulse, signs) = watch::channel(());
        let (stop, to, patience) = (CancellationToken::new(), me.clone(), self.handle.settings.backups.patience);
        let progress = Arc::new(pace::progress(pulse, move |text, share| {
            _ = to.cast(Message::Fact(Fact::Progressed { ticket, text: text.to_owned(), share }));
        }));
        let work = self.handle.world.perform(step, Line { progress, stop: stop.clone() });
        let broke = Report { outcome: Err("its task broke; the agent's log has more".into()), shelf: None };
        state.stop = Some((ticket, stop.clone()));
        state.ask(me, None, Fact::Did(ticket, broke), async move {
            let _stopped_with_me = stop.clone().drop_guard();
            Fact::Did(ticket, concluded(pace::paced(work, signs, patience, &stop).await, patience))
        });
    }
}

impl State {
    fn ask(
        &mut self,
        me: &ActorRef<Message>,
        limit: impl Into<Option<Duration>>,
        lost: Fact,
        fact: impl Future<Output = Fact> + Send + 'static,
    ) {
        report::send(&mut self.tasks, me, limit, Message::Fact(lost), async { Message::Fact(fact.await) });
    }
}

/// A step's own outcome, or why it was cut off.
fn concluded(ended: Ended<Report>, patience: Duration) -> Report {
    let stalled = || format!("no progress for {} s (backups.patience)", patience.as_secs());
    match ended {
        Ended { outcome: Some(report), stalled: false } => report,
        Ended { outcome: Some(report), stalled: true } => Report { outcome: Err(stalled()), ..report },
        Ended { outcome: None, stalled: true } => Report { outcome: Err(stalled()), shelf: None },
        Ended { outcome: None, stalled: false } => {
            Report { outcome: Err("it was told to end and did not".into()), shelf: None }
        }
    }
}
