//! Carries out what a session decided. Whatever takes time is a task that reports exactly one fact.
use super::{Fact, Message, Open, State, TerminalActor, answer, desk::Seat};
use crate::{
    actors::{
        held::Held,
        report::{self, lost},
    },
    host::keeping::{Discovery, EventSink, KeeperEvent, KeepingError, Scope},
    model::{ids::RunId, refusal::Refusal},
    policy::terminal::{Effect, Found, check_name},
};
use ractor::ActorRef;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

const RECOVER_WITHIN: Duration = Duration::from_secs(30);
/// A keeper's own limit is 30 s for the launch, and 10 s to clear up after the last run.
const LAUNCH_WITHIN: Duration = Duration::from_secs(45);
const SIGNAL_WITHIN: Duration = Duration::from_secs(10);
const FORGET_WITHIN: Duration = Duration::from_secs(20);
const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;

impl TerminalActor {
    /// Looks for the shells of earlier agents, one after the other: they are few, and each takes milliseconds.
    pub(super) fn awaken(&self, me: &ActorRef<Message>, state: &mut State) {
        let (names, handle) = (self.world().sessions(), self.handle.clone());
        let sinks = me.clone();
        let search = async move {
            let mut names = names.await?;
            names.extend(handle.desks.names());
            names.sort_unstable();
            names.dedup();
            let mut all = Vec::new();
            for name in names.into_iter().filter(|name| check_name(name).is_ok()) {
                let size = (handle.settings.terminal.columns, handle.settings.terminal.rows);
                let desk = handle.desks.open(&name, size, &*handle.world)?;
                let discovery = desk.held.keeping.discover(sink(&sinks, &name)).await;
                all.push((name, discovery.map_or_else(unfound, found)));
            }
            Ok(all)
        };
        let lost = Message::Recovered(Err(lost(RECOVER_WITHIN)));
        report::send(&mut state.tasks, me, RECOVER_WITHIN, lost, async move { Message::Recovered(search.await) });
    }

    pub(super) fn perform(
        &self,
        me: &ActorRef<Message>,
        tasks: &mut JoinSet<()>,
        open: &mut Open,
        effects: Vec<Effect>,
    ) {
        for effect in effects {
            let held = open.desk.held.clone();
            let name = open.desk.name.clone();
            match effect {
                Effect::Launch(run) => self.launch(me, tasks, name, held, run),
                Effect::Resize((columns, rows)) => {
                    open.desk.size.send_replace((columns, rows));
                    held.keeping.resize(columns, rows);
                }
                Effect::Arm(ticket, after) => {
                    let me = me.clone();
                    tasks.spawn(async move {
                        tokio::time::sleep(after).await;
                        _ = me.cast(Message::Fact(name, Fact::TimerFired(ticket)));
                    });
                }
                Effect::HangUp(run) => signal(tasks, held, run, SIGHUP, Scope::Leader),
                Effect::Kill(run) => signal(tasks, held, run, SIGKILL, Scope::Tree),
                Effect::Forget => self.forget(me, tasks, name, held),
                Effect::Admit(viewer) => {
                    // Only who has a seat outlives the actor. If nobody waits for it any more it is dropped on the way,
                    // and that says that the viewer left.
                    open.desk.viewers().insert(viewer, None);
                    let seat = Seat { desk: open.desk.clone(), viewer, slot: self.handle.slot.clone() };
                    if let Some(reply) = open.answers.remove(&viewer) {
                        answer(reply, Ok(seat));
                    }
                }
                Effect::Turn { viewer, why } => {
                    if let Some(reply) = open.answers.remove(&viewer) {
                        answer(reply, Err(why));
                    }
                }
            }
        }
    }

    fn launch(&self, me: &ActorRef<Message>, tasks: &mut JoinSet<()>, name: String, held: Held, run: RunId) {
        let (shell, events) = (self.world().shell(), sink(me, &name));
        let launched = async move {
            let spec = shell.await?;
            let launched = held.keeping.launch(run, &spec, events).await;
            launched.map(|_| ()).map_err(|why| Refusal::NoShell { detail: why.to_string() })
        };
        let message = move |result| Message::Fact(name, Fact::Launched(run, result));
        let lost = message.clone()(Err(Refusal::NoShell { detail: lost(LAUNCH_WITHIN) }));
        report::send(tasks, me, LAUNCH_WITHIN, lost, async move { message(launched.await) });
    }

    fn forget(&self, me: &ActorRef<Message>, tasks: &mut JoinSet<()>, name: String, held: Held) {
        let forgotten = self.world().forget(&name, held);
        let message = move |result| Message::Fact(name, Fact::Forgotten(result));
        let lost = message.clone()(Err(lost(FORGET_WITHIN)));
        report::send(tasks, me, FORGET_WITHIN, lost, async move { message(forgotten.await) });
    }
}

fn signal(tasks: &mut JoinSet<()>, held: Held, run: RunId, signal: i32, scope: Scope) {
    tasks.spawn(async move {
        match tokio::time::timeout(SIGNAL_WITHIN, held.keeping.signal(run, signal, scope)).await {
            Ok(Ok(()) | Err(KeepingError::NotAlive(_))) => {}
            Ok(Err(why)) => tracing::warn!(%run, signal, %why, "a shell could not be signalled"),
            Err(_) => tracing::warn!(%run, signal, why = lost(SIGNAL_WITHIN), "a shell could not be signalled"),
        }
    });
}

fn sink(me: &ActorRef<Message>, name: &str) -> EventSink {
    let (me, name) = (me.clone(), name.to_owned());
    Arc::new(move |event| match event {
        KeeperEvent::Exited(exit) => _ = me.cast(Message::Fact(name.clone(), Fact::Exited(Box::new(exit)))),
        KeeperEvent::KeeperLost { run, recovered, detail } => {
            tracing::warn!(session = name, %run, recovered, detail, "the keeper of a shell was lost");
        }
        KeeperEvent::TreeEmpty { .. } => {}
    })
}

fn found(discovery: Discovery) -> Found {
    match discovery {
        Discovery::Nothing | Discovery::LostByReboot => Found::Nothing,
        Discovery::Alive(alive) => Found::Alive(alive.run),
        Discovery::Ended(exit) => Found::Ended(exit.run),
    }
}

fn unfound(why: KeepingError) -> Found {
    tracing::warn!(%why, "a shell of an earlier agent cannot be found; it is given up");
    Found::Nothing
}
