//! A game that holds its writes while its files are copied: told so on its console, and believed once it has said that
//! everything is saved. It goes on writing afterwards, whatever happens: [`Held`] sees to that, also when it is dropped; an
//! agent that dies in between leaves the pending order, and the next one says it.
use crate::{
    actors::game_server::{Denied, GameServer},
    host::probe::LogLineMatcher,
    model::{game::HoldRule, refusal::Refusal},
};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Bytes of output read at a time.
const PIECE: usize = 64 << 10;

/// It has said that all is saved and writes nothing.
pub struct Held {
    game: GameServer,
    rule: Option<HoldRule>,
}

impl Held {
    pub async fn release(mut self) {
        if let Some(rule) = self.rule.take() {
            release(&self.game, &rule).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(rule) = self.rule.take() {
            let game = self.game.clone();
            tokio::spawn(async move { release(&game, &rule).await });
        }
    }
}

/// `None`: nothing runs, so nothing is written. An error says that the game did not answer; then it has been told to go on.
pub async fn hold(
    game: GameServer,
    rule: HoldRule,
    within: Duration,
    stop: &CancellationToken,
) -> Result<Option<Held>, String> {
    let matcher = LogLineMatcher::new(&rule.held).map_err(|e| format!("the game's definition is broken: {e}"))?;
    let from = game.console().range().end;
    let mut held = Held { game: game.clone(), rule: Some(rule.clone()) };
    for line in &rule.commands {
        match game.command(line.clone()).await {
            Ok(()) => {}
            Err(Denied::Refused(Refusal::NotRunning)) => {
                held.rule = None;
                return Ok(None);
            }
            Err(Denied::Refused(_) | Denied::Busy | Denied::Gone) => {
                return Err("the game's console does not take lines now".into());
            }
        }
    }
    tokio::select! {
        said = timeout(within, saved(&game, from, matcher)) => match said {
            Ok(()) => Ok(Some(held)),
            Err(_) => Err(format!(
                "the game did not say within {} s that its world is saved (backups.hold_within); nothing was copied",
                within.as_secs()
            )),
        },
        () = stop.cancelled() => Err("it was cancelled".into()),
    }
}

/// Resolves when the game has said it. Output that is no longer kept is passed over.
async fn saved(game: &GameServer, from: u64, mut matcher: LogLineMatcher) {
    let console = game.console();
    let (mut news, mut at) = (console.news(), from);
    loop {
        match console.read(at, PIECE).await {
            Ok(chunk) if !chunk.bytes.is_empty() => {
                if matcher.feed(&chunk.bytes).is_some() {
                    return;
                }
                at = chunk.from + chunk.bytes.len() as u64;
            }
            // Nothing new, or not readable now: wait for what comes next.
            Ok(_) | Err(_) => {
                if news.changed().await.is_err() {
                    std::future::pending::<()>().await; // nobody tells any more: the time limit decides
                }
            }
        }
    }
}

pub async fn release(game: &GameServer, rule: &HoldRule) {
    for line in &rule.release {
        match game.command(line.clone()).await {
            // A game that has ended meanwhile writes again when it starts.
            Ok(()) | Err(Denied::Refused(_)) => {}
            Err(Denied::Busy | Denied::Gone) => {
                tracing::error!(line, "the game could not be told to write again; type it in its console");
            }
        }
    }
}
