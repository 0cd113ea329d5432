//! What the GameServerActor asks of others, answered by this machine.
use super::{
    furnishing::Furnisher,
    judging::Judge,
    probing::{Prober, ports_freed},
    resolving::{resolve, unusable},
    saving::Saver,
};
use crate::{
    actors::{
        game_server::world::{Output, Progress, World},
        installer::Installer,
    },
    host::{
        clock,
        clock::BootId,
        console_input,
        console_log::ConsoleLog,
        failpoint,
        keeper_client::{KeeperClient, Plan},
        keeping::Keeping,
        probe,
        server_root::{self, PrepareError},
        store::{Store, StoreError},
    },
    model::{
        console::{LogRange, News},
        crash::CrashReport,
        ids::{OperationId, RunId},
        refusal::Refusal,
        settings::Settings,
        snapshot::Players,
        workload::{ConsoleInput, ReadyProbe, WorkloadSpec},
    },
    policy::{
        game_server::{
            command::{Moment, Resolved},
            effect::{Ended, Probing, Record},
            fact::Recollection,
        },
        readiness::Answer,
    },
};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Name of the one workload of a game container.
const GAME: &str = "game";

/// How keepers of the game are made.
pub fn plan(settings: &Settings) -> io::Result<Plan> {
    let binary = std::env::current_exe()?;
    Ok(Plan {
        columns: settings.console.columns,
        rows: settings.console.rows,
        log_bytes: settings.console.scrollback_bytes,
        keeper_env: failpoint::for_keepers(),
        ..Plan::new(GAME, &std::path::absolute(&settings.root)?, &binary)
    })
}

pub struct MachineWorld {
    settings: Arc<Settings>,
    keeper: KeeperClient,
    console: MachineConsole,
    prober: Prober,
    judge: Judge,
    saver: Saver,
    /// Of the newest configuration: what must be taken out of logs.
    secrets: Arc<Mutex<Vec<String>>>,
    preparing: Arc<tokio::sync::Mutex<()>>,
    installer: Installer,
    records: Store,
}

impl MachineWorld {
    /// Needs a tokio runtime.
    pub fn new(
        settings: Arc<Settings>,
        keeper: KeeperClient,
        installer: Installer,
    ) -> Result<MachineWorld, StoreError> {
        let folder = settings.root.join("opt/zlh-agent/state");
        let saver = Saver::start(&folder, settings.limits.crashes_kept)?;
        let console = keeper.console();
        let records = Store::open(folder)?;
        let judge = Judge::new(console.clone(), records.clone(), &settings);
        Ok(MachineWorld {
            prober: Prober::new(console.clone(), settings.ready.timeout),
            console: MachineConsole(console),
            secrets: Arc::default(),
            preparing: Arc::default(),
            settings,
            keeper,
            judge,
            saver,
            installer,
            records,
        })
    }

    /// Everything known to be secret at this moment.
    fn known_secrets(&self) -> Vec<String> {
        let of_config = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        of_config.into_iter().chain(self.settings.token.iter().map(|token| token.0.clone())).collect()
    }
}

