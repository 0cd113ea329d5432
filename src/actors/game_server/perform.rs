//! Carries out what the machine decided. No `if` on a phase here: such an `if` would be a decision that escaped.
//!
//! Whatever takes time runs in a task that reports exactly one fact, also if it panics, is cut off or is cancelled.
use super::{GameServerActor, Message, State};
use crate::{
    actors::{
        pace::while_it_moves,
        report::{self, Report, lost},
    },
    host::keeping::{Alive, Discovery, EventSink, KeeperEvent, KeepingError, LaunchStep, Scope},
    model::{ids::RunId, workload::WorkloadSpec},
    policy::{
        game_server::{
            LAUNCH_WITHIN,
            command::Resolved,
            effect::{Aim, Effect, Ended, Probing, Record},
            fact::{Born, Chance, Fact, Found, LaunchFailure, Reply, RunFact, Ticket},
        },
        operations::By,
        readiness::Answer,
    },
};
use ractor::ActorRef;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Outer limits of verbs that have none of their own in the machine.
const RECALL_WITHIN: Duration = Duration::from_secs(30);
const DISCOVER_WITHIN: Duration = Duration::from_secs(30);
const SAVE_WITHIN: Duration = Duration::from_secs(30);
/// How long an outcome may be kept back until it is on disk.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
const CLASSIFY_WITHIN: Duration = Duration::from_secs(60);
const SAY_WITHIN: Duration = Duration::from_secs(10);
const SIGNAL_WITHIN: Duration = Duration::from_secs(10);
const RETIRE_WITHIN: Duration = Duration::from_secs(2);
/// A launch usually takes less. What was put off for its sake waits no longer.
const PUT_OFF_FOR: Duration = Duration::from_millis(5);
/// Room for a verb that keeps its own time to say so itself.
const SLACK: Duration = Duration::from_secs(1);

