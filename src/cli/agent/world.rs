//! What the GameServerActor asks of others, answered by this machine.
use super::{
    judging::Judge,
    probing::{Prober, ports_freed},
    saving::Saver,
};
use crate::{
    actors::game_server::world::{Output, Progress, World},
    host::{
        clock,
        clock::BootId,
        console_input,
        console_log::ConsoleLog,
        failpoint,
        keeper_client::{KeeperClient, Plan},
        keeping::Keeping,
        machine, probe, server_root,
        store::{Store, StoreError},
    },
    model::{
        console::{Epoch, LogRange},
        crash::CrashReport,
        game::{ConfigBody, Games},
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
        launch,
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
    Ok(Plan {
        columns: settings.console.columns,
        rows: settings.console.rows,
        log_bytes: settings.console.scrollback_bytes,
        ..keeper_plan(settings, GAME)?
    })
}

/// How keepers of a workload of this name are made, but for its console.
pub fn keeper_plan(settings: &Settings, name: &str) -> io::Result<Plan> {
    let binary = std::env::current_exe()?;
    let keeper_env = failpoint::for_keepers();
    Ok(Plan { keeper_env, ..Plan::new(name, &std::path::absolute(&settings.root)?, &binary) })
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
}

impl MachineWorld {
    /// Needs a tokio runtime.
    pub fn new(settings: Arc<Settings>, keeper: KeeperClient) -> Result<MachineWorld, StoreError> {
        let folder = settings.root.join("opt/zlh-agent/state");
        let saver = Saver::start(&folder, settings.limits.crashes_kept)?;
        let console = keeper.console();
        let judge = Judge::new(console.clone(), Store::open(folder)?, settings.limits.clone());
        Ok(MachineWorld {
            prober: Prober::new(console.clone(), settings.ready.timeout),
            console: MachineConsole(console),
            secrets: Arc::default(),
            preparing: Arc::default(),
            settings,
            keeper,
            judge,
            saver,
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
            let judged = tokio::task::spawn_blocking(move || resolve(body, &settings)).await;
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
                    let (resolved, hidden) = tokio::task::spawn_blocking(move || resolve(body, &settings))
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

    fn prepare(&self, spec: Arc<WorkloadSpec>, progress: Progress) -> BoxFuture<'static, Result<(), String>> {
        let (settings, turn) = (self.settings.clone(), self.preparing.clone());
        Box::pin(async move {
            let _alone = turn.lock_owned().await;
            progress("preparing the server root", None);
            let root = settings.root.clone();
            let prepared =
                tokio::task::spawn_blocking(move || server_root::prepare(&root, &spec, &settings.game)).await;
            failpoint::reach("agent.after_prepare");
            let prepared = prepared.map_err(|e| format!("preparing the server root broke off: {e}"))?;
            prepared.map(|_| ()).map_err(|e| e.to_string())
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

/// What a body means on this machine, and what of it is secret. Blocking.
fn resolve(body: Value, settings: &Settings) -> Result<(Resolved, Vec<String>), Refusal> {
    // Parsed for each body and dropped: definitions are needed once in a while and should not stay in memory.
    let games = Games::embedded().map_err(|e| unusable(&format!("the built-in game definitions are broken: {e}")))?;
    let read = launch::read(&body, &games, settings)?;
    let questions = launch::questions(&read, &games, settings)?;
    let root = questions.server_root.display();
    let machine =
        machine::look(&settings.root, &questions).map_err(|e| unusable(&format!("cannot look at {root}: {e}")))?;
    let resolved = launch::resolve(&read, &games, &machine, settings)?;
    let secrets = secrets(&read);
    let shown = launch::echo(&body);
    Ok((Resolved { spec: Arc::new(resolved.spec), body, shown, warnings: resolved.warnings }, secrets))
}

fn secrets(body: &ConfigBody) -> Vec<String> {
    [&body.steam_pass, &body.steam_auth, &body.admin_pass].into_iter().flatten().map(|s| s.0.clone()).collect()
}

fn unusable(detail: &str) -> Refusal {
    Refusal::Unusable { field: "(body)".into(), detail: detail.into() }
}

/// [`ConsoleLog`] behind the actors' trait.
pub struct MachineConsole(pub ConsoleLog);

impl Output for MachineConsole {
    fn range(&self) -> LogRange {
        self.0.range()
    }

    fn read(&self, from: u64, max: usize) -> BoxFuture<'static, io::Result<(u64, bytes::Bytes)>> {
        let log = self.0.clone();
        Box::pin(async move { log.read(from, max).await.map(|piece| (piece.from, piece.bytes)) })
    }

    fn past(&self, epoch: Epoch, offset: u64) -> BoxFuture<'static, LogRange> {
        let log = self.0.clone();
        Box::pin(async move { log.past(epoch, offset).await })
    }
}