impl World for MachineWorld {
    fn now(&self) -> Moment {
        // 53 random bits make a uniform share (the mantissa of an f64).
        let chance = (uuid::Uuid::new_v4().as_u128() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64;
        Moment { boot: clock::boot_time(), wall: clock::wall_time(), chance }
    }

    fn operation_id(&self) -> OperationId {
        OperationId(uuid::Uuid::now_v7().to_string())
    }

    fn resolve(&self, body: Value) -> BoxFuture<'static, Result<Resolved, Refusal>> {
        let (settings, secrets) = (self.settings.clone(), self.secrets.clone());
        Box::pin(async move {
            let judged = tokio::task::spawn_blocking(move || {
                let resolved = resolve(body, &settings, None)?;
                foresee(&resolved.0, &settings).map(|()| resolved)
            })
            .await;
            let (resolved, hidden) = judged.unwrap_or_else(|e| Err(unusable(&format!("judging it broke off: {e}"))))?;
            *secrets.lock().unwrap_or_else(PoisonError::into_inner) = hidden;
            Ok(resolved)
        })
    }

    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        let (recalled, settings, secrets) = (self.saver.recall(), self.settings.clone(), self.secrets.clone());
        Box::pin(async move {
            let recalled = recalled.await?;
            let boot = BootId::current().map_err(|e| format!("cannot tell this boot from others: {e}"))?;
            let config = match recalled.config {
                None => None,
                Some(body) => {
                    let (resolved, hidden) = tokio::task::spawn_blocking(move || resolve(body, &settings, None))
                        .await
                        .map_err(|e| format!("reading the saved configuration broke off: {e}"))?
                        .map_err(|refusal| format!("the saved configuration is unusable: {refusal:?}"))?;
                    *secrets.lock().unwrap_or_else(PoisonError::into_inner) = hidden;
                    Some(resolved)
                }
            };
            Ok(Recollection { boot: boot.to_string(), memory: recalled.memory, config, crashes: recalled.crashes })
        })
    }

    fn save(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), String>> {
        self.saver.save(records)
    }

    fn prepare(
        &self,
        config: Arc<Resolved>,
        progress: Progress,
    ) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, String>> {
        let (settings, turn, store) = (self.settings.clone(), self.preparing.clone(), self.records.clone());
        let furnisher = Furnisher { settings, installer: self.installer.clone(), store, progress };
        Box::pin(async move {
            let _alone = turn.lock_owned().await;
            let prepared = furnisher.prepare(&config).await;
            failpoint::reach("agent.after_prepare");
            prepared
        })
    }

    fn ports_freed(&self, ports: Vec<u16>, within: Duration) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(ports_freed(ports, within))
    }

    fn probe(&self, probing: Probing) -> BoxFuture<'static, Answer> {
        Box::pin(self.prober.clone().ask(probing))
    }

    fn players(&self, spec: Arc<WorkloadSpec>) -> BoxFuture<'static, Option<Players>> {
        let within = self.settings.ready.timeout;
        Box::pin(async move {
            match &spec.ready.probe {
                ping @ ReadyProbe::MinecraftPing { .. } => probe::ask(ping, within).await.ok()?.players,
                _ => None,
            }
        })
    }

    fn classify(&self, ended: Ended) -> BoxFuture<'static, CrashReport> {
        let mut secrets = self.known_secrets();
        if let ConsoleInput::Econ { password, .. } = &ended.spec.console {
            secrets.push(password.clone());
        }
        let judged = self.judge.clone().classify(ended, secrets);
        Box::pin(async move {
            failpoint::reach("agent.before_classify");
            let report = judged.await;
            failpoint::reach("agent.after_classify");
            report
        })
    }

    fn note_good_start(&self, _: RunId, spec: Arc<WorkloadSpec>) -> BoxFuture<'static, ()> {
        failpoint::reach("agent.at_good_start");
        Box::pin(self.judge.clone().note_good_start(spec))
    }

    fn say(&self, run: RunId, spec: Arc<WorkloadSpec>, line: String) -> BoxFuture<'static, Result<(), String>> {
        let typed = self.keeper.input(run, format!("{line}\n").into());
        Box::pin(async move {
            let said = match &spec.console {
                ConsoleInput::Pty => typed.await.map(|_| ()).map_err(|e| e.to_string()),
                ConsoleInput::Econ { port, password } => console_input::say_by_econ(*port, password, &line).await,
                ConsoleInput::Fifo { path } => {
                    let (root, path) = (spec.cwd.clone(), path.clone());
                    let said = tokio::task::spawn_blocking(move || console_input::say_by_fifo(&root, &path, &line));
                    said.await.map_err(|e| format!("writing to the pipe broke off: {e}"))?
                }
            };
            failpoint::reach("agent.after_say");
            said
        })
    }

    fn keeping(&self) -> &dyn Keeping {
        &self.keeper
    }

    fn output(&self) -> &dyn Output {
        &self.console
    }
}

/// Only at the door: a saved configuration stays one although its account has gone meanwhile.
fn foresee(resolved: &Resolved, settings: &Settings) -> Result<(), Refusal> {
    let named = |field: &str, e: PrepareError| Refusal::Unusable { field: field.into(), detail: e.to_string() };
    match server_root::foresee(&settings.root, &resolved.spec, &settings.game) {
        Err(e @ PrepareError::NoSuchUser(_)) => Err(named("user", e)),
        // Of other games the program is a runtime or a package, which may come later.
        Err(e) if resolved.body.get("command").is_some() => Err(named("command[0]", e)),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// [`ConsoleLog`] behind the actors' trait.
struct MachineConsole(ConsoleLog);

impl Output for MachineConsole {
    fn range(&self) -> LogRange {
        self.0.range()
    }

    fn read(&self, from: u64, max: usize) -> BoxFuture<'static, io::Result<(u64, bytes::Bytes)>> {
        let log = self.0.clone();
        Box::pin(async move { log.read(from, max).await.map(|piece| (piece.from, piece.bytes)) })
    }

    fn news(&self) -> tokio::sync::watch::Receiver<News> {
        self.0.news()
    }
}