impl GameServerActor {
    pub(super) fn perform(&self, me: &ActorRef<Message>, state: &mut State, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Recall(ticket) => self.recall(me, state, ticket),
                Effect::Discover(ticket) => self.discover(me, state, ticket),
                Effect::Save(ticket, records) => self.save(me, state, ticket, records),
                Effect::Prepare(ticket, config) => self.prepare(me, state, ticket, config),
                Effect::AwaitPorts { ticket, ports, within } => self.await_ports(me, state, ticket, ports, within),
                Effect::Launch(run, spec) => self.launch(me, state, run, &spec),
                Effect::Permit(next) => {
                    self.world.keeping().permit(next.as_ref().map(|(run, spec)| (*run, &**spec)));
                }
                Effect::Probe(probing) => self.probe(me, state, probing),
                Effect::Say { run, spec, line } => self.say(state, run, spec, line),
                Effect::Signal { run, signal, aim } => self.signal(state, run, signal, aim),
                Effect::Classify(ended) => self.classify(me, state, *ended),
                Effect::NoteGoodStart(run, spec) => _ = state.tasks.spawn(self.world.note_good_start(run, spec)),
                Effect::Arm(ticket, after) => self.arm(me, state, ticket, after),
                Effect::Finish => self.leave(me, state),
            }
        }
    }

    fn recall(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket) {
        let answer = move |result| Fact::Reply(ticket, Reply::Recalled(result));
        let recalled = self.world.recall();
        let fact = async move { answer(recalled.await.map(Box::new)) };
        state.ask(me, RECALL_WITHIN, answer(Err(lost(RECALL_WITHIN))), fact);
    }

    fn discover(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket) {
        let autostart = By { id: self.world.operation_id(), holder: "autostart".into() };
        let answer = move |found| Fact::Reply(ticket, Reply::Discovered { found, autostart: autostart.clone() });
        let discovery = self.world.keeping().discover(sink(me));
        let lost = answer(Err(lost(DISCOVER_WITHIN)));
        let fact = async move { answer(discovery.await.map(found).map_err(|e| e.to_string())) };
        state.ask(me, DISCOVER_WITHIN, lost, fact);
    }

    fn save(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, records: Vec<Record>) {
        let answer = move |result| Fact::Reply(ticket, Reply::Stored(result));
        let (mut saved, slow) = (self.world.save(records), me.clone());
        state.ask(me, SAVE_WITHIN, answer(Err(lost(SAVE_WITHIN))), async move {
            if let Ok(result) = tokio::time::timeout(SHOWN_WITHIN, &mut saved).await {
                return answer(result);
            }
            tell(&slow, Fact::Reply(ticket, Reply::StillStoring));
            answer(saved.await)
        });
    }

    /// May install things: held to a pace, not to a total.
    fn prepare(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, config: Arc<Resolved>) {
        let answer = move |result| Fact::Reply(ticket, Reply::Prepared(result));
        let (to, patience) = (me.clone(), self.settings.game.prepare_patience);
        let (pulse, signs) = watch::channel(());
        let progress = Arc::new(move |step: &str, progress: Option<f64>| {
            pulse.send_replace(());
            tell(&to, Fact::Reply(ticket, Reply::Progressed { step: step.to_owned(), progress }));
        });
        let prepared = self.world.prepare(config, progress);
        let report = Report::new(me, Message::Fact(answer(Err(lost(patience)))));
        state.tasks.spawn(async move {
            if let Some(result) = while_it_moves(prepared, signs, patience).await {
                report.tell(Message::Fact(answer(result)));
            }
        });
    }

    fn await_ports(&self, me: &ActorRef<Message>, state: &mut State, t: Ticket, ports: Vec<u16>, within: Duration) {
        let answer = move |result| Fact::Reply(t, Reply::PortsFreed(result));
        let freed = self.world.ports_freed(ports, within);
        let limit = within + SLACK;
        state.ask(me, limit, answer(Err(lost(limit))), async move { answer(freed.await) });
    }

    fn launch(&self, me: &ActorRef<Message>, state: &mut State, run: RunId, spec: &WorkloadSpec) {
        let answer = move |result| Fact::Run(run, RunFact::Launched(result));
        let mut launched = self.world.keeping().launch(run, spec, sink(me));
        let lost = LaunchFailure { reason: format!("launch: {}", lost(LAUNCH_WITHIN)), chance: Chance::Unknown };
        let slow = me.clone();
        let fact = async move {
            let launched = match tokio::time::timeout(PUT_OFF_FOR, &mut launched).await {
                Ok(launched) => launched,
                Err(_) => {
                    _ = slow.cast(Message::Resume);
                    launched.await
                }
            };
            answer(launched.map(|alive| born(&alive)).map_err(launch_failure))
        };
        state.ask(me, LAUNCH_WITHIN, answer(Err(lost)), fact);
    }

    fn probe(&self, me: &ActorRef<Message>, state: &mut State, probing: Probing) {
        let run = probing.run;
        let answer = move |answer| Fact::Run(run, RunFact::Probed(answer));
        let limit = self.settings.ready.timeout + SLACK;
        let probed = self.world.probe(probing);
        state.ask(me, limit, answer(Answer::Dead { reason: lost(limit) }), async move { answer(probed.await) });
    }

    fn classify(&self, me: &ActorRef<Message>, state: &mut State, ended: Ended) {
        let run = ended.exit.run;
        let answer = move |report| Fact::Run(run, RunFact::Classified(Box::new(report)));
        let fallback = ended.unclassified(self.world.operation_id().0, &lost(CLASSIFY_WITHIN));
        let classified = self.world.classify(ended);
        state.ask(me, CLASSIFY_WITHIN, answer(fallback), async move { answer(classified.await) });
    }

    fn say(&self, state: &mut State, run: RunId, spec: Arc<WorkloadSpec>, line: String) {
        let said = self.world.say(run, spec, line);
        state.tasks.spawn(async move {
            let result = tokio::time::timeout(SAY_WITHIN, said).await.unwrap_or_else(|_| Err(lost(SAY_WITHIN)));
            if let Err(why) = result {
                tracing::warn!(%run, why, "the stop line could not be typed; the next rung follows");
            }
        });
    }

    fn signal(&self, state: &mut State, run: RunId, signal: i32, aim: Aim) {
        let sent = self.world.keeping().signal(run, signal, scope(aim));
        state.tasks.spawn(async move {
            match tokio::time::timeout(SIGNAL_WITHIN, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(KeepingError::NotAlive(_))) => tracing::debug!(%run, signal, "nobody is left for a signal"),
                Ok(Err(why)) => tracing::warn!(%run, signal, %why, "a signal could not be sent"),
                Err(_) => tracing::warn!(%run, signal, why = lost(SIGNAL_WITHIN), "a signal could not be sent"),
            }
        });
    }

    fn arm(&self, me: &ActorRef<Message>, state: &mut State, ticket: Ticket, after: Duration) {
        let me = me.clone();
        let timer = state.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            tell(&me, Fact::Reply(ticket, Reply::TimerFired));
        });
        state.timers.insert(ticket, timer);
    }

    fn leave(&self, me: &ActorRef<Message>, state: &mut State) {
        let (me, retired) = (me.clone(), self.world.keeping().retire());
        state.tasks.spawn(async move {
            if tokio::time::timeout(RETIRE_WITHIN, retired).await.is_err() {
                tracing::warn!("the idle keeper did not leave in time; the next agent finds it");
            }
            me.stop(None);
        });
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

fn sink(me: &ActorRef<Message>) -> EventSink {
    let me = me.clone();
    Arc::new(move |event| tell(&me, in_words_of_policy(event)))
}

fn in_words_of_policy(event: KeeperEvent) -> Fact {
    match event {
        KeeperEvent::Exited(exit) => Fact::Run(exit.run, RunFact::Exited(Box::new(exit))),
        KeeperEvent::TreeEmpty { run, killed: _ } => Fact::Run(run, RunFact::TreeEmptied),
        KeeperEvent::KeeperLost { run, recovered, detail } => Fact::Run(run, RunFact::KeeperLost { recovered, detail }),
    }
}

fn born(alive: &Alive) -> Born {
    let Alive { run: _, pid, started, started_at, log_start } = *alive;
    Born { pid, started, started_at, log_start }
}

fn found(discovery: Discovery) -> Found {
    match discovery {
        Discovery::Nothing => Found::Nothing,
        Discovery::LostByReboot => Found::LostByReboot,
        Discovery::Alive(alive) => Found::Alive(alive.run, born(&alive)),
        Discovery::Ended(exit) => Found::Ended(Box::new(exit)),
    }
}

/// What a failed launch says about the next one.
fn launch_failure(error: KeepingError) -> LaunchFailure {
    let chance = match &error {
        KeepingError::Launch { step: LaunchStep::Busy, .. } | KeepingError::Link(_) => Chance::Unknown,
        scarce if scarce.is_scarcity() => Chance::Later,
        KeepingError::Launch { step: LaunchStep::Workdir | LaunchStep::User | LaunchStep::Exec, .. } => {
            Chance::Hopeless
        }
        KeepingError::NoSuchUser(_) => Chance::Hopeless,
        KeepingError::Launch { .. } | KeepingError::Spawn(_) => Chance::Later,
        KeepingError::NotAlive(_) | KeepingError::Environment(_) => Chance::Later,
    };
    LaunchFailure { reason: error.to_string(), chance }
}

fn scope(aim: Aim) -> Scope {
    match aim {
        Aim::Leader => Scope::Leader,
        Aim::Group => Scope::Group,
        Aim::Tree => Scope::Tree,
    }
}
