//! The agent's JSON as client commands see it: every field optional, every word open-ended, so that a client of one
//! release can read an agent of another.
use crate::model::time::WallTime;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Reads JSON whose texts may hold anything a player or a mod wrote: control characters, which could drive the
/// terminal they are printed on, become visible first. A null is the same as a field that is not there.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    tame(&mut value);
    serde_json::from_value(value)
}

fn tame(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(is_wild) => {
            *text = text.chars().map(|c| if is_wild(c) { '\u{fffd}' } else { c }).collect();
        }
        Value::Array(items) => items.iter_mut().for_each(tame),
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            fields.values_mut().for_each(tame);
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_wild(c: char) -> bool {
    // Besides C0 and C1: marks that turn the reading direction round and can disguise a line.
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One row of `GET /dev/backups` or `/game/backups`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Backup {
    pub id: String,
    pub reason: String,
    pub created_at: Option<WallTime>,
    pub entries: u64,
    pub bytes: u64,
    pub archive_bytes: u64,
    pub warning_count: u64,
    pub verified: Option<Verified>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Verified {
    pub at: Option<WallTime>,
    pub sound: bool,
    pub fault: String,
}

/// `GET /status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    pub vmid: u32,
    pub container_type: String,
    pub instance_id: String,
    pub revision: u64,
    pub agent_version: String,
    pub state: String,
    pub process_running: bool,
    pub pid: Option<i32>,
    pub started_at: Option<WallTime>,
    pub uptime_seconds: u64,
    pub ready: bool,
    pub ready_source: String,
    pub ready_error: String,
    pub install_step: String,
    pub install_progress: Option<f64>,
    pub provisioning_error: Option<String>,
    pub crash_count: u64,
    pub last_crash_time: Option<WallTime>,
    pub last_crash_exit_code: Option<i32>,
    pub last_crash_signal: i32,
    pub last_crash_uptime_seconds: Option<u64>,
    pub last_crash_classification: Option<String>,
    pub last_crash_reason: Option<String>,
    pub restart_attempt: u32,
    pub next_restart_at: Option<WallTime>,
    pub code_server_installed: bool,
    pub code_server_running: bool,
    pub code_server_port: Option<u16>,
    pub code_server_state: Option<String>,
    pub code_server_memory_bytes: Option<u64>,
    pub code_server_activity: Option<Activity>,
    pub operation_in_progress: bool,
    pub operation_type: Option<String>,
    pub operation_started_at: Option<WallTime>,
    pub operation_message: Option<String>,
    pub usage: Usage,
    pub players: Option<Players>,
    pub warnings: Vec<Warning>,
    pub error: Option<String>,
    pub config: Value,
}

/// How the editor is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Activity {
    pub last_active_at: Option<WallTime>,
    pub last_activity: String,
    pub connections: u64,
    pub idle_stop_at: Option<WallTime>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Usage {
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
    pub disk_used_bytes: u64,
    pub disk_free_bytes: u64,
}

/// `GET /game/players`, and a part of the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Players {
    pub online: u32,
    pub max: u32,
    pub players: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Warning {
    pub code: String,
    pub message: String,
}

/// `GET /ready`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ready {
    pub ready: bool,
    pub reason: String,
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub detail: String,
    pub at: Option<WallTime>,
}

/// What `POST /start` and its kind answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Accepted {
    pub state: String,
    pub operation_id: Option<String>,
}

/// One row of `GET /operations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Operation {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub subject: String,
    pub holder: String,
    pub started_at: Option<WallTime>,
    pub deadline_at: Option<WallTime>,
    pub ended_at: Option<WallTime>,
    pub step: String,
    pub progress: Option<f64>,
    pub error: Option<String>,
}

impl Operation {
    /// `done`, `failed`, `superseded`, or a later word for an end.
    pub fn has_ended(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "running")
    }
}

