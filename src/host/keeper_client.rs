//! The agent's hold on one workload, through the keeper that really holds it.
//!
//! ```text
//!   actor ── launch, input, signal ──► KeeperClient ── orders ──► keeper ── PTY, wait ──► workload
//!     ▲                                     │ ▲                     │
//!     └──────────── EventSink ──────────────┘ └────── reports ──────┘      console: ConsoleLog reads the keeper's files
//! ```
//! Promises: an order is written to the socket before the verb returns; a report goes from the socket to the sink
//! without another hop; at most one keeper a workload (it locks its folder); a run survives the agent, and it survives
//! its keeper as long as the agent lives; a tree kill works whatever became of the keeper; a signal never hits a process
//! that is not the run's. Not done here: when to start, stop or retry. That is policy.
use super::{
    cgroup::{Figures, Places, WorkloadCgroup},
    console_log::ConsoleLog,
    failpoint,
    keeping::{Alive, Discovery, EventSink, Keeping, KeepingError},
};
use crate::{
    keeper::{
        layout,
        protocol::{Order, Scope},
    },
    model::{ids::RunId, snapshot::Warning, workload::WorkloadSpec},
};
use accounts::Accounts;
use bytes::Bytes;
use folder::Folder;
use futures_util::future::{BoxFuture, FutureExt, ready};
use held::Held;
use link::Link;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::AbortHandle, time::timeout};

mod accounts;
mod bell;
mod connection;
mod discovery;
mod exits;
mod folder;
mod force;
mod held;
mod launch;
mod link;
mod reports;
mod rescue;
mod spawn;
mod start;

/// A program that has read nothing for this long does not read.
const INPUT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest input in one order.
const MOST_INPUT: usize = 256 << 10;

/// Everything about one workload's keepers that does not change during the agent's life.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Folder-safe name of the workload: lower-case letters, digits and `-`, e.g. `game`, `code-server`, `shell-3`.
    pub name: String,
    /// The agent's root folder.
    pub root: PathBuf,
    /// The zlh binary to start keepers from. Not `/proc/self/exe`: after an upgrade that is a deleted file.
    pub binary: PathBuf,
    /// An idle keeper of another build is replaced before a launch.
    pub build: String,
    /// No line editing and no echo by the terminal (games); shells want both.
    pub raw: bool,
    /// Size of the terminal until somebody resizes it.
    pub columns: u16,
    pub rows: u16,
    /// Bytes of console output kept on disk.
    pub log_bytes: u64,
    /// RLIMIT_NOFILE of the workload.
    pub max_files: u64,
    /// What outlives the main process is let live: people's sessions, which a server that is restarted does not need.
    pub leave_rest: bool,
    /// Short of memory, one process of the workload is killed rather than all of it (cgroup v2).
    pub dies_piecemeal: bool,
    /// Environment of the keeper itself (not of the workload). Empty outside of tests.
    pub keeper_env: Vec<(String, String)>,
}

impl Plan {
    /// A game's keepers with the product's defaults, made by this build.
    pub fn new(name: &str, root: &Path, binary: &Path) -> Plan {
        Plan {
            name: name.to_owned(),
            root: root.to_owned(),
            binary: binary.to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            raw: true,
            columns: 200,
            rows: 24,
            log_bytes: 8 << 20,
            max_files: 65_536,
            leave_rest: false,
            dies_piecemeal: false,
            keeper_env: Vec::new(),
        }
    }

    fn keeper_dir(&self) -> PathBuf {
        keeper_dir(&self.root, &self.name)
    }

    fn log_dir(&self) -> PathBuf {
        console_dir(&self.root, &self.name)
    }

    /// Two agents with different roots may share one cgroup tree, and must not share groups.
    fn cgroup_name(&self) -> String {
        match self.root == Path::new("/") {
            true => self.name.clone(),
            false => {
                format!("{}-{:08x}", self.name, crc32fast::hash(self.root.as_os_str().as_encoded_bytes()))
            }
        }
    }
}

/// Where the keeper of this workload has its socket, lock and state.
pub fn keeper_dir(root: &Path, name: &str) -> PathBuf {
    root.join("run/zlh/k").join(name)
}

