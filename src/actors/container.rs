//! The container as callers see it: hands each verb to the actors of the kind it is. `policy::container` decides.
//!
//! No actor: it remembers one word, which the saved configurations tell the next life anyway.
use crate::{
    actors::{
        backup::{PuttingBack, Vault},
        code_server::CodeServer,
        dev_provision::DevProvision,
        game_server::{Accepted, Console, Denied, GameServer},
        status::Status,
        terminal::{Desk, Seat, Terminal},
    },
    model::{backup::BackupId, container::Kind, ids::OperationId, refusal::Refusal},
    policy::{
        container::{admits, asked, free_for_backup, may_become},
        terminal::MAIN,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{RwLock, watch},
    time::timeout,
};

/// How long an order right after the agent's start waits until it is known what runs.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Handle to everything behind the API of one container.
#[derive(Clone)]
pub struct Container {
    pub game: GameServer,
    pub dev: DevProvision,
    pub code_server: CodeServer,
    terminal: Terminal,
    pub backups: Vault,
    status: Status,
    kind: Arc<watch::Sender<Option<Kind>>>,
    /// Passed by whoever changes the workload, and held alone while a configuration is judged or a backup is begun: two
    /// first configurations cannot both win, and nothing is started in the moment between a look and an order.
    doorway: Arc<RwLock<()>>,
}

/// A place at a console.
pub enum Place {
    Game(Console),
    Shell(Seat),
}

/// Output to read.
pub enum Kept {
    Game(Console),
    Shell(Arc<Desk>),
}

impl Container {
    /// `kind`: what the saved configurations say.
    pub fn new(
        game: GameServer,
        dev: DevProvision,
        code_server: CodeServer,
        terminal: Terminal,
        (backups, status): (Vault, Status),
        kind: Option<Kind>,
    ) -> Container {
        Container {
            game,
            dev,
            code_server,
            terminal,
            backups,
            status,
            kind: Arc::new(watch::Sender::new(kind)),
            doorway: Arc::default(),
        }
    }

    pub fn kind(&self) -> Option<Kind> {
        *self.kind.borrow()
    }

    /// May something be asked for that only containers of this kind have?
    pub fn admits(&self, needed: Kind) -> Result<(), Denied> {
        admits(self.kind(), needed).map_err(Denied::Refused)
    }

    /// `body`: the whole `/config` request.
    pub async fn configure(&self, body: serde_json::Value, holder: &str) -> Result<Accepted, Denied> {
        let kind = asked(&body).map_err(Denied::Refused)?;
        let _alone = self.doorway.write().await;
        may_become(self.kind(), kind).map_err(Denied::Refused)?;
        self.backups.out_of_the_way().await?;
        let accepted = match kind {
            Kind::Game => self.game.configure(body, holder).await?,
            Kind::Dev => self.dev.configure(body, holder).await?,
        };
        self.kind.send_replace(Some(kind));
        Ok(accepted)
    }

    pub async fn start(&self, holder: &str) -> Result<Accepted, Denied> {
        let _passing = self.doorway.read().await;
        self.backups.out_of_the_way().await?;
        self.game.start(holder).await
    }

    pub async fn stop(&self, holder: &str) -> Result<Accepted, Denied> {
        let _passing = self.doorway.read().await;
        self.backups.out_of_the_way().await?;
        self.game.stop(holder).await
    }

    pub async fn restart(&self, holder: &str) -> Result<Accepted, Denied> {
        let _passing = self.doorway.read().await;
        self.backups.out_of_the_way().await?;
        self.game.restart(holder).await
    }

    /// The operation, and the id that the backup will have.
    pub async fn back_up(&self, kind: Kind, holder: &str) -> Result<(OperationId, BackupId), Denied> {
        let _alone = self.doorway.write().await;
        self.free_for_backup(kind, false).await?;
        self.backups.make(kind, holder).await
    }

    /// What is here is saved first; a game must be stopped.
    pub async fn put_back(&self, kind: Kind, id: &BackupId, holder: &str) -> Result<PuttingBack, Denied> {
        let _alone = self.doorway.write().await;
        self.free_for_backup(kind, true).await?;
        self.backups.put_back(kind, id, holder).await
    }

    async fn free_for_backup(&self, kind: Kind, restore: bool) -> Result<(), Denied> {
        let known = timeout(KNOWN_WITHIN, self.status.workloads(kind)).await;
        let (game, dev) = known.map_err(|_| Denied::Refused(Refusal::Recovering))?;
        free_for_backup(kind, restore, &game, &dev).map_err(Denied::Refused)
    }

    /// The game's console, or a shell of this session (`main` if none is named).
    pub async fn attach(&self, session: Option<&str>) -> Result<Place, Denied> {
        if self.kind() == Some(Kind::Dev) {
            return self.terminal.attach(session.unwrap_or(MAIN)).await.map(Place::Shell);
        }
        self.game_console(session).map(Place::Game)
    }

    /// What is kept of the output, without starting anything.
    pub fn kept(&self, session: Option<&str>) -> Result<Kept, Denied> {
        if self.kind() == Some(Kind::Dev) {
            return self.terminal.kept(session.unwrap_or(MAIN)).map(Kept::Shell);
        }
        self.game_console(session).map(Kept::Game)
    }

    /// A game has one console, which has no name.
    fn game_console(&self, session: Option<&str>) -> Result<Console, Denied> {
        match session {
            Some(_) => Err(Denied::Refused(Refusal::NotADevContainer)),
            None => Ok(self.game.console()),
        }
    }
}
