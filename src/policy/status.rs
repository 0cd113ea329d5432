//! The fold: what each actor says about itself becomes the one status everybody reads (CONTRACT §1.4).
mod addons;
mod dev;

use crate::{
    model::{
        activity::Activity,
        container::Kind,
        crash::CrashReport,
        dev::Addon,
        ids::{InstanceId, OperationId, Revision},
        operation::{Operation, OperationKind},
        phase::State,
        snapshot::{Players, Snapshot, Usage, Warning},
        time::{BootTime, WallTime},
    },
    policy::{backup::BackupPart, game_server::memory::LastCrash, installer::InstallPart},
};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// What never changes within a life of the agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// What the agent was told by its own settings; else the saved configuration says it.
    pub vmid: Option<u32>,
    pub instance: InstanceId,
    pub agent_version: String,
    /// What the saved configuration says it is, before anybody has read it.
    pub kind: Option<Kind>,
}

/// Everything the status is made of, each part from its own source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    pub identity: Identity,
    pub game: GamePart,
    /// The same words about the editor of a dev container.
    pub code_server: GamePart,
    /// And about the other addons, as far as anything was said.
    pub addons: BTreeMap<Addon, GamePart>,
    pub dev: DevPart,
    /// How the editor is used, while somebody looks.
    pub activity: Option<Activity>,
    pub install: InstallPart,
    pub update: UpdatePart,
    pub backup: BackupPart,
    pub usage: Usage,
    /// What the machine cannot give.
    pub machine: Vec<Warning>,
}

/// What the UpdaterActor says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdatePart {
    /// It does not know yet what was ordered in earlier lives.
    pub recovering: bool,
    pub warnings: Vec<Warning>,
    /// Newest first.
    pub operations: Arc<Vec<Operation>>,
}

/// What the GameServerActor says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GamePart {
    /// It does not know yet what survived; what it said before stays shown.
    pub recovering: bool,
    pub configured: bool,
    pub state: State,
    /// Who wanted it to be down, if it is so because somebody wanted it.
    pub stopped_by: Option<String>,
    pub process: Option<ProcessPart>,
    /// That the process was launched to listen on.
    pub ports: Vec<u16>,
    /// Proven, and still answering.
    pub ready: bool,
    pub ready_source: String,
    pub ready_error: String,
    pub last_ready_at: Option<WallTime>,
    pub install_step: String,
    pub install_progress: Option<f64>,
    pub provisioned: bool,
    pub provisioning_error: Option<String>,
    pub crash_count: u64,
    pub last_crash: Option<LastCrash>,
    pub restart_attempt: u32,
    pub next_restart_at: Option<WallTime>,
    pub server_root: Option<String>,
    pub operation: Option<OperationPart>,
    pub players: Option<Players>,
    pub warnings: Vec<Warning>,
    pub error: Option<String>,
    /// Without secrets.
    pub config: Option<serde_json::Value>,
    /// Newest first.
    pub operations: Arc<Vec<Operation>>,
    pub crashes: Arc<Vec<Arc<CrashReport>>>,
}

