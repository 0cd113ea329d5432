//! What the CodeServerActor asks of others, answered by this machine.
use super::{adopting::Adopting, surroundings};
use crate::{
    actors::game_server::world::{Output, Progress, World},
    cli::agent::{
        judging::Judge,
        probing::{Prober, ports_freed},
        saving::Saver,
        world::{MachineConsole, keeper_plan},
    },
    host::{
        accounts::{self, Account, person},
        clock::{self, BootId},
        code_server, dev_home, failpoint,
        keeper_client::{KeeperClient, Plan},
        keeping::{Keeping, KeepingError},
        store::{Store, StoreError},
    },
    model::{
        crash::CrashReport,
        dev::USER,
        ids::{OperationId, RunId},
        refusal::Refusal,
        settings::Settings,
        snapshot::Players,
        workload::WorkloadSpec,
    },
    policy::{
        code_server::{self as rules, Judged, NAME, Place, SHELF},
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
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const REPAIR: &str = "send the container's /config again: it repairs what is installed";

#[derive(Clone)]
pub struct Editor {
    settings: Arc<Settings>,
    /// Absolute.
    root: PathBuf,
    keeping: Adopting,
    console: Arc<MachineConsole>,
    prober: Prober,
    judge: Judge,
    saver: Saver,
}

/// The keeper that holds the editor.
pub fn keeper(settings: &Settings) -> Result<KeeperClient, KeepingError> {
    let plan = keeper_plan(settings, NAME).map_err(|e| KeepingError::Spawn(e.to_string()))?;
    KeeperClient::new(Plan { log_bytes: settings.terminal.scrollback_bytes, dies_piecemeal: true, ..plan })
}

impl Editor {
    /// Needs a tokio runtime.
    pub fn new(settings: Arc<Settings>, keeper: KeeperClient) -> Result<Editor, StoreError> {
        let folder = settings.root.join("opt/zlh-agent/state").join(NAME);
        let root = std::path::absolute(&settings.root).unwrap_or_else(|_| settings.root.clone());
        let saver = Saver::start(&folder, settings.limits.crashes_kept)?;
        let (console, records) = (keeper.console(), Store::open(folder)?);
        let keeping = Adopting::new(keeper, records.clone(), root.join(SHELF), settings.codeserver.port);
        Ok(Editor {
            prober: Prober::new(console.clone(), settings.ready.timeout),
            judge: Judge::new(console.clone(), records, &settings),
            console: Arc::new(MachineConsole(console)),
            settings,
            root,
            keeping,
            saver,
        })
    }

    /// As this machine is now. What is not installed (yet) has the place it will have.
    fn resolved(&self, body: Value) -> Result<Resolved, String> {
        let shelf = self.root.join(SHELF);
        let install = code_server::installed(&shelf).map_err(|e| format!("{}: {e}", shelf.display()))?;
        let shell = person::shell(USER).map_err(|e| e.to_string())?.display().to_string();
        let place = Place {
            install: install.unwrap_or_else(|| shelf.join("current")),
            workspace: dev_home::places(&self.root).1,
            env: surroundings::of(&self.root)?.launch(&shell),
            user: nix::unistd::geteuid().is_root().then(|| USER.to_owned()),
        };
        let mut resolved = rules::resolved(body, place, &self.settings);
        let memory_bytes = surroundings::memory_limit(&self.root);
        resolved.spec = Arc::new(WorkloadSpec { memory_bytes, ..(*resolved.spec).clone() });
        Ok(resolved)
    }

    /// Looks whether all is there that a start needs; installs nothing.
    fn prepared(&self, config: &Resolved) -> Result<Arc<WorkloadSpec>, String> {
        rules::check_port(self.settings.codeserver.port, self.settings.listen.port())?;
        self.whole()?;
        let account = account()?;
        let (home, workspace) = dev_home::places(&self.root);
        if !workspace.is_dir() {
            return Err(format!("{} is not there; send the container's /config again", workspace.display()));
        }
        mend_config(&home, &account);
        let now = self.resolved(config.body.clone())?.spec;
        Ok(if *now == *config.spec { config.spec.clone() } else { now })
    }

    fn whole(&self) -> Result<(), String> {
        let shelf = self.root.join(SHELF);
        let install = code_server::installed(&shelf).map_err(|e| format!("{}: {e}", shelf.display()))?;
        let install = install.ok_or_else(|| format!("{NAME} is not installed in {}; {REPAIR}", shelf.display()))?;
        let missing = code_server::missing(&install);
        match missing.first() {
            None => Ok(()),
            Some(path) => Err(format!("{NAME} is damaged: {} is missing; {REPAIR}", path.display())),
        }
    }
}

fn account() -> Result<Account, String> {
    let found = match nix::unistd::geteuid().is_root() {
        true => accounts::look_up(USER),
        false => accounts::own().map(Some),
    };
    found
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("account {USER} is gone; send the container's /config again"))
}

/// What keeps the editor from coming up is taken out of its own configuration. Where that cannot be done the editor says
/// itself what is wrong.
fn mend_config(home: &Path, account: &Account) {
    if let Err(why) = mended(home, account) {
        tracing::warn!(%why, "the editor's config.yaml could not be looked at");
    }
}

fn mended(home: &Path, account: &Account) -> io::Result<()> {
    let Some(text) = code_server::read_config(home, account)? else { return Ok(()) };
    match rules::judge(&text) {
        Judged::Sound => Ok(()),
        Judged::Repaired { text, removed } => {
            tracing::warn!(?removed, "lines of the editor's config.yaml that keep it from starting were taken out");
            code_server::write_config(home, account, &text)
        }
        Judged::Broken(why) => {
            let kept = code_server::set_config_aside(home, account)?;
            tracing::warn!(why, kept = %kept.display(), "the editor's config.yaml is broken and was set aside");
            Ok(())
        }
    }
}

fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> BoxFuture<'static, Result<T, String>> {
    async move { tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(format!("it broke off: {e}"))) }.boxed()
}

