//! What the DevProvisionActor asks of others, answered by this machine.
pub mod addon;
mod adopting;
pub mod counting;
pub mod editor;
mod installs;
mod records;
pub mod services;
pub mod shells;
mod sshd;
mod surroundings;
mod tailnet;

use crate::{
    actors::{
        dev_provision::world::{Progress, World},
        installer::Installer,
    },
    host::{
        accounts::{self, Account, person},
        clock, dev_home, failpoint,
        store::{Store, StoreError},
        trial,
    },
    model::{
        container::Kind,
        dev::{DevConfig, USER},
        ids::OperationId,
        refusal::Refusal,
        settings::Settings,
        snapshot::Warning,
    },
    policy::{
        dev_provision::{self, Memory, Recollection, Resolved, Step, plan},
        game_server::command::Moment,
        launch,
    },
};
use futures_util::future::{BoxFuture, FutureExt};
use records::Records;
use serde_json::Value;
use services::Services;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;

/// A runtime says its version within milliseconds; the first start of a .NET one, or a cold disk, takes seconds.
const TRIAL_WITHIN: Duration = Duration::from_secs(60);

/// What the configurations saved on this machine say that the container is.
pub fn saved_kind(settings: &Settings) -> Result<Option<Kind>, StoreError> {
    let names = Store::open(settings.root.join("opt/zlh-agent/state"))?.names()?;
    let saved = |name: &str| names.iter().any(|n| n == name);
    Ok(match (saved(records::NAME), saved("config")) {
        (true, _) => Some(Kind::Dev),
        (false, true) => Some(Kind::Game),
        (false, false) => None,
    })
}

#[derive(Clone)]
pub struct DevWorld {
    settings: Arc<Settings>,
    /// Absolute.
    root: PathBuf,
    records: Records,
    installer: Installer,
    services: Services,
    /// Held by whatever step is at work, also if nobody waits for it any more.
    turn: Arc<Mutex<()>>,
}

impl DevWorld {
    /// Needs a tokio runtime.
    pub fn new(settings: Arc<Settings>, installer: Installer, services: Services) -> Result<DevWorld, StoreError> {
        let records = Records::start(&settings.root.join("opt/zlh-agent/state"))?;
        let root = std::path::absolute(&settings.root).unwrap_or_else(|_| settings.root.clone());
        Ok(DevWorld { settings, root, records, installer, services, turn: Arc::default() })
    }

    /// Where the workspace is, for the status.
    pub fn workspace(&self) -> String {
        dev_home::places(&self.root).1.display().to_string()
    }

    async fn judge(self, body: Value) -> Result<Resolved, Refusal> {
        let resolved = resolve(body, &self.settings)?;
        let DevConfig { runtime, version, .. } = &resolved.config;
        match installs::choices(&self.installer, self.settings.limits.command_timeout / 2).await {
            Ok(choices) => dev_provision::check(&resolved.config, &choices)?,
            Err(_) if installs::has(&self.installer, runtime, version) => {}
            Err(detail) => return Err(Refusal::CatalogUnavailable { detail }),
        }
        Ok(resolved)
    }

    async fn carry_out(self, step: Step, config: Arc<Resolved>, progress: Progress) -> Result<(), String> {
        let turn = self.turn.clone().lock_owned().await;
        failpoint::reach("agent.before_dev_step");
        let DevConfig { runtime, version, .. } = &config.config;
        let done = match step {
            Step::Withdraw => self.services.withdraw(&config.config).await,
            Step::Account => self.blocking(turn, |world| world.account().map(drop)).await,
            Step::Workspace => self.blocking(turn, |world| world.workspace_ready()).await,
            Step::Runtime => installs::runtime(&self.installer, runtime, version, progress).await,
            Step::Addon(addon) => installs::addon(&self.installer, addon, &self.settings, progress).await,
            Step::Environment => self.blocking(turn, |world| surroundings::write(&world.root)).await,
            Step::SmokeTest => self.try_runtime(runtime, version).await,
            Step::Service(addon) => self.services.start(addon, &config.config, progress).await,
        };
        failpoint::reach("agent.after_dev_step");
        done
    }

