//! CodeServerActor: the editor of a dev container, supervised by the very actor and rules that supervise a game
//! ([`GameServer`], `policy::game_server`); `policy::code_server` says what is launched and which processes are it.
//!
//! ```text
//!  HTTP ── CodeServer (handle) ──start, stop, restart──►┌─────────────────┐──► World: tree, config.yaml, ports, probes
//!  set-up ──provide──► (configure, then watch)          │ GameServerActor │    Keeping: its keeper, or the one found
//!                         ◄──────part of the status─────└─────────────────┘
//! ```
//! I promise (each tested in `code_server/tests.rs`): the set-up hears of an editor only once it answers and goes on
//! doing so for `codeserver.settle`, else why it does not; a start installs nothing; who starts what was never
//! installed is told so. Backoff, adoption, reports and everything else are the supervisor's own promises.
pub mod idle;
#[cfg(test)]
mod tests;

use crate::{
    actors::{
        game_server::{Accepted, Console, Denied, GameServer, Part, world::World},
        root::Child,
        status::Status,
    },
    model::{
        ids::OperationId,
        operation::{Operation, OperationState},
        phase::State,
        refusal::Refusal,
        settings::Settings,
    },
    policy::{
        code_server::{NAME, body},
        game_server::command::Leaving,
        status::GamePart,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};

/// How long the crash engine may take until a failure is told without its words.
const REPORT_WITHIN: Duration = Duration::from_secs(3);

/// Handle to the CodeServerActor; survives the actor's own restarts.
#[derive(Clone)]
pub struct CodeServer {
    supervised: GameServer,
    status: Status,
    settings: Arc<Settings>,
}

impl CodeServer {
    pub fn new(world: Arc<dyn World>, settings: Arc<Settings>, status: Status) -> CodeServer {
        let supervised = GameServer::part(Part::CodeServer, world, settings.clone(), status.clone());
        CodeServer { supervised, status, settings }
    }

    pub fn child(&self) -> Child {
        self.supervised.child()
    }

    pub async fn start(&self, holder: &str) -> Result<Accepted, Denied> {
        self.supervised.start(holder).await.map_err(never_installed)
    }

    pub async fn stop(&self, holder: &str) -> Result<Accepted, Denied> {
        self.supervised.stop(holder).await
    }

    pub async fn restart(&self, holder: &str) -> Result<Accepted, Denied> {
        self.supervised.restart(holder).await.map_err(never_installed)
    }

    /// What it has printed.
    pub fn console(&self) -> Console {
        self.supervised.console()
    }

    /// As [`GameServer::shut_down`].
    pub async fn shut_down(&self, leaving: Leaving, within: Duration) -> Result<(), Denied> {
        self.supervised.shut_down(leaving, within).await
    }

    /// Resolves once the installed editor is up and has stayed so; one that runs already is left alone.
    pub async fn provide(&self, vmid: u32, holder: &str) -> Result<(), String> {
        let mut part = self.status.code_server();
        let accepted = self.supervised.configure(body(vmid), holder).await.map_err(in_words)?;
        let Some(operation) = accepted.operation else { return Err("the editor was given no operation".into()) };
        let ended = outcome(&mut part, &operation).await?;
        match ended.state {
            OperationState::Done => self.stays_up(&mut part).await,
            OperationState::Superseded => Err("somebody stopped the editor meanwhile".into()),
            _ => Err(reason(&mut part, ended.error).await),
        }
    }

    /// Resolves once it is down; nothing to do for one that was never wanted.
    pub async fn withdraw(&self, holder: &str) -> Result<(), String> {
        let accepted = self.supervised.stop(holder).await.map_err(in_words)?;
        let Some(operation) = accepted.operation else { return Ok(()) };
        let ended = outcome(&mut self.status.code_server(), &operation).await?;
        ended.error.map_or(Ok(()), Err)
    }

    async fn stays_up(&self, part: &mut watch::Receiver<GamePart>) -> Result<(), String> {
        let decided = |part: &GamePart| part.ready || is_down(part.state);
        let within = self.settings.codeserver.ready_within;
        let first = match timeout(within, part.wait_for(decided)).await {
            Ok(Ok(part)) => part.clone(),
            Ok(Err(_)) => return Err("its state is no longer published".into()),
            Err(_) => return Err(format!("it does not answer within {} s", within.as_secs())),
        };
        let gone = |now: &GamePart| !now.ready || now.process.map(|p| p.pid) != first.process.map(|p| p.pid);
        let left = timeout(self.settings.codeserver.settle, part.wait_for(gone)).await.is_ok();
        match left || !first.ready {
            true => Err(reason(part, None).await),
            false => Ok(()),
        }
    }
}

pub(super) fn is_down(state: State) -> bool {
    matches!(state, State::Crashed | State::Error | State::Idle)
}

pub(super) async fn outcome(part: &mut watch::Receiver<GamePart>, id: &OperationId) -> Result<Operation, String> {
    let ended = |part: &GamePart| part.operations.iter().find(|o| o.id == *id && o.state.is_final()).cloned();
    let seen = part.wait_for(|part| ended(part).is_some()).await.map(|part| ended(&part));
    seen.ok().flatten().ok_or_else(|| "its state is no longer published".into())
}

/// Why it is down, in the crash engine's words if it speaks in time.
pub(super) async fn reason(part: &mut watch::Receiver<GamePart>, first: Option<String>) -> String {
    let judged = |part: &GamePart| part.last_crash.as_ref().and_then(|crash| crash.reason.clone());
    if part.borrow().last_crash.is_some() {
        // Late or never: the words that are there already do.
        _ = timeout(REPORT_WITHIN, part.wait_for(|part| judged(part).is_some())).await;
    }
    let part = part.borrow();
    let tail: Vec<String> =
        part.last_crash.iter().flat_map(|c| c.log_tail.iter().rev().take(3).rev().cloned()).collect();
    let words = [part.error.clone(), first, judged(&part)].into_iter().flatten().next();
    let words = words.unwrap_or_else(|| "it did not stay up".into());
    match tail.is_empty() {
        true => words,
        false => format!("{words}; its last words: {}", tail.join(" | ")),
    }
}

/// Its configuration is saved by the set-up that installs it.
fn never_installed(denied: Denied) -> Denied {
    match denied {
        Denied::Refused(Refusal::NoConfig) => {
            Denied::Refused(Refusal::NotInstalled { what: NAME.into(), installed: Vec::new() })
        }
        other => other,
    }
}

fn in_words(denied: Denied) -> String {
    match denied {
        Denied::Refused(Refusal::Unusable { detail, .. }) => detail,
        Denied::Refused(Refusal::OperationInProgress { kind, .. }) => {
            format!("another operation on the editor is under way ({kind:?}); send the configuration again after it")
        }
        Denied::Refused(refusal) => format!("the editor refused: {}", refusal.code()),
        Denied::Busy => "the editor's supervisor does not answer; send the configuration again".into(),
        Denied::Gone => "the editor's supervisor is being restarted; send the configuration again".into(),
    }
}
