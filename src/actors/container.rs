//! The container as callers see it: hands each verb to the actors of the kind it is. `policy::container` decides.
//!
//! No actor: it remembers one word, which the saved configurations tell the next life anyway.
use crate::{
    actors::{
        code_server::CodeServer,
        dev_provision::DevProvision,
        game_server::{Accepted, Console, Denied, GameServer},
        terminal::{Desk, Seat, Terminal},
    },
    model::{container::Kind, refusal::Refusal},
    policy::{
        container::{admits, asked, may_become},
        terminal::MAIN,
    },
};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Handle to everything behind the API of one container.
#[derive(Clone)]
pub struct Container {
    pub game: GameServer,
    pub dev: DevProvision,
    pub code_server: CodeServer,
    terminal: Terminal,
    kind: Arc<watch::Sender<Option<Kind>>>,
    /// Held while a configuration is judged, so that two first ones cannot both win.
    judging: Arc<Mutex<()>>,
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
        kind: Option<Kind>,
    ) -> Container {
        Container {
            game,
            dev,
            code_server,
            terminal,
            kind: Arc::new(watch::Sender::new(kind)),
            judging: Arc::default(),
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
        let _alone = self.judging.lock().await;
        may_become(self.kind(), kind).map_err(Denied::Refused)?;
        let accepted = match kind {
            Kind::Game => self.game.configure(body, holder).await?,
            Kind::Dev => self.dev.configure(body, holder).await?,
        };
        self.kind.send_replace(Some(kind));
        Ok(accepted)
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