/// `GET /dev/runtimes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Runtimes {
    pub installed: Vec<InstalledRuntime>,
    pub available: Vec<AvailableRuntime>,
    pub available_error: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InstalledRuntime {
    pub id: String,
    pub version: String,
    pub size: u64,
    pub active: bool,
    pub verified: bool,
    pub in_use_by: Vec<User>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct User {
    pub pid: i32,
    pub name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AvailableRuntime {
    pub id: String,
    pub versions: Vec<String>,
}

/// One crash report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Crash {
    pub id: String,
    pub time: Option<WallTime>,
    pub exit_code: Option<i32>,
    pub signal: i32,
    pub core_dumped: bool,
    pub uptime_seconds: u64,
    pub was_ready: bool,
    pub peak_memory_bytes: u64,
    pub classification: String,
    pub code: String,
    pub confidence: String,
    pub rule: String,
    pub reason: String,
    pub hint: String,
    pub evidence: Vec<Evidence>,
    pub suspected_mod: Option<String>,
    pub crash_file: Option<String>,
    pub crash_file_text: Option<String>,
    pub log_tail: Vec<String>,
    pub changes: Vec<Change>,
    pub decision: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Evidence {
    pub rule: String,
    /// 1-based line of the log tail, 0 if it is none.
    pub line: usize,
    pub text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Change {
    pub kind: String,
    pub what: String,
    pub detail: String,
}

/// A list that comes bare or as the one array inside an object (`{"operations":[…]}`).
pub fn parse_list<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, serde_json::Error> {
    let value: Value = parse(body)?;
    let list = match value {
        Value::Object(fields) => fields.into_iter().map(|(_, v)| v).find(Value::is_array).unwrap_or(Value::Null),
        other => other,
    };
    serde_json::from_value(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{crash::CrashReport, snapshot::Snapshot};

    #[test]
    fn what_the_agent_serialises_is_understood() {
        let snapshot = Snapshot { vmid: 5072, crash_count: 2, ..Default::default() };
        let status: Status = parse(&serde_json::to_vec(&snapshot).unwrap()).unwrap();
        assert_eq!((status.vmid, status.crash_count, status.state.as_str()), (5072, 2, "idle"));
        // The report's own schema: a field renamed there must be renamed here.
        let names = serde_json::json!({"id":"a","run":1,"time":"2026-03-10T18:00:00.000Z","exitCode":1,"signal":0,
            "coreDumped":false,"uptimeSeconds":3,"wasReady":true,"peakMemoryBytes":7,"classification":"oom","code":"c",
            "confidence":"certain","retry":"once","rule":"J01","reason":"r","hint":"h","captures":{},"evidence":[],
            "suspectedMod":null,"crashFile":null,"crashFileText":null,"logTail":["x"],"changes":[],"decision":"d"});
        let report: CrashReport = serde_json::from_value(names).unwrap();
        let crash: Crash = parse(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!((crash.exit_code, crash.uptime_seconds, crash.was_ready), (Some(1), 3, true));
        assert_eq!((crash.peak_memory_bytes, crash.log_tail.len(), crash.classification.as_str()), (7, 1, "oom"));
    }

    #[test]
    fn an_agent_of_another_release_is_understood() {
        let status: Status = parse(br#"{"state":"levitating","novelty":{"a":1}}"#).unwrap();
        assert_eq!(status.state, "levitating");
    }

    #[test]
    fn texts_cannot_drive_the_terminal() {
        let players: Players = parse(br#"{"players":["\u001b]52;c;ZXZpbA==\u0007","a\u202eb","ok\tok"]}"#).unwrap();
        assert_eq!(players.players, ["\u{fffd}]52;c;ZXZpbA==\u{fffd}", "a\u{fffd}b", "ok\tok"]);
    }

    #[test]
    fn lists_come_bare_or_wrapped() {
        for body in [r#"[{"id":"a"}]"#, r#"{"operations":[{"id":"a"}]}"#] {
            let list: Vec<Operation> = parse_list(body.as_bytes()).unwrap();
            assert_eq!(list[0].id, "a");
        }
    }
}