impl World for Editor {
    fn now(&self) -> Moment {
        // 53 random bits make a uniform share (the mantissa of an f64).
        let chance = (uuid::Uuid::new_v4().as_u128() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64;
        Moment { boot: clock::boot_time(), wall: clock::wall_time(), chance }
    }

    fn operation_id(&self) -> OperationId {
        OperationId(uuid::Uuid::now_v7().to_string())
    }

    fn resolve(&self, body: Value) -> BoxFuture<'static, Result<Resolved, Refusal>> {
        let editor = self.clone();
        let resolved = off_the_runtime(move || editor.resolved(body));
        async move { resolved.await.map_err(|detail| Refusal::Unusable { field: NAME.into(), detail }) }.boxed()
    }

    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        let (recalled, editor) = (self.saver.recall(), self.clone());
        async move {
            let recalled = recalled.await?;
            let boot = BootId::current().map_err(|e| format!("cannot tell this boot from others: {e}"))?;
            let config = match recalled.config {
                None => None,
                Some(body) => Some(off_the_runtime(move || editor.resolved(body)).await?),
            };
            Ok(Recollection { boot: boot.to_string(), memory: recalled.memory, config, crashes: recalled.crashes })
        }
        .boxed()
    }

    fn save(&self, records: Vec<Record>) -> BoxFuture<'static, Result<(), String>> {
        self.saver.save(records)
    }

    fn prepare(&self, config: Arc<Resolved>, _: Progress) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, String>> {
        failpoint::reach("agent.before_editor");
        let editor = self.clone();
        off_the_runtime(move || editor.prepared(&config))
    }

    /// One that runs already and can be adopted holds its port rightly.
    fn ports_freed(&self, ports: Vec<u16>, within: Duration) -> BoxFuture<'static, Result<(), String>> {
        let found = self.keeping.find();
        async move {
            match found.await {
                Some(_) => Ok(()),
                None => ports_freed(ports, within).await,
            }
        }
        .boxed()
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

    /// It has no console input, and no rung of its stop ladder types anything.
    fn say(&self, _: RunId, _: Arc<WorkloadSpec>, _: String) -> BoxFuture<'static, Result<(), String>> {
        ready(Err("the editor reads no console input".into())).boxed()
    }

    fn keeping(&self) -> &dyn Keeping {
        &self.keeping
    }

    fn output(&self) -> &dyn Output {
        &*self.console
    }
}
