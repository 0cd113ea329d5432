//! What the supervisor of an addon asks of others, answered by this machine.
use super::{sshd, surroundings, tailnet};
use crate::{
    actors::game_server::world::{Output, Progress, World},
    cli::agent::{
        judging::Judge,
        probing::{Prober, ports_freed},
        saving::Saver,
        world::{MachineConsole, keeper_plan},
    },
    host::{
        clock::{self, BootId},
        failpoint,
        keeper_client::{KeeperClient, Plan},
        keeping::{Keeping, KeepingError},
        store::{Store, StoreError},
    },
    model::{
        crash::CrashReport,
        dev::Addon,
        ids::{OperationId, RunId},
        refusal::Refusal,
        settings::Settings,
        snapshot::Players,
        workload::WorkloadSpec,
    },
    policy::{
        addons::{self, workload},
        game_server::{
            command::{Moment, Resolved},
            effect::{Ended, Probing, Record},
            fact::Recollection,
        },
        readiness::Answer,
    },
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Who holds the addons.
#[derive(Clone)]
pub struct Keepers {
    pub sshd: KeeperClient,
    pub tailscale: KeeperClient,
}

impl Keepers {
    pub fn new(settings: &Settings) -> Result<Keepers, KeepingError> {
        let of = |addon| KeeperClient::new(plan(addon, settings)?);
        Ok(Keepers { sshd: of(Addon::Sshd)?, tailscale: of(Addon::Tailscale)? })
    }

    pub fn of(&self, addon: Addon) -> &KeeperClient {
        if addon == Addon::Tailscale { &self.tailscale } else { &self.sshd }
    }
}

fn plan(addon: Addon, settings: &Settings) -> Result<Plan, KeepingError> {
    let plan = keeper_plan(settings, workload(addon)).map_err(|e| KeepingError::Spawn(e.to_string()))?;
    let is_door = addon == Addon::Sshd;
    Ok(Plan { log_bytes: settings.terminal.scrollback_bytes, leave_rest: is_door, dies_piecemeal: is_door, ..plan })
}

#[derive(Clone)]
pub struct AddonWorld {
    addon: Addon,
    settings: Arc<Settings>,
    /// Absolute.
    root: PathBuf,
    keeper: KeeperClient,
    console: Arc<MachineConsole>,
    prober: Prober,
    judge: Judge,
    saver: Saver,
}

impl AddonWorld {
    /// Needs a tokio runtime.
    pub fn new(addon: Addon, settings: Arc<Settings>, keeper: KeeperClient) -> Result<AddonWorld, StoreError> {
        let folder = settings.root.join("opt/zlh-agent/state").join(workload(addon));
        let root = std::path::absolute(&settings.root).unwrap_or_else(|_| settings.root.clone());
        let saver = Saver::start(&folder, settings.limits.crashes_kept)?;
        let (console, records) = (keeper.console(), Store::open(folder)?);
        Ok(AddonWorld {
            addon,
            prober: Prober::new(console.clone(), settings.ready.timeout),
            judge: Judge::new(console.clone(), records, &settings),
            console: Arc::new(MachineConsole(console)),
            settings,
            root,
            keeper,
            saver,
        })
    }

    /// As this machine is now. Blocking.
    fn resolved(&self, body: Value) -> Resolved {
        let mut resolved = match self.addon {
            Addon::Tailscale => addons::tailscale::resolved(body, &self.root, tailnet::carrying(), &self.settings),
            Addon::Sshd | Addon::CodeServer => addons::sshd::resolved(body, &self.root, &self.settings),
        };
        if self.addon == Addon::Sshd {
            let spec =
                WorkloadSpec { memory_bytes: surroundings::memory_limit(&self.root), ..(*resolved.spec).clone() };
            resolved.spec = Arc::new(spec);
        }
        resolved
    }

    fn prepared(&self, config: &Resolved) -> Result<Arc<WorkloadSpec>, String> {
        match self.addon {
            Addon::Tailscale => tailnet::prepare(&self.root)?,
            Addon::Sshd | Addon::CodeServer => sshd::prepare(&self.root, addons::sshd::port(&config.body))?,
        }
        let now = self.resolved(config.body.clone()).spec;
        Ok(if *now == *config.spec { config.spec.clone() } else { now })
    }

    fn off_the_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AddonWorld) -> Result<T, String> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, String>> {
        let world = self.clone();
        async move {
            let worked = tokio::task::spawn_blocking(move || work(&world)).await;
            worked.unwrap_or_else(|e| Err(format!("it broke off: {e}")))
        }
        .boxed()
    }
}

impl World for AddonWorld {
    fn now(&self) -> Moment {
        // 53 random bits make a uniform share (the mantissa of an f64).
        let chance = (uuid::Uuid::new_v4().as_u128() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64;
        Moment { boot: clock::boot_time(), wall: clock::wall_time(), chance }
    }

    fn operation_id(&self) -> OperationId {
        OperationId(uuid::Uuid::now_v7().to_string())
    }

    fn resolve(&self, body: Value) -> BoxFuture<'static, Result<Resolved, Refusal>> {
        let resolved = self.off_the_runtime(move |world| Ok(world.resolved(body)));
        let field = workload(self.addon);
        async move { resolved.await.map_err(|detail| Refusal::Unusable { field: field.into(), detail }) }.boxed()
    }

    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        let (recalled, world) = (self.saver.recall(), self.clone());
        async move {
            let recalled = recalled.await?;
            let boot = BootId::current().map_err(|e| format!("cannot tell this boot from others: {e}"))?;
            let config = match recalled.config {
                None => None,
                Some(body) => Some(world.off_the_runtime(move |world| Ok(world.resolved(body))).await?),
            };
            Ok(Recollection { boot: boot.to_string(), memory: recalled.memory, config, crashes: recalled.crashes })
        }
        .boxed()
    }

    fn save(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), String>> {
        self.saver.save(records)
    }

    fn prepare(&self, config: Arc<Resolved>, _: Progress) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, String>> {
        failpoint::reach("agent.before_addon");
        self.off_the_runtime(move |world| world.prepared(&config))
    }

    fn ports_freed(&self, ports: Vec<u16>, within: Duration) -> BoxFuture<'static, Result<(), String>> {
        ports_freed(ports, within).boxed()
    }

    fn probe(&self, probing: Probing) -> BoxFuture<'static, Answer> {
        self.prober.clone().ask(probing).boxed()
    }

    fn players(&self, _: Arc<WorkloadSpec>) -> BoxFuture<'static, Option<Players>> {
        ready(None).boxed()
    }

    fn classify(&self, ended: Ended) -> BoxFuture<'static, CrashReport> {
        let secrets = self.settings.token.iter().map(|token| token.0.clone()).collect();
        self.judge.clone().classify(ended, secrets).boxed()
    }

    fn note_good_start(&self, _: RunId, spec: Arc<WorkloadSpec>) -> BoxFuture<'static, ()> {
        self.judge.clone().note_good_start(spec).boxed()
    }

    /// None of them reads a console, and no rung of a stop ladder types anything.
    fn say(&self, _: RunId, _: Arc<WorkloadSpec>, _: String) -> BoxFuture<'static, Result<(), String>> {
        ready(Err("it reads no console input".into())).boxed()
    }

    fn keeping(&self) -> &dyn Keeping {
        &self.keeper
    }

    fn output(&self) -> &dyn Output {
        &*self.console
    }
}
