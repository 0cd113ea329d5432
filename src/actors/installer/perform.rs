//! Carries out what the machine decided. Whatever takes time runs in a task that reports exactly one fact, also if it
//! panics, is cut off or is cancelled.
use super::{
    InstallerActor, Message, State,
    workshop::{Line, Unmet},
};
use crate::{
    actors::{
        pace::{self, Ended},
        report::{self, Report, lost},
    },
    policy::installer::{Effect, Fact, Failure, Ticket, plan::Step},
};
use futures_util::future::BoxFuture;
use ractor::ActorRef;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Outer limits of verbs that show no progress.
const RECALL_WITHIN: Duration = Duration::from_secs(30);
const SAVE_WITHIN: Duration = Duration::from_secs(30);
const SURVEY_WITHIN: Duration = Duration::from_secs(60);

impl InstallerActor {
    pub(super) fn perform(&self, me: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Recall(ticket) => self.recall(me, state, ticket),
                Effect::Save(ticket, memory) => {
                    let saved = self.workshop.save(*memory);
                    let lost = Fact::Stored(ticket, Err(lost(SAVE_WITHIN)));
                    state.ask(me, SAVE_WITHIN, lost, async move { Fact::Stored(ticket, saved.await) });
                }
                Effect::Survey { ticket, sweep } => self.survey(me, state, ticket, sweep),
                Effect::Consult(ticket, wanted) => {
                    let consulted = self.workshop.consult(wanted);
                    self.watched(me, state, ticket, Fact::Consulted, |_| {
                        Box::pin(async move { consulted.await.map(Box::new).map_err(failure) })
                    });
                }
                Effect::Do(ticket, step) => self.step(me, state, ticket, step),
                Effect::Abort(ticket) => {
                    if let Some(stop) = state.stops.get(&ticket) {
                        stop.cancel();
                    }
                }
            }
        }
    }

    fn recall(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket) {
        let recalled = self.workshop.recall();
        let lost = Fact::Recalled(ticket, Err(lost(RECALL_WITHIN)));
        let fact = async move { Fact::Recalled(ticket, recalled.await.map(Box::new)) };
        state.ask(me, RECALL_WITHIN, lost, fact);
    }

    fn survey(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, sweep: bool) {
        let surveyed = self.workshop.survey(sweep);
        let lost = Fact::Surveyed(ticket, Err(lost(SURVEY_WITHIN)));
        let fact = async move { Fact::Surveyed(ticket, surveyed.await.map(Box::new)) };
        state.ask(me, SURVEY_WITHIN, lost, fact);
    }

    fn step(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, step: Step) {
        let workshop = self.workshop.clone();
        self.watched(me, state, ticket, Fact::Did, |line| workshop.perform(step, line));
    }

    /// Held to a pace instead of a total: cut off once it has shown no progress for `install.patience`.
    fn watched<T: Send + 'static>(
        &self,
        me: &ActorRef<Message>,
        state: &mut State,
        ticket: Ticket,
        fact: fn(Ticket, Result<T, Failure>) -> Fact,
        begin: impl FnOnce(Line) -> BoxFuture<'static, Result<T, Failure>>,
    ) {
        let patience = self.settings.install.patience;
        let stop = CancellationToken::new();
        state.stops.insert(ticket, stop.clone());
        let (pulse, signs) = watch::channel(());
        let work = begin(Line { progress: self.progress(me, ticket, pulse), stop: stop.clone() });
        let broke = fact(ticket, Err(Failure::other("its task broke")));
        let report = Report::new(me, Message::Fact(broke));
        state.tasks.spawn(async move {
            let _stopped_with_me = stop.clone().drop_guard();
            let outcome = match pace::paced(work, signs, patience, &stop).await {
                Ended { stalled: true, .. } => {
                    Err(Failure::other(format!("no progress for {} s (install.patience)", patience.as_secs())))
                }
                Ended { outcome, .. } => {
                    outcome.unwrap_or_else(|| Err(Failure::other("it was told to end and did not")))
                }
            };
            report.tell(Message::Fact(fact(ticket, outcome)));
        });
    }

    fn progress(&self, me: &ActorRef<Message>, ticket: Ticket, pulse: watch::Sender<()>) -> super::Progress {
        let me = me.clone();
        Arc::new(pace::progress(pulse, move |text, share| {
            tell(&me, Fact::Progressed { ticket, text: text.to_owned(), share });
        }))
    }
}

fn failure(unmet: Unmet) -> Failure {
    use crate::model::refusal::Refusal;
    match unmet {
        Unmet::Failed(failure) => failure,
        Unmet::Refused(Refusal::Unusable { field, detail }) => Failure::other(format!("{field}: {detail}")),
        Unmet::Refused(refusal) => Failure::other(refusal.code()),
    }
}

impl State {
    /// Runs `fact` in a task; `lost` is reported instead if it does not come to an end by itself within `limit`.
    fn ask(
        &mut self,
        me: &ActorRef<Message>,
        limit: Duration,
        lost: Fact,
        fact: impl Future<Output = Fact> + Send + 'static,
    ) {
        report::send(&mut self.tasks, me, limit, Message::Fact(lost), async { Message::Fact(fact.await) });
    }
}

/// An actor that is gone needs no facts: its successor finds out by itself.
fn tell(me: &ActorRef<Message>, fact: Fact) {
    _ = me.cast(Message::Fact(fact));
}
