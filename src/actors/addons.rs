//! What runs beside editor and shells, each supervised by the very actor and rules that supervise a game ([`GameServer`],
//! `policy::game_server`); `policy::addons` says what is launched.
//!
//! ```text
//!  set-up ──provide, withdraw──►┌──────────────┐──► one GameServerActor an addon ──► World: files, probes; its keeper
//!          ◄──up, or why not────│ Addons       │
//!                               └──────────────┘◄── part of the status
//! ```
//! I promise (each tested in `addons/tests.rs`): the set-up hears of an addon only once it answers, else why it does not;
//! one that runs already is left alone, unless what is wanted needs another launch; what is withdrawn is down
//! afterwards. Backoff, adoption and reports are the supervisor's own promises.
#[cfg(test)]
mod tests;

use crate::{
    actors::{
        code_server::{is_down, outcome, reason},
        game_server::{Accepted, Denied, GameServer, Part, world::World},
        root::Child,
        status::Status,
    },
    model::{dev::Addon, operation::OperationState, refusal::Refusal, settings::Settings},
    policy::{game_server::command::Leaving, status::GamePart},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};

/// How long a start may take beyond its own deadline until its outcome is known.
const SLACK: Duration = Duration::from_secs(30);

/// Handle to the supervisors; survives their restarts.
#[derive(Clone)]
pub struct Addons {
    supervised: BTreeMap<Addon, GameServer>,
    status: Status,
}

impl Addons {
    pub fn new(worlds: Vec<(Addon, Arc<dyn World>)>, settings: &Arc<Settings>, status: &Status) -> Addons {
        let supervise =
            |(addon, world)| (addon, GameServer::part(Part::Addon(addon), world, settings.clone(), status.clone()));
        Addons { supervised: worlds.into_iter().map(supervise).collect(), status: status.clone() }
    }

    pub fn children(&self) -> Vec<Child> {
        self.supervised.values().map(GameServer::child).collect()
    }

    /// As [`GameServer::shut_down`], for each.
    pub async fn shut_down(&self, leaving: Leaving, within: Duration) -> Result<(), Denied> {
        let all = self.supervised.values().map(|addon| addon.shut_down(leaving, within));
        futures_util::future::join_all(all).await.into_iter().collect()
    }

    /// What was last asked for; `None` before the first time.
    pub fn wanted(&self, addon: Addon) -> Option<Value> {
        self.status.addon(addon).borrow().config.clone()
    }

    /// Resolves once it is up as `body` wants it; `within`: its start deadline.
    pub async fn provide(&self, addon: Addon, body: Value, within: Duration, holder: &str) -> Result<(), String> {
        let Some(supervised) = self.supervised.get(&addon) else { return Err(format!("{addon} is not one of these")) };
        let mut part = self.status.addon(addon);
        let changed = {
            let part = part.borrow();
            part.process.is_some() && part.config.as_ref() != Some(&body)
        };
        let accepted = supervised.configure(body, holder).await;
        done(&mut part, accepted).await?;
        if changed {
            let accepted = supervised.restart(holder).await;
            done(&mut part, accepted).await?;
        }
        comes_up(&mut part, within + SLACK).await
    }

    /// Resolves once it is down; nothing to do for one that was never wanted.
    pub async fn withdraw(&self, addon: Addon, holder: &str) -> Result<(), String> {
        let Some(supervised) = self.supervised.get(&addon) else { return Ok(()) };
        let accepted = supervised.stop(holder).await;
        done(&mut self.status.addon(addon), accepted).await
    }
}

/// What was accepted has come to a good end.
async fn done(part: &mut watch::Receiver<GamePart>, accepted: Result<Accepted, Denied>) -> Result<(), String> {
    let Some(operation) = accepted.map_err(in_words)?.operation else { return Ok(()) };
    let ended = outcome(part, &operation).await?;
    match ended.state {
        OperationState::Done => Ok(()),
        OperationState::Superseded => Err("somebody else stopped it meanwhile".into()),
        _ => Err(reason(part, ended.error).await),
    }
}

async fn comes_up(part: &mut watch::Receiver<GamePart>, within: Duration) -> Result<(), String> {
    let decided = |part: &GamePart| part.ready || is_down(part.state);
    match timeout(within, part.wait_for(decided)).await.map(|seen| seen.map(|part| part.ready)) {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(reason(part, None).await),
        Ok(Err(_)) => Err("its state is no longer published".into()),
        Err(_) => Err(format!("it does not answer within {} s", within.as_secs())),
    }
}

fn in_words(denied: Denied) -> String {
    match denied {
        Denied::Refused(Refusal::Unusable { detail, .. }) => detail,
        Denied::Refused(refusal) => format!("it refused: {}", refusal.code()),
        Denied::Busy | Denied::Gone => "its supervisor is being restarted; send the configuration again".into(),
    }
}
