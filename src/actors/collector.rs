//! Collector: what one agent says of itself, from its event stream or by asking, to whoever wants to know.
//!
//! ```text
//!  agent ── /events, or /health, /ready, /status every 5 s ──► listening task ──Heard, Ended──►┌───────────┐
//!                                                                    ▲                         │ Collector │──► Outlet
//!                                                                    └────────Ask(how)─────────└───────────┘
//! ```
//! I promise: what I publish never goes back in (instanceId, revision); an agent that is silent is shown so after 15 s; an
//! agent that sends more than I take is slowed down, not stored; I wait for mine alone, so a slow agent delays nobody.
//!
//! I do not: decide what is newer or when to ask again (`policy::collector` does), or know of other gateways.
use crate::{
    host::{
        agent_feed::{self, Agent, Feed, Ready},
        clock,
    },
    model::ids::Vmid,
    policy::collector::{Entry, How, Known, Readiness, Silence},
};
use bytes::Bytes;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

/// Where entries go. Never blocks.
pub trait Outlet: Send + Sync + 'static {
    /// `online`: the agent itself was heard.
    fn publish(&self, vmid: Vmid, entry: &Entry, online: bool);
    /// A random share in 0.0..=1.0.
    fn chance(&self) -> f64;
}

/// Whom to listen to.
#[derive(Clone)]
pub struct Assignment {
    pub vmid: Vmid,
    pub agent: Agent,
    /// The entry shown until now: nothing older replaces it.
    pub before: Option<Bytes>,
    /// Waited before the first word, so that thousands do not begin at once.
    pub after: Duration,
}

/// Begins to listen; linked to `parent`.
pub async fn spawn(
    assignment: Assignment,
    outlet: Arc<dyn Outlet>,
    parent: ActorCell,
) -> Result<ActorRef<Message>, SpawnErr> {
    let (actor, _) = Actor::spawn_linked(None, Collector { assignment, outlet }, (), parent).await?;
    Ok(actor)
}

pub enum Message {
    Ask(How),
    /// The permit is given back once it was taken: a listener has one of them in flight.
    Heard(Entry, OwnedSemaphorePermit),
    Polled,
    Ended(Silence),
}

struct Collector {
    assignment: Assignment,
    outlet: Arc<dyn Outlet>,
}

#[derive(Default)]
pub struct State {
    known: Known,
    listening: JoinSet<()>,
}

impl Actor for Collector {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        me.send_after(self.assignment.after, || Message::Ask(How::Stream));
        let mut state = State::default();
        if let Some(entry) = self.assignment.before.as_ref().and_then(|json| Entry::of_cache(json.clone())) {
            state.known.on_heard(entry);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Ask(how) => self.ask(&me, state, how),
            Message::Heard(entry, _in_flight) => self.on_heard(state, entry),
            Message::Polled => {
                let (how, after) = state.known.on_polled();
                ask_after(&me, how, after);
            }
            Message::Ended(silence) => self.on_ended(&me, state, &silence),
        }
        Ok(())
    }
}

impl Collector {
    /// One task at a time; its last message makes the next one.
    fn ask(&self, me: &ActorRef<Message>, state: &mut State, how: How) {
        while state.listening.try_join_next().is_some() {}
        let (me, agent) = (me.clone(), self.assignment.agent.clone());
        state.listening.spawn(async move {
            let ear = Ear { collector: &me, agent: &agent, in_flight: Arc::new(Semaphore::new(1)) };
            let last = match how {
                How::Stream => Message::Ended(listen(&ear).await),
                How::Poll => match poll(&ear).await {
                    Ok(()) => Message::Polled,
                    Err(silence) => Message::Ended(silence),
                },
            };
            _ = me.cast(last); // an actor that is gone has no use for it
        });
    }

    fn on_heard(&self, state: &mut State, entry: Entry) {
        if let Some(newest) = state.known.on_heard(entry) {
            self.outlet.publish(self.assignment.vmid, newest, true);
        }
    }

    fn on_ended(&self, me: &ActorRef<Message>, state: &mut State, silence: &Silence) {
        if let Silence::Failed(why) = silence {
            tracing::debug!(vmid = self.assignment.vmid.0, why, "an agent is not heard");
            if let Some(entry) = state.known.on_silence(clock::wall_time(), why) {
                self.outlet.publish(self.assignment.vmid, &entry, false);
            }
        }
        let (how, after) = state.known.on_failure(silence, self.outlet.chance());
        ask_after(me, how, after);
    }
}

fn ask_after(me: &ActorRef<Message>, how: How, after: Duration) {
    me.send_after(after, move || Message::Ask(how));
}

/// How a listening task tells what it heard: one entry at a time, so that an agent that says more is not read.
struct Ear<'a> {
    collector: &'a ActorRef<Message>,
    agent: &'a Agent,
    in_flight: Arc<Semaphore>,
}

impl Ear<'_> {
    async fn hear(&self, status: &[u8], ready: Option<&Readiness>) -> Result<(), Silence> {
        let unusable = |why| Silence::Failed(format!("the agent at {}: {why}", self.agent.address));
        let entry = Entry::of_status(status, ready, clock::wall_time()).map_err(unusable)?;
        let gone = |_| Silence::Failed("the collector is gone".into());
        let permit = self.in_flight.clone().acquire_owned().await.map_err(|_| gone(()))?;
        self.collector.cast(Message::Heard(entry, permit)).map_err(|_| gone(()))
    }
}

async fn listen(ear: &Ear<'_>) -> Silence {
    let mut feed = match Feed::open(ear.agent).await {
        Ok(feed) => feed,
        Err(silence) => return told(silence),
    };
    loop {
        let heard = match feed.next().await {
            Ok(status) => ear.hear(&status, None).await,
            Err(silence) => Err(told(silence)),
        };
        if let Err(silence) = heard {
            return silence;
        }
    }
}

async fn poll(ear: &Ear<'_>) -> Result<(), Silence> {
    let polled = agent_feed::poll(ear.agent).await.map_err(told)?;
    let ready = match polled.ready {
        Ready::Yes => Some(Readiness::Ready),
        Ready::No(why) => Some(Readiness::NotReady(why)),
        Ready::Unknown => None,
    };
    ear.hear(&polled.status, ready.as_ref()).await
}

fn told(silence: agent_feed::Silence) -> Silence {
    match silence {
        agent_feed::Silence::NoStream => Silence::NoStream,
        failed => Silence::Failed(failed.to_string()),
    }
}
