//! Crash classes, verdicts and reports (CONTRACT §1.5).
use super::{exit::ExitStatus, ids::RunId, time::WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The platform's five strings; finer detail is in [`Verdict::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Classification {
    Oom,
    MissingDependency,
    ModOrPluginError,
    NonzeroExit,
    UnexpectedExit,
}

/// May trying again help?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The ordinary backoff ladder.
    Ladder,
    /// One retry; the same code again means `error`.
    Once,
    /// Deterministic: straight to `error` with the hint.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    Weak,
    Likely,
    Certain,
}

/// One line of the log that spoke for the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Rule id, e.g. `J01`, or `cgroup.oom_kill`.
    pub rule: String,
    /// 1-based line within the log tail; 0 when it is not a log line.
    pub line: u32,
    /// At most 300 characters, ANSI stripped, secrets redacted.
    pub text: String,
}

/// What the engine decided, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub classification: Classification,
    /// Finer, open-ended key such as `java.too_old`, `env.port_in_use`, `exit.nonzero`.
    pub code: String,
    pub confidence: Confidence,
    pub retry: Retry,
    /// The rule that decided; empty if the exit status alone did.
    pub rule: String,
    /// The deciding line, or a sentence about the exit status.
    pub reason: String,
    /// What a person can do about it.
    pub hint: String,
    /// Named captures: `mod`, `file`, `java_required`, …
    pub captures: BTreeMap<String, String>,
    pub evidence: Vec<Evidence>,
}

/// What differs from the last start that became ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `added`, `removed`, `changed`.
    pub kind: String,
    /// Path relative to the server root, or `agent`, `runtime`, `config`.
    pub what: String,
    pub detail: String,
}

/// One row of `GET /crashes`; the last 20 are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrashReport {
    /// UUIDv7 text.
    pub id: String,
    #[schema(value_type = u64)]
    pub run: RunId,
    #[schema(value_type = String, format = DateTime)]
    pub time: WallTime,
    pub exit_code: Option<i32>,
    /// 0 = none.
    pub signal: i32,
    pub core_dumped: bool,
    pub uptime_seconds: u64,
    /// Had it ever been ready in this run?
    pub was_ready: bool,
    pub peak_memory_bytes: u64,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub suspected_mod: Option<String>,
    /// Path of a crash-report/hs_err file the run wrote, and its first 64 KiB.
    pub crash_file: Option<String>,
    pub crash_file_text: Option<String>,
    /// Last 200 lines, ANSI stripped, secrets redacted.
    pub log_tail: Vec<String>,
    pub changes: Vec<Change>,
    /// What supervision did next, e.g. `restart in 30 s`, `gave up: 4 crashes before ready`.
    pub decision: String,
    #[serde(skip)]
    #[schema(ignore)]
    pub status: Option<ExitStatus>,
}
