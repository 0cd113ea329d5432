//! What dev containers ask of the installer.
use super::sshd;
use crate::{
    actors::{dev_provision::world::Progress, installer::Installer},
    model::{
        dev::{Addon, RuntimeChoices},
        install::{Family, Wanted},
        settings::Settings,
    },
    policy::{addons::tailscale, code_server},
};

use std::time::Duration;

const HOLDER: &str = "config";

/// What the catalog has; an error says why it cannot be known now.
pub async fn choices(installer: &Installer, within: Duration) -> Result<RuntimeChoices, String> {
    let asked = tokio::time::timeout(within, installer.available()).await;
    let available =
        asked.unwrap_or_else(|_| Err(format!("the catalog was not there within {} ms", within.as_millis())))?;
    Ok(RuntimeChoices(available.into_iter().map(|runtime| (runtime.id, runtime.versions)).collect()))
}

/// Is it installed, whatever the catalog says?
pub fn has(installer: &Installer, runtime: &str, version: &str) -> bool {
    let family = Family::runtime(runtime);
    let present = installer.present();
    let meant = |v: &str| v.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    present.trees.iter().any(|tree| tree.id.family == family && meant(&tree.id.version))
}

/// Installed and active afterwards; sound and so already, nothing happens.
pub async fn runtime(installer: &Installer, id: &str, version: &str, progress: Progress) -> Result<(), String> {
    let wanted = Wanted::Runtime { id: id.to_owned(), version: version.to_owned() };
    installer.install(wanted, true, HOLDER, &progress).await.map(drop)
}

pub async fn addon(installer: &Installer, addon: Addon, settings: &Settings, progress: Progress) -> Result<(), String> {
    let id = match addon {
        Addon::CodeServer => code_server::NAME,
        Addon::Sshd => return sshd::install(settings, &progress).await,
        Addon::Tailscale => tailscale::ID,
    };
    installer.install(Wanted::Addon { id: id.to_owned(), version: None }, true, HOLDER, &progress).await.map(drop)
}