    /// `turn` goes with the work, so that a step whose future was dropped is still alone.
    async fn blocking(
        &self,
        turn: tokio::sync::OwnedMutexGuard<()>,
        work: impl FnOnce(&DevWorld) -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        let world = self.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let _alone = turn;
            work(&world)
        });
        worked.await.unwrap_or_else(|e| Err(format!("it broke off: {e}")))
    }

    /// Where `/` is ours, the account's home in passwd(5) is what everybody who logs in gets.
    fn account(&self) -> Result<Account, String> {
        let said = |e: io::Error| e.to_string();
        if !nix::unistd::geteuid().is_root() {
            return accounts::own().map_err(said);
        }
        let home = dev_home::places(Path::new("/")).0;
        let account = person::ensure(USER, &home).map_err(said)?;
        if self.root == Path::new("/") {
            person::move_home(USER, &home).map_err(said)?;
        }
        Ok(account)
    }

    fn workspace_ready(&self) -> Result<(), String> {
        let account = self.account()?;
        let (home, workspace) = dev_home::places(&self.root);
        let profile = surroundings::own_profile(&self.root);
        let most = self.settings.dev.repair_entries;
        let done = dev_home::prepare(&self.root, (&home, &workspace), &account, profile.as_deref(), most);
        let done = done.map_err(|e| e.to_string())?;
        if done.given_back > 0 || done.passed_over > 0 {
            let dev_home::Repaired { looked_at, given_back, passed_over } = done;
            tracing::warn!(looked_at, given_back, passed_over, "owners in the workspace were set right");
        }
        Ok(())
    }

    /// In a login shell where those read our files: then the way there is tried too.
    async fn try_runtime(&self, runtime: &str, version: &str) -> Result<(), String> {
        let words = plan::smoke_test(runtime);
        if words.is_empty() {
            return Ok(());
        }
        let (account, shell) = (self.account()?, person::shell(USER).map_err(|e| e.to_string())?);
        let env = surroundings::of(&self.root)?.launch(&shell.display().to_string());
        let login = if self.root == Path::new("/") { "-lc" } else { "-c" };
        let argv = ["/bin/sh", login, &words.join(" ")].map(str::to_owned);
        let home = dev_home::places(&self.root).0;
        let said = trial::run(&argv, &env, &home, &account, TRIAL_WITHIN).await?;
        match plan::fits(&said, version) {
            true => Ok(()),
            false => Err(format!("`{}` says {:?}, which is no {version}", words.join(" "), said.trim())),
        }
    }
}

impl World for DevWorld {
    fn now(&self) -> Moment {
        Moment { boot: clock::boot_time(), wall: clock::wall_time(), chance: 0.0 }
    }

    fn operation_id(&self) -> OperationId {
        OperationId(uuid::Uuid::now_v7().to_string())
    }

    fn resolve(&self, body: Value) -> BoxFuture<'static, Result<Resolved, Refusal>> {
        self.clone().judge(body).boxed()
    }

    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        let (recalled, settings) = (self.records.recall(), self.settings.clone());
        async move {
            let memory = recalled.await?;
            let config = memory.config.clone().map(|body| resolve(body, &settings));
            let config = config.map(|read| read.map(Arc::new).map_err(|refusal| format!("{refusal:?}")));
            Ok(Recollection { memory, config })
        }
        .boxed()
    }

    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        self.records.save(memory)
    }

    fn perform(&self, step: Step, config: Arc<Resolved>, progress: Progress) -> BoxFuture<'static, Result<(), String>> {
        self.clone().carry_out(step, config, progress).boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, Result<(), String>> {
        let world = self.clone();
        async move {
            let turn = world.turn.clone().lock_owned().await;
            world.blocking(turn, |world| surroundings::write(&world.root)).await?;
            world.services.refresh().await
        }
        .boxed()
    }
}

/// What a body means, without asking anybody.
fn resolve(body: Value, settings: &Settings) -> Result<Resolved, Refusal> {
    let config = dev_provision::read(&body, settings)?;
    let mut warnings = Vec::new();
    if !config.unknown.is_empty() {
        let message = format!("ignored in /config: {}", config.unknown.join(", "));
        warnings.push(Warning { code: "unknown_fields".into(), message });
    }
    Ok(Resolved { shown: launch::echo(&body), config, body, warnings })
}