/// Where the workload's console is kept.
pub fn console_dir(root: &Path, name: &str) -> PathBuf {
    root.join("opt/zlh-agent/state/console").join(name)
}

/// Implements [`Keeping`] with real keepers; clones are the same hold. When the last one is dropped the connection is
/// closed: a keeper with a run keeps it, an idle one leaves.
#[derive(Clone)]
pub struct KeeperClient {
    core: Arc<Core>,
    /// The connection's task holds the core too, so the clients are counted on their own.
    _hold: Arc<Hold>,
}

struct Hold(Arc<Core>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

/// What all tasks of one client share. Locks are held for a few instructions, never across an await.
struct Core {
    plan: Plan,
    folder: Folder,
    log: ConsoleLog,
    places: Places,
    link: Mutex<Option<Arc<Link>>>,
    /// The task that hears the current link.
    listener: Mutex<Option<AbortHandle>>,
    held: Mutex<Held>,
    prepared: Mutex<Prepared>,
    /// Who connects, spawns or rescues does so alone.
    turn: tokio::sync::Mutex<()>,
    /// A run or its tree has ended.
    ended: Notify,
}

/// A keeper writes after 64 KiB at the latest; only a disk that refuses lets more than this wait.
const UNWRITTEN: u64 = 128 << 10;

impl Core {
    fn unwritten(&self) -> Option<Warning> {
        let state = self.log.state()?;
        let waiting = state.head().saturating_sub(state.on_disk());
        (waiting > UNWRITTEN).then(|| {
            let folder = self.plan.log_dir();
            let message = format!(
                "console output cannot be written to {}: only its newest {} KiB can be read; is the disk full or read-only?",
                folder.display(),
                layout::RING_BYTES >> 10
            );
            Warning { code: "console_not_saved".into(), message }
        })
    }
}

/// What launches reuse.
struct Prepared {
    accounts: Accounts,
    cgroup: Option<WorkloadCgroup>,
    size: (u16, u16),
}

impl KeeperClient {
    /// Touches nothing yet.
    pub fn new(plan: Plan) -> Result<KeeperClient, KeepingError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if plan.name.is_empty() || !plan.name.chars().all(plain) {
            let rule = "use lower-case letters, digits and -";
            return Err(KeepingError::Environment(format!("{:?} cannot name a workload: {rule}", plan.name)));
        }
        if !plan.root.is_absolute() {
            return Err(KeepingError::Environment(format!("the root {} is not absolute", plan.root.display())));
        }
        let log = ConsoleLog::new(&plan.keeper_dir(), &plan.log_dir());
        let prepared = Prepared { accounts: Accounts::default(), cgroup: None, size: (plan.columns, plan.rows) };
        let core = Core {
            folder: Folder::new(plan.keeper_dir()),
            log,
            // Without /proc there are no cgroups either; what is missing is warned about at the first launch.
            places: Places::of_this_process().unwrap_or_default(),
            link: Mutex::default(),
            listener: Mutex::default(),
            held: Mutex::default(),
            prepared: Mutex::new(prepared),
            turn: tokio::sync::Mutex::default(),
            ended: Notify::new(),
            plan,
        };
        let core = Arc::new(core);
        Ok(KeeperClient { _hold: Arc::new(Hold(core.clone())), core })
    }

    /// The workload's console, readable in every state.
    pub fn console(&self) -> ConsoleLog {
        self.core.log.clone()
    }

    /// What this machine could not give the workload, known after the first launch, and a disk that takes no console.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings =
            self.core.prepared().cgroup.as_ref().map_or_else(Vec::new, |group| group.warnings().to_vec());
        warnings.extend(self.core.unwritten());
        warnings
    }

    /// Sends a signal to the main process, if it lives.
    pub fn nudge(&self, signal: i32) -> Result<(), KeepingError> {
        let live = self.core.held().live.as_ref().map(|live| live.alive.run);
        live.map_or(Ok(()), |run| self.core.send_signal(run, signal, Scope::Leader))
    }

    /// Ends what earlier runs left behind and was let live; nothing where a run is alive.
    pub async fn end_rest(&self) {
        let last = {
            let held = self.core.held();
            if held.live.is_some() {
                return;
            }
            held.last.as_ref().map(|exit| exit.run)
        };
        if let (Some(link), Some(run)) = (self.core.link(), last) {
            // A keeper that is gone has no descendants; the cgroup still has its processes.
            _ = link.send(&Order::Signal { run: run.0, signal: 9, scope: Scope::Tree });
        }
        self.core.kill_strays().await;
    }

    /// What the workload uses now; empty figures before anything was launched.
    pub fn figures(&self) -> Figures {
        self.core.cgroup().figures()
    }

    /// One line for `doctor`: where the workload's cgroups are.
    pub fn describe_cgroup(&self) -> String {
        format!("{}: {}", self.core.places.kind(), self.core.cgroup().describe())
    }
}

