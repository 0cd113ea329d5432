//! Directory: people and servers as the database has them, in memory for every request.
//!
//! ```text
//!  a writer here ──refresh()──┐
//!                             ├─► revisions changed? ──► read that part anew ──► watch<Arc<People>>, watch<Arc<Servers>>
//!  every settings.refresh ────┘                                                   └─► requests, tunnels, collectors
//! ```
//! I promise: no request waits for the database to know its caller; what was written here is seen by the next request;
//! what another gateway or `zlh gateway …` wrote is seen within `refresh`, and whoever holds a stream open is told in
//! the same moment; while the database is gone the last known state serves on.
//!
//! I do not: decide (policy::access does) or write (the doorkeeper and the registry do).
use super::{root::Child, slot::Slot};
use crate::{
    host::{
        clock,
        database::{Database, Error, Revisions},
        keyring::Keyring,
    },
    model::gateway::{People, Servers},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};

/// Clones share one state; survives the actor's own restarts.
#[derive(Clone)]
pub struct Directory {
    slot: Slot<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    key_file: PathBuf,
    every: Duration,
    people: watch::Sender<Arc<People>>,
    servers: watch::Sender<Arc<Servers>>,
    keyring: watch::Sender<Arc<Keyring>>,
    /// What was read last; held while reading, so that an older reading never replaces a newer one.
    seen: Mutex<Option<Revisions>>,
}

impl Directory {
    /// Reads everything once; fails if the database or the key file cannot be used.
    pub async fn open(database: Database, key_file: PathBuf, every: Duration) -> Result<Directory, Error> {
        let keyring = Keyring::open(&key_file)?;
        let shared = Shared {
            database,
            key_file,
            every,
            people: watch::Sender::default(),
            servers: watch::Sender::default(),
            keyring: watch::Sender::new(Arc::new(keyring)),
            seen: Mutex::new(None),
        };
        let directory = Directory { slot: Slot::default(), shared: Arc::new(shared) };
        directory.refresh().await?;
        Ok(directory)
    }

    pub fn people(&self) -> Arc<People> {
        self.shared.people.borrow().clone()
    }

    pub fn servers(&self) -> Arc<Servers> {
        self.shared.servers.borrow().clone()
    }

    /// Changes whenever people or credentials do: whoever serves a stream looks again whether it may.
    pub fn watch_people(&self) -> watch::Receiver<Arc<People>> {
        self.shared.people.subscribe()
    }

    /// Changes whenever the registry does.
    pub fn watch_servers(&self) -> watch::Receiver<Arc<Servers>> {
        self.shared.servers.subscribe()
    }

    pub fn keyring(&self) -> Arc<Keyring> {
        self.shared.keyring.borrow().clone()
    }

    pub fn database(&self) -> &Database {
        &self.shared.database
    }

    /// Reads what has changed. Call it after each write: the next request then sees it.
    pub async fn refresh(&self) -> Result<(), Error> {
        let Shared { database, key_file, people, servers, keyring, seen, .. } = &*self.shared;
        let mut seen = seen.lock().await;
        let now = database.revisions().await?;
        let before = *seen;
        if before.is_none_or(|before| before.people != now.people) {
            people.send_replace(Arc::new(database.people(clock::wall_time()).await?));
        }
        if before.is_none_or(|before| before.servers != now.servers) {
            // A rotation of keys ends with a new revision of servers.
            let fresh = Arc::new(Keyring::open(key_file)?);
            servers.send_replace(Arc::new(database.servers(&fresh).await?));
            keyring.send_replace(fresh);
        }
        *seen = Some(now);
        Ok(())
    }

    /// How the root brings the actor to life that looks for others' writes.
    pub fn child(&self) -> Child {
        let mold = self.clone();
        self.slot.child("directory", Message::Ping, move || Follower { directory: mold.clone() })
    }
}

enum Message {
    Look,
    Looked(Result<(), Error>),
    Ping(RpcReplyPort<()>),
}

struct Follower {
    directory: Directory,
}

#[derive(Default)]
struct State {
    looking: JoinSet<()>,
    /// Failures in a row: the first and the end of it are told.
    failures: u64,
}

impl Actor for Follower {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Message>, _: ()) -> Result<State, ActorProcessingErr> {
        me.cast(Message::Look)?;
        Ok(State::default())
    }

    async fn handle(
        &self,
        me: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => self.look(&me, state),
            Message::Looked(result) => {
                told(result, &mut state.failures);
                me.send_after(self.directory.shared.every, || Message::Look);
            }
            Message::Ping(reply) => reply.send(())?,
        }
        Ok(())
    }
}

impl Follower {
    fn look(&self, me: &ActorRef<Message>, state: &mut State) {
        let (directory, me) = (self.directory.clone(), me.clone());
        while state.looking.try_join_next().is_some() {}
        state.looking.spawn(async move {
            // An actor that is gone has no use for it.
            _ = me.cast(Message::Looked(directory.refresh().await));
        });
    }
}

fn told(result: Result<(), Error>, failures: &mut u64) {
    match result {
        Ok(()) if *failures > 0 => {
            tracing::info!(failures, "the database answers again");
            *failures = 0;
        }
        Ok(()) => {}
        Err(error) => {
            if *failures == 0 {
                tracing::error!(%error, "the database does not answer: people and servers stay as last known");
            }
            *failures += 1;
        }
    }
}
