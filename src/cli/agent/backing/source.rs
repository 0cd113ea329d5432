//! What there is to be copied: the workspace, or the server root of the saved configuration. Blocking.
use crate::{
    cli::agent::resolving::resolve,
    host::{
        accounts::{self, Account},
        dev_home,
        store::Store,
    },
    model::{
        container::Kind,
        dev::USER,
        game::{Games, HoldRule},
        refusal::Refusal,
        settings::Settings,
    },
};
use std::path::{Path, PathBuf};

pub struct Source {
    /// Absolute.
    pub top: PathBuf,
    /// The same beneath the agent's root.
    pub shown: String,
    pub account: Account,
    pub exclude: Vec<String>,
    /// How the game is kept from writing meanwhile.
    pub hold: Option<HoldRule>,
}

pub fn find(kind: Kind, root: &Path, settings: &Settings, records: &Store) -> Result<Source, Refusal> {
    match kind {
        Kind::Dev => workspace(root, settings),
        Kind::Game => server_root(root, settings, records),
    }
}

fn workspace(root: &Path, settings: &Settings) -> Result<Source, Refusal> {
    let top = dev_home::places(root).1;
    if top.symlink_metadata().is_err() {
        return Err(Refusal::NotProvisioned);
    }
    let account = account(Some(USER)).ok_or(Refusal::NotProvisioned)?;
    Ok(Source { shown: shown(root, &top), top, account, exclude: settings.backups.exclude.clone(), hold: None })
}

fn server_root(root: &Path, settings: &Settings, records: &Store) -> Result<Source, Refusal> {
    let broken = |detail: String| Refusal::Unusable { field: "(configuration)".into(), detail };
    let body: Option<serde_json::Value> = records.load("config").map_err(|e| broken(e.to_string()))?;
    let (resolved, _) = resolve(body.ok_or(Refusal::NoConfig)?, settings, None)?;
    let spec = &resolved.spec;
    let top = std::path::absolute(&spec.cwd).unwrap_or_else(|_| spec.cwd.clone());
    if top.symlink_metadata().is_err() {
        return Err(broken(format!("{} is not there yet; start the server once", top.display())));
    }
    let user = spec.user.as_deref();
    let account = account(user).ok_or_else(|| broken(format!("there is no account {}", user.unwrap_or_default())))?;
    let mut games = Games::embedded().map_err(broken)?;
    let rule = games.0.remove(&spec.game).and_then(|game| game.backup).unwrap_or_default();
    Ok(Source { shown: shown(root, &top), top, account, exclude: rule.exclude, hold: rule.hold })
}

/// Who is not root can only be who he is.
fn account(name: Option<&str>) -> Option<Account> {
    match name.filter(|_| nix::unistd::geteuid().is_root()) {
        Some(name) => accounts::look_up(name).ok().flatten(),
        None => accounts::own().ok(),
    }
}

fn shown(root: &Path, top: &Path) -> String {
    top.strip_prefix(root).unwrap_or(top).display().to_string()
}