impl Core {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepared(&self) -> MutexGuard<'_, Prepared> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> Option<Arc<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_link(&self, link: Option<Arc<Link>>) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    fn set_listener(&self, task: Option<AbortHandle>) -> Option<AbortHandle> {
        std::mem::replace(&mut self.listener.lock().unwrap_or_else(PoisonError::into_inner), task)
    }

    fn hang_up(&self) {
        self.set_link(None);
        if let Some(listener) = self.set_listener(None) {
            listener.abort();
        }
    }

    /// The link to a keeper of our own build, to which an order can go at once.
    fn current_link(&self) -> Option<Arc<Link>> {
        self.link().filter(|link| link.build == self.plan.build)
    }

    fn send(&self, order: &Order) -> Result<(), KeepingError> {
        match self.link() {
            Some(link) => link.send(order),
            None => Err(KeepingError::Link("there is none".into())),
        }
    }

    /// The workload's cgroup: ours, or what an earlier agent left.
    fn cgroup(&self) -> WorkloadCgroup {
        let ours = self.prepared().cgroup.clone();
        ours.unwrap_or_else(|| WorkloadCgroup::existing(&self.places, &self.plan.cgroup_name()))
    }
}

impl Keeping for KeeperClient {
    fn discover(&self, sink: EventSink) -> BoxFuture<'static, Result<Discovery, KeepingError>> {
        let core = self.core.clone();
        async move { core.discover(sink).await }.boxed()
    }

    fn launch(
        &self,
        run: RunId,
        spec: &WorkloadSpec,
        sink: EventSink,
    ) -> BoxFuture<'static, Result<Alive, KeepingError>> {
        let core = self.core.clone();
        let begun = core.begin_launch(run, spec, sink);
        async move { core.finish_launch(begun?).await }.boxed()
    }

    fn input(&self, run: RunId, bytes: Bytes) -> BoxFuture<'static, Result<u64, KeepingError>> {
        let sent = self.core.send_input(run, &bytes);
        async move {
            match timeout(INPUT_TIMEOUT, sent?).await {
                Ok(taken) => taken.map_err(|_| KeepingError::NotAlive(run)),
                Err(_) => Err(KeepingError::Environment("the workload does not read its input".into())),
            }
        }
        .boxed()
    }

    fn permit(&self, next: Option<(RunId, &WorkloadSpec)>) {
        match next {
            Some((run, spec)) => self.core.permit_launch(run, spec),
            None => self.core.withdraw_permit(),
        }
    }

    fn resize(&self, columns: u16, rows: u16) {
        // What waits has a terminal of the old size.
        self.core.withdraw_permit();
        self.core.prepared().size = (columns, rows);
        // Without a keeper, or without a run, the next launch has the new size.
        if self.core.held().live.is_some() {
            let _ = self.core.send(&Order::Resize { columns, rows });
        }
    }

    fn signal(&self, run: RunId, signal: i32, scope: Scope) -> BoxFuture<'static, Result<(), KeepingError>> {
        let core = self.core.clone();
        failpoint::reach("agent.before_signal");
        let sent = core.send_signal(run, signal, scope);
        failpoint::reach("agent.after_signal");
        match scope {
            Scope::Leader | Scope::Group => ready(sent).boxed(),
            Scope::Tree => async move { core.force(run, sent).await }.boxed(),
        }
    }

    fn retire(&self) -> BoxFuture<'static, ()> {
        let core = self.core.clone();
        failpoint::reach("agent.before_retire");
        async move { core.retire().await }.boxed()
    }
}
