//! Facts about this machine that a launch depends on: found out by `host`, judged by `policy`.
use std::{collections::BTreeMap, path::PathBuf};

/// What `host::machine::look` saw. Every field is as of then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Memory this container may use; `None` = unknown.
    pub memory_limit_bytes: Option<u64>,
    /// The agent runs as uid 0 and can therefore run workloads as somebody else.
    pub is_root: bool,
    /// Name of the agent's own account.
    pub account: String,
    /// e.g. `Europe/Berlin`; `UTC` if the machine does not say.
    pub timezone: String,
    pub runtimes: Vec<Runtime>,
    /// For each pattern asked about: the files beneath the server root that match, sorted by version-aware name.
    pub files: BTreeMap<String, Vec<String>>,
    /// 24 hexadecimal digits drawn by chance, for consoles that want a password (Teeworlds cuts one after 31).
    pub secret: String,
}

/// A language runtime on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// `java` or `node`.
    pub name: String,
    /// 21, 22, …; `None` when only running it could tell.
    pub major: Option<u32>,
    /// Absolute path of the program.
    pub program: PathBuf,
    /// It lies in the agent's own runtimes folder (not merely in `PATH`).
    pub ours: bool,
}

/// What has to be looked up before a body can be resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Absolute on this machine.
    pub server_root: PathBuf,
    /// Patterns beneath it.
    pub globs: Vec<String>,
    /// `java`, `node` or none.
    pub runtime: Option<String>,
}
