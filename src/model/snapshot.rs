//! The body of `GET /status` (CONTRACT §1.4). Field names and types are what existing clients rely on.
use super::{
    activity::Activity,
    crash::Classification,
    ids::{InstanceId, OperationId, Revision},
    install::RuntimeState,
    operation::OperationKind,
    phase::State,
    time::WallTime,
};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub vmid: u32,
    /// `game` or `dev`.
    pub container_type: String,
    #[schema(value_type = String)]
    pub instance_id: InstanceId,
    #[schema(value_type = u64)]
    pub revision: Revision,
    pub agent_version: String,
    pub state: State,
    pub process_running: bool,
    pub pid: Option<i32>,
    #[schema(value_type = Option<String>)]
    pub started_at: Option<WallTime>,
    pub uptime_seconds: u64,
    pub ready: bool,
    /// The probe that proves readiness, empty if nothing was configured.
    pub ready_source: String,
    pub ready_error: String,
    #[schema(value_type = Option<String>)]
    pub last_ready_at: Option<WallTime>,
    pub install_step: String,
    pub install_progress: Option<f64>,
    pub provisioning_complete: bool,
    pub provisioning_error: Option<String>,
    pub crash_count: u64,
    #[schema(value_type = Option<String>)]
    pub last_crash_time: Option<WallTime>,
    pub last_crash_exit_code: Option<i32>,
    /// 0 = none.
    pub last_crash_signal: i32,
    pub last_crash_uptime_seconds: Option<u64>,
    pub last_crash_classification: Option<Classification>,
    pub last_crash_reason: Option<String>,
    pub last_crash_log_tail: Vec<String>,
    pub restart_attempt: u32,
    #[schema(value_type = Option<String>)]
    pub next_restart_at: Option<WallTime>,
    pub runtime_installed: bool,
    pub dev_provisioned: bool,
    #[schema(value_type = Option<String>)]
    pub dev_ready_at: Option<WallTime>,
    pub workspace_root: Option<String>,
    pub server_root: Option<String>,
    pub code_server_installed: bool,
    pub code_server_running: bool,
    pub code_server_port: Option<u16>,
    /// The other addons of a dev container that were ever wanted.
    pub addons: Vec<AddonState>,
    /// The editor's own, where it was ever installed: `state` says how the set-up is.
    pub code_server_state: Option<State>,
    /// Of the editor with all that it started, as `usage` has it.
    pub code_server_memory_bytes: Option<u64>,
    /// While `codeserver.idle_stop` is set and it is up.
    pub code_server_activity: Option<Activity>,
    /// It is down because nobody used it.
    pub code_server_idle_stopped: bool,
    pub runtimes: Vec<RuntimeState>,
    pub operation_in_progress: bool,
    pub operation_type: Option<OperationKind>,
    #[schema(value_type = Option<String>)]
    pub operation_id: Option<OperationId>,
    #[schema(value_type = Option<String>)]
    pub operation_started_at: Option<WallTime>,
    pub operation_message: Option<String>,
    pub maintenance: bool,
    pub usage: Usage,
    pub players: Option<Players>,
    pub warnings: Vec<Warning>,
    pub error: Option<String>,
    /// The saved config without secrets.
    pub config: serde_json::Value,
    /// Unix seconds at which this revision was made.
    pub timestamp: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
    pub disk_used_bytes: u64,
    pub disk_free_bytes: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Players {
    pub online: u32,
    pub max: u32,
    /// Sample of names, if the server tells.
    pub players: Vec<String>,
}

/// An addon of a dev container that runs beside the editor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddonState {
    /// As in `/config`.
    pub name: String,
    pub state: State,
    /// Proven, and still answering.
    pub running: bool,
    pub pid: Option<i32>,
    pub port: Option<u16>,
    #[schema(value_type = Option<String>)]
    pub started_at: Option<WallTime>,
    pub crash_count: u64,
    pub last_crash_reason: Option<String>,
    #[schema(value_type = Option<String>)]
    pub next_restart_at: Option<WallTime>,
    /// Why it is down.
    pub error: Option<String>,
}

/// Something an operator should know that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Stable snake_case name.
    pub code: String,
    pub message: String,
}
