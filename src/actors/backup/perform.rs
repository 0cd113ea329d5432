//! Carries out what the machine decided. Whatever takes time runs in a task that reports exactly one fact, also if it
//! panics, is cut off or is cancelled.
use super::{BackupActor, Message, State, world::Line};
use crate::{
    actors::pace::while_it_moves,
    policy::backup::{Effect, Fact, Memory, Report, Step, Ticket},
};
use futures_util::future::BoxFuture;
use ractor::ActorRef;
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Sweeping away half an archive may take a while.
const RECALL_WITHIN: Duration = Duration::from_secs(120);
const SAVE_WITHIN: Duration = Duration::from_secs(30);
/// How long a step that was told to end may take for that.
const WIND_UP_WITHIN: Duration = Duration::from_secs(30);
/// Progress is passed on this often; a new text at once.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

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
                Effect::Release => _ = state.tasks.spawn(self.handle.world.release()),
            }
        }
    }

    fn recall(&self, me: &ActorRef<Message>, state: &mut State) {
        let recalled = self.handle.world.recall();
        let report = Promise::new(me, Fact::Recalled(Err(lost(RECALL_WITHIN))));
        state.tasks.spawn(report.of(RECALL_WITHIN, async move { Fact::Recalled(recalled.await.map(Box::new)) }));
    }

    fn save(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, memory: Memory) {
        let saved = self.handle.world.save(memory);
        let report = Promise::new(me, Fact::Stored(ticket, Err(lost(SAVE_WITHIN))));
        state.tasks.spawn(report.of(SAVE_WITHIN, async move { Fact::Stored(ticket, saved.await) }));
    }

    /// Held to a pace instead of a total.
    fn step(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, step: Step) {
        let (pulse, signs) = watch::channel(());
        let (stop, to, patience) = (CancellationToken::new(), me.clone(), self.handle.settings.backups.patience);
        let told = Mutex::new((String::new(), None::<Instant>));
        let progress = Arc::new(move |text: &str, share: Option<f64>| {
            pulse.send_replace(());
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.0 != text || told.1.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY) {
                *told = (text.to_owned(), Some(Instant::now()));
                tell(&to, Fact::Progressed { ticket, text: text.to_owned(), share });
            }
        });
        let work = self.handle.world.perform(step, Line { progress, stop: stop.clone() });
        let broke = Report { outcome: Err("its task broke; the agent's log has more".into()), shelf: None };
        let report = Promise::new(me, Fact::Did(ticket, broke));
        state.stop = Some((ticket, stop.clone()));
        state.tasks.spawn(async move {
            let _stopped_with_me = stop.clone().drop_guard();
            report.tell(Fact::Did(ticket, paced(work, signs, patience, &stop).await));
        });
    }
}

/// The work's own outcome, or why it was cut off. What is told to end gets some time for that.
async fn paced(
    mut work: BoxFuture<'static, Report>,
    signs: watch::Receiver<()>,
    patience: Duration,
    stop: &CancellationToken,
) -> Report {
    let stalled = tokio::select! {
        biased;
        done = while_it_moves(&mut work, signs, patience) => match done {
            Some(report) => return report,
            None => Some(format!("no progress for {} s (backups.patience)", patience.as_secs())),
        },
        () = stop.cancelled() => None,
    };
    stop.cancel();
    match (timeout(WIND_UP_WITHIN, work).await, stalled) {
        (Ok(report), None) => report,
        (Ok(report), Some(why)) => Report { outcome: Err(why), ..report },
        (Err(_), why) => {
            Report { outcome: Err(why.unwrap_or_else(|| "it was told to end and did not".into())), shelf: None }
        }
    }
}

/// Exactly one terminal fact: the true one, or on drop the one for a lost task.
struct Promise {
    me: ActorRef<Message>,
    lost: Option<Fact>,
}

impl Promise {
    fn new(me: &ActorRef<Message>, lost: Fact) -> Promise {
        Promise { me: me.clone(), lost: Some(lost) }
    }

    async fn of(self, limit: Duration, fact: impl Future<Output = Fact>) {
        if let Ok(fact) = timeout(limit, fact).await {
            self.tell(fact);
        }
    }

    fn tell(mut self, fact: Fact) {
        self.lost = None;
        tell(&self.me, fact);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(fact) = self.lost.take() {
            tell(&self.me, fact);
        }
    }
}

/// An actor that is gone needs no facts: its successor finds out by itself.
fn tell(me: &ActorRef<Message>, fact: Fact) {
    _ = me.cast(Message::Fact(fact));
}

fn lost(limit: Duration) -> String {
    format!("no answer within {} s, or its task broke", limit.as_secs())
}
