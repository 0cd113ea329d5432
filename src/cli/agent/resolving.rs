//! What a `/config` body means on this machine as it is now. All of it reads files, hence blocks.
use crate::{
    host::machine,
    model::{
        furnishing::Furnishing,
        game::{ConfigBody, Games},
        machine::Machine,
        refusal::Refusal,
        settings::Settings,
    },
    policy::{game_server::command::Resolved, launch},
};
use serde_json::Value;
use std::sync::Arc;

/// The workload, and what of the body is secret. `drawn`: the secret drawn by lot for this body before, if it was.
pub fn resolve(body: Value, settings: &Settings, drawn: Option<String>) -> Result<(Resolved, Vec<String>), Refusal> {
    let seen = Seen::of(&body, settings, drawn)?;
    let resolved = launch::resolve(&seen.read, &seen.games, &seen.machine, settings)?;
    let secrets = secrets(&seen.read);
    let shown = launch::echo(&body);
    Ok((Resolved { spec: Arc::new(resolved.spec), body, shown, warnings: resolved.warnings }, secrets))
}

/// What has to be installed for it.
pub fn furnishing(body: &Value, settings: &Settings) -> Result<Furnishing, Refusal> {
    let seen = Seen::of(body, settings, None)?;
    launch::furnishing(&seen.read, &seen.games, &seen.machine, settings)
}

/// Everything a judgement needs.
struct Seen {
    games: Games,
    read: ConfigBody,
    machine: Machine,
}

impl Seen {
    fn of(body: &Value, settings: &Settings, drawn: Option<String>) -> Result<Seen, Refusal> {
        // Parsed for each body and dropped: definitions are needed once in a while and should not stay in memory.
        let games = Games::embedded();
        let games = games.map_err(|e| unusable(&format!("the built-in game definitions are broken: {e}")))?;
        let read = launch::read(body, &games, settings)?;
        let questions = launch::questions(&read, &games, settings)?;
        let root = questions.server_root.display();
        let mut machine =
            machine::look(&settings.root, &questions).map_err(|e| unusable(&format!("cannot look at {root}: {e}")))?;
        if let Some(drawn) = drawn {
            machine.secret = drawn;
        }
        Ok(Seen { games, read, machine })
    }
}

fn secrets(body: &ConfigBody) -> Vec<String> {
    [&body.steam_pass, &body.steam_auth, &body.admin_pass].into_iter().flatten().map(|s| s.0.clone()).collect()
}

pub fn unusable(detail: &str) -> Refusal {
    Refusal::Unusable { field: "(body)".into(), detail: detail.into() }
}