/// What the DevProvisionActor says. Once it is configured, the container is a dev container and this is its state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DevPart {
    /// It does not know yet what its predecessor did; what that said stays shown.
    pub recovering: bool,
    pub configured: bool,
    pub state: State,
    pub install_step: String,
    pub install_progress: Option<f64>,
    pub runtime_installed: bool,
    pub provisioned: bool,
    pub ready_at: Option<WallTime>,
    /// Why the set-up failed.
    pub failure: Option<String>,
    pub workspace: Option<String>,
    pub operation: Option<OperationPart>,
    pub warnings: Vec<Warning>,
    /// Without secrets.
    pub config: Option<serde_json::Value>,
    /// Newest first.
    pub operations: Arc<Vec<Operation>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessPart {
    pub pid: i32,
    pub started: BootTime,
    pub started_at: WallTime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OperationPart {
    pub id: OperationId,
    pub kind: OperationKind,
    pub started_at: WallTime,
    pub message: String,
}

impl Parts {
    /// A reborn actor says nothing false: until it knows, its predecessor's words stand, only no longer as ready.
    pub fn take_game(&mut self, part: GamePart) {
        match part.recovering {
            true => (self.game.recovering, self.game.ready) = (true, false),
            false => self.game = part,
        }
    }

    /// The same for the editor's part.
    pub fn take_code_server(&mut self, part: GamePart) {
        match part.recovering {
            true => (self.code_server.recovering, self.code_server.ready) = (true, false),
            false => self.code_server = part,
        }
    }

    /// The same for the other addons' parts.
    pub fn take_addon(&mut self, addon: Addon, part: GamePart) {
        let shown = self.addons.entry(addon).or_default();
        match part.recovering {
            true => (shown.recovering, shown.ready) = (true, false),
            false => *shown = part,
        }
    }

    /// The one workload of this container.
    pub fn supervised(&self) -> &GamePart {
        match self.kind() {
            Kind::Game => &self.game,
            Kind::Dev => &self.code_server,
        }
    }

    /// The workload's main process, if it lives.
    pub fn process(&self) -> Option<ProcessPart> {
        self.supervised().process
    }

    /// The same for the dev container's part.
    pub fn take_dev(&mut self, part: DevPart) {
        match part.recovering {
            true => self.dev.recovering = true,
            false => self.dev = part,
        }
    }

    pub fn kind(&self) -> Kind {
        if self.dev.configured || self.identity.kind == Some(Kind::Dev) { Kind::Dev } else { Kind::Game }
    }

    /// Somebody who remembers what was ordered in earlier lives has not found it out yet.
    pub fn are_recovering(&self) -> bool {
        let workload = match self.kind() {
            Kind::Game => self.game.recovering,
            Kind::Dev => self.dev.recovering || self.code_server.recovering,
        };
        workload || self.update.recovering
    }

    fn workload_operations(&self) -> &Arc<Vec<Operation>> {
        match self.kind() {
            Kind::Game => &self.game.operations,
            Kind::Dev => &self.dev.operations,
        }
    }
}

/// One row of `/ready`: what is looked at, whether it holds, and why not.
pub type Finding = (&'static str, bool, String);

/// The snapshot of this moment, without a revision.
pub fn fold(parts: &Parts, now: (BootTime, WallTime)) -> Snapshot {
    let mut s = Snapshot { usage: parts.usage.clone(), timestamp: now.1.0.div_euclid(1000), ..Snapshot::default() };
    fold_identity(&mut s, parts);
    match parts.kind() {
        Kind::Game => fold_game(&mut s, &parts.game, now.0),
        Kind::Dev => {
            dev::fold(&mut s, parts, now.0);
            addons::fold(&mut s, &parts.addons);
        }
    }
    fold_install(&mut s, &parts.install);
    fold_operation(&mut s, parts.backup.operation.as_ref());
    s.warnings.extend(parts.backup.warnings.iter().cloned());
    s.warnings.extend(parts.machine.iter().chain(&parts.update.warnings).cloned());
    s
}

fn fold_identity(s: &mut Snapshot, parts: &Parts) {
    let identity = &parts.identity;
    let config = parts.dev.config.as_ref().or(parts.game.config.as_ref());
    let configured = || u32::try_from(config?.get("vmid")?.as_u64()?).ok();
    s.vmid = identity.vmid.or_else(configured).unwrap_or_default();
    s.container_type = parts.kind().as_str().into();
    s.instance_id = identity.instance.clone();
    s.agent_version = identity.agent_version.clone();
}

fn fold_game(s: &mut Snapshot, game: &GamePart, now: BootTime) {
    fold_process(s, game, now);
    fold_readiness(s, game);
    fold_crash(s, game);
    fold_operation(s, game.operation.as_ref());
    fold_config(s, game);
}

fn fold_process(s: &mut Snapshot, game: &GamePart, now: BootTime) {
    s.state = game.state;
    s.process_running = game.process.is_some();
    s.pid = game.process.map(|p| p.pid);
    s.started_at = game.process.map(|p| p.started_at);
    s.uptime_seconds = game.process.map_or(0, |p| now.since(p.started).as_secs());
    s.players = game.players.clone();
}

fn fold_readiness(s: &mut Snapshot, game: &GamePart) {
    s.ready = game.ready;
    s.ready_source = game.ready_source.clone();
    s.ready_error = game.ready_error.clone();
    s.last_ready_at = game.last_ready_at;
}

fn fold_crash(s: &mut Snapshot, game: &GamePart) {
    s.crash_count = game.crash_count;
    s.restart_attempt = game.restart_attempt;
    s.next_restart_at = game.next_restart_at;
    let Some(crash) = &game.last_crash else { return };
    s.last_crash_time = Some(crash.time);
    s.last_crash_exit_code = crash.exit_code;
    s.last_crash_signal = crash.signal;
    s.last_crash_uptime_seconds = Some(crash.uptime_seconds);
    s.last_crash_classification = crash.classification;
    s.last_crash_reason = crash.reason.clone();
    s.last_crash_log_tail = crash.log_tail.clone();
}

fn fold_operation(s: &mut Snapshot, operation: Option<&OperationPart>) {
    let Some(operation) = operation else { return };
    s.operation_in_progress = true;
    s.operation_type = Some(operation.kind);
    s.operation_id = Some(operation.id.clone());
    s.operation_started_at = Some(operation.started_at);
    s.operation_message = Some(operation.message.clone()).filter(|m| !m.is_empty());
}

fn fold_config(s: &mut Snapshot, game: &GamePart) {
    s.install_step = game.install_step.clone();
    s.install_progress = game.install_progress;
    s.provisioning_complete = game.provisioned;
    s.runtime_installed = game.provisioned;
    s.provisioning_error = game.provisioning_error.clone();
    s.server_root = game.server_root.clone();
    s.warnings = game.warnings.clone();
    s.error = game.error.clone();
    s.config = game.config.clone().unwrap_or_else(|| serde_json::json!({}));
}

/// The workload's own step comes first: it mirrors what it waits for.
fn fold_install(s: &mut Snapshot, install: &InstallPart) {
    if s.install_step.is_empty() {
        s.install_step = install.step.clone();
        s.install_progress = install.progress;
    }
    s.runtimes = install.runtimes.clone();
    s.warnings.extend(install.warnings.iter().cloned());
}

/// Newest first: ids sort by time. Each part bounds its own.
pub fn all_operations(parts: &Parts) -> Arc<Vec<Operation>> {
    let workload = parts.workload_operations();
    let editor = &parts.code_server.operations;
    let others = [&parts.install.operations, editor, &parts.backup.operations, &parts.update.operations];
    let others = others.into_iter().chain(parts.addons.values().map(|part| &part.operations));
    let mut others = others.flat_map(|operations| operations.iter()).peekable();
    if others.peek().is_none() {
        return workload.clone();
    }
    let mut all: Vec<Operation> = workload.iter().chain(others).cloned().collect();
    all.sort_by(|a, b| b.id.cmp(&a.id));
    Arc::new(all)
}

/// Newest first; of the workload and, in a dev container, of each addon, each bounded by `limits.crashes_kept`.
pub fn all_crashes(parts: &Parts) -> Arc<Vec<Arc<CrashReport>>> {
    let own = &parts.supervised().crashes;
    let mut addons = parts.addons.values().flat_map(|part| part.crashes.iter()).peekable();
    if addons.peek().is_none() {
        return own.clone();
    }
    let mut all: Vec<_> = own.iter().chain(addons).cloned().collect();
    all.sort_by_key(|crash| Reverse(crash.time));
    Arc::new(all)
}

/// May this revision stand for that moment? Its number and the time it was made do not count as a change.
pub fn says_the_same(shown: &Snapshot, fresh: &Snapshot) -> bool {
    let mut fresh = fresh.clone();
    (fresh.revision, fresh.timestamp) = (shown.revision, shown.timestamp);
    *shown == fresh
}

pub fn revise(shown: Revision, mut fresh: Snapshot) -> Snapshot {
    fresh.revision = Revision(shown.0 + 1);
    fresh
}

/// What `/ready` looks at, in order; ready is when all hold.
pub fn findings(parts: &Parts) -> Vec<Finding> {
    let rows = match parts.kind() {
        Kind::Game => game_findings(&parts.game),
        Kind::Dev => dev::findings(&parts.dev),
    };
    rows.into_iter().map(|(name, ok, why)| (name, ok, if ok { String::new() } else { why })).collect()
}

fn game_findings(game: &GamePart) -> Vec<Finding> {
    let agent = ("agent", !game.recovering, "the agent is finding out what survived its predecessor".into());
    let config = ("config", game.configured, "no configuration was ever accepted".into());
    let install = game.provisioning_error.clone().unwrap_or_else(|| "the server is not installed yet".into());
    let workload = ("workload", game.state == State::Running, workload_detail(game));
    let probe = ("probe", game.ready, probe_detail(game));
    vec![agent, config, ("install", game.provisioned, install), workload, probe]
}

fn workload_detail(game: &GamePart) -> String {
    match &game.error {
        Some(error) => format!("the server is in state {}: {error}", game.state),
        None => format!("the server is in state {}", game.state),
    }
}

fn probe_detail(game: &GamePart) -> String {
    match game.ready_error.is_empty() {
        true => "not proven ready yet".into(),
        false => game.ready_error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: (BootTime, WallTime) = (BootTime(Duration::from_secs(100)), WallTime(1_234_567_890_123));

    fn running() -> GamePart {
        let process = ProcessPart { pid: 4121, started: BootTime(Duration::from_secs(58)), started_at: WallTime(0) };
        GamePart {
            configured: true,
            provisioned: true,
            state: State::Running,
            process: Some(process),
            ready: true,
            ready_source: "tcp".into(),
            ..GamePart::default()
        }
    }

    #[test]
    fn an_empty_agent_has_the_wire_types_clients_rely_on() {
        let json = serde_json::to_value(fold(&Parts::default(), NOW)).unwrap();
        assert_eq!(json["state"], "idle");
        assert_eq!(json["lastCrashSignal"], 0);
        assert_eq!(json["timestamp"], 1_234_567_890);
        assert_eq!((&json["readyError"], &json["installStep"]), (&"".into(), &"".into()));
        assert!(json["error"].is_null() && json["config"].is_object() && json["lastCrashLogTail"].is_array());
    }

    #[test]
    fn the_vmid_is_the_agents_own_else_the_configurations() {
        let mut parts = Parts::default();
        assert_eq!(fold(&parts, NOW).vmid, 0);
        parts.game.config = Some(serde_json::json!({"vmid": 5072}));
        assert_eq!(fold(&parts, NOW).vmid, 5072);
        parts.identity.vmid = Some(7);
        assert_eq!(fold(&parts, NOW).vmid, 7);
        (parts.identity.vmid, parts.game.config) = (None, Some(serde_json::json!({"vmid": -1})));
        assert_eq!(fold(&parts, NOW).vmid, 0);
    }

    #[test]
    fn time_alone_is_a_change_only_while_something_runs() {
        let later = (NOW.0 + Duration::from_secs(5), WallTime(NOW.1.0 + 5000));
        let idle = Parts::default();
        assert!(says_the_same(&revise(Revision(7), fold(&idle, NOW)), &fold(&idle, later)));
        let up = Parts { game: running(), ..Parts::default() };
        let (a, b) = (fold(&up, NOW), fold(&up, later));
        assert_eq!((a.uptime_seconds, b.uptime_seconds), (42, 47));
        assert!(!says_the_same(&a, &b));
    }

    #[test]
    fn what_the_machine_cannot_give_stands_among_the_warnings() {
        let warning = |code: &str| Warning { code: code.into(), message: "a sentence".into() };
        let game = GamePart { warnings: vec![warning("hang")], ..GamePart::default() };
        let parts = Parts { game, machine: vec![warning("cgroup_memory_unavailable")], ..Parts::default() };
        assert_eq!(fold(&parts, NOW).warnings, [warning("hang"), warning("cgroup_memory_unavailable")]);
    }

    #[test]
    fn a_reborn_actor_does_not_make_a_running_server_look_stopped() {
        let mut parts = Parts::default();
        parts.take_game(running());
        parts.take_game(GamePart { recovering: true, ..GamePart::default() });
        let s = fold(&parts, NOW);
        assert_eq!((s.state, s.process_running, s.ready), (State::Running, true, false));
        let failing: Vec<_> = findings(&parts).into_iter().filter(|f| !f.1).map(|f| f.0).collect();
        assert_eq!(failing, ["agent", "probe"]);
        parts.take_game(running());
        assert!(findings(&parts).iter().all(|f| f.1 && f.2.is_empty()));
    }
}
