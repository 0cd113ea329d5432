//! What the TerminalActor asks of others, answered by this machine.
use super::surroundings;
use crate::{
    actors::{held::Held, terminal::world::World},
    cli::agent::world::{MachineConsole, keeper_plan},
    host::{
        accounts::{self, person},
        clock, dev_home,
        keeper_client::{KeeperClient, Plan},
        shell_files,
    },
    model::{dev::USER, ids::RunId, refusal::Refusal, settings::Settings, workload::WorkloadSpec},
};
use futures_util::future::{BoxFuture, FutureExt};
use std::{path::PathBuf, sync::Arc};

/// Random bits below the milliseconds of a run id.
const CHANCE_BITS: u32 = 16;

#[derive(Clone)]
pub struct Shells {
    settings: Arc<Settings>,
    /// Absolute.
    root: PathBuf,
}

impl Shells {
    pub fn new(settings: Arc<Settings>) -> Shells {
        let root = std::path::absolute(&settings.root).unwrap_or_else(|_| settings.root.clone());
        Shells { settings, root }
    }

    fn plan(&self, session: &str) -> std::io::Result<Plan> {
        let terminal = &self.settings.terminal;
        Ok(Plan {
            raw: false,
            columns: terminal.columns,
            rows: terminal.rows,
            log_bytes: terminal.scrollback_bytes,
            dies_piecemeal: true,
            ..keeper_plan(&self.settings, &shell_files::workload(session))?
        })
    }

    /// A login shell of the account, in the workspace.
    fn spec(&self) -> Result<WorkloadSpec, Refusal> {
        let failed = |e: std::io::Error| Refusal::NoShell { detail: e.to_string() };
        let workspace = dev_home::places(&self.root).1;
        let user = match nix::unistd::geteuid().is_root() {
            true => Some(accounts::look_up(USER).map_err(failed)?.ok_or(Refusal::NotProvisioned)?.name),
            false => None,
        };
        if !workspace.is_dir() {
            return Err(Refusal::NotProvisioned);
        }
        let shell = person::shell(USER).map_err(failed)?.display().to_string();
        let of = surroundings::of(&self.root).map_err(|detail| Refusal::NoShell { detail })?;
        let argv = vec![shell.clone(), "-l".to_owned()];
        let max_processes = Some(self.settings.dev.max_processes);
        let memory_bytes = surroundings::memory_limit(&self.root);
        let plain = WorkloadSpec::plain("shell", argv, workspace, of.launch(&shell));
        Ok(WorkloadSpec { user, max_processes, memory_bytes, ..plain })
    }
}

impl World for Shells {
    fn fresh_run(&self) -> RunId {
        let chance = (uuid::Uuid::new_v4().as_u128() & ((1 << CHANCE_BITS) - 1)) as u64;
        RunId(((clock::wall_time().0.max(0) as u64) << CHANCE_BITS) | chance)
    }

    fn sessions(&self) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let root = self.root.clone();
        async move {
            let listed = tokio::task::spawn_blocking(move || shell_files::sessions(&root)).await;
            listed.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn hold(&self, session: &str) -> Result<Held, String> {
        let plan = self.plan(session).map_err(|e| format!("cannot find the program's own file: {e}"))?;
        let keeper = KeeperClient::new(plan).map_err(|e| e.to_string())?;
        let output = Arc::new(MachineConsole(keeper.console()));
        Ok(Held { keeping: Arc::new(keeper), output })
    }

    fn shell(&self) -> BoxFuture<'static, Result<Arc<WorkloadSpec>, Refusal>> {
        let shells = self.clone();
        async move {
            let made = tokio::task::spawn_blocking(move || shells.spec()).await;
            made.unwrap_or_else(|e| Err(Refusal::NoShell { detail: e.to_string() })).map(Arc::new)
        }
        .boxed()
    }

    fn forget(&self, session: &str, held: Held) -> BoxFuture<'static, Result<(), String>> {
        let (root, session) = (self.root.clone(), session.to_owned());
        async move {
            held.keeping.retire().await;
            let removed = tokio::task::spawn_blocking(move || shell_files::remove(&root, &session)).await;
            removed.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
        }
        .boxed()
    }
}
