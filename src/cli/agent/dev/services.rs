//! What the set-up of a dev container asks of those who supervise its addons.
use super::{addon::Keepers, sshd, tailnet::Tailnet};
use crate::{
    actors::{addons::Addons, code_server::CodeServer, dev_provision::world::Progress},
    model::{
        dev::{Addon, DevConfig},
        settings::Settings,
    },
    policy::addons,
};
use std::{path::PathBuf, sync::Arc};

const HOLDER: &str = "config";
/// Reads its configuration again, in place: sessions do not notice.
const SIGHUP: i32 = 1;

/// The supervisors of everything that runs beside the shells.
#[derive(Clone)]
pub struct Services {
    pub editor: CodeServer,
    pub addons: Addons,
    pub keepers: Keepers,
    pub settings: Arc<Settings>,
    /// Absolute.
    pub root: PathBuf,
}

impl Services {
    /// Starts what an addon runs, and sees that it is up.
    pub async fn start(&self, addon: Addon, config: &DevConfig, progress: Progress) -> Result<(), String> {
        match addon {
            Addon::CodeServer => self.editor.provide(config.vmid, HOLDER).await,
            Addon::Sshd => self.open_door(config).await,
            Addon::Tailscale => self.join(config, progress).await,
        }
    }

    async fn open_door(&self, config: &DevConfig) -> Result<(), String> {
        let Some(ssh) = config.ssh.clone() else { return Err("nobody is named who may come in".into()) };
        let (root, of) = (self.root.clone(), ssh.clone());
        off_the_runtime(move || sshd::write_keys(&root, &of)).await?;
        let within = self.settings.sshd.ready_within;
        self.addons.provide(Addon::Sshd, addons::sshd::body(&ssh), within, HOLDER).await
    }

    async fn join(&self, config: &DevConfig, progress: Progress) -> Result<(), String> {
        let Some(network) = &config.tailscale else { return Err("no network is named".into()) };
        let within = self.settings.tailscale.ready_within;
        self.addons.provide(Addon::Tailscale, addons::tailscale::body(), within, HOLDER).await?;
        Tailnet::beneath(&self.root).join(network, &self.settings, &progress).await
    }

    /// Stops what `config` no longer wants, and with a door whoever is inside.
    pub async fn withdraw(&self, config: &DevConfig) -> Result<(), String> {
        for addon in Addon::ALL.into_iter().filter(|addon| !config.addons.contains(addon)) {
            let stopped = match addon {
                Addon::CodeServer => self.editor.withdraw(HOLDER).await,
                Addon::Sshd | Addon::Tailscale => self.addons.withdraw(addon, HOLDER).await,
            };
            stopped.map_err(|why| format!("{addon} could not be stopped: {why}"))?;
            if self.addons.wanted(addon).is_some() && addon != Addon::CodeServer {
                self.keepers.of(addon).end_rest().await;
            }
        }
        Ok(())
    }

    /// What sessions find in their environment has changed: the listener gives it to the next ones.
    pub async fn refresh(&self) -> Result<(), String> {
        let Some(body) = self.addons.wanted(Addon::Sshd) else { return Ok(()) };
        let (root, port) = (self.root.clone(), addons::sshd::port(&body));
        match off_the_runtime(move || sshd::write_config(&root, port)).await? {
            true => self.keepers.sshd.nudge(SIGHUP).map_err(|e| format!("sshd could not be told: {e}")),
            false => Ok(()),
        }
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(format!("it broke off: {e}")))
}
