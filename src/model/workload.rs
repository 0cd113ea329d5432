//! One workload, resolved and validated: everything needed to launch, prove, stop and judge it.
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// What a saved `/config` and a game definition resolve to. Paths are absolute on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// Definition id, e.g. `minecraft`, `custom`.
    pub game: String,
    /// e.g. `paper`; empty for games without variants.
    pub variant: String,
    /// Program and arguments; `argv[0]` is absolute or looked up in `PATH` of `env`.
    pub argv: Vec<String>,
    /// Working directory: the server root.
    pub cwd: PathBuf,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Account name the process runs as; `None` = the agent's own (only when the agent is not root).
    pub user: Option<String>,
    pub memory_bytes: Option<u64>,
    pub max_processes: Option<u32>,
    /// Ports the workload listens on; waited for before a restart and looked at by readiness.
    pub ports: Vec<u16>,
    /// Paths under `cwd` that must exist before a launch (`server.jar`), each a clear error if not.
    pub requires: Vec<String>,
    pub stop: Vec<StopStep>,
    pub ready: Readiness,
    /// Signature sets of `catalog/crash/` to match, in order, e.g. `["common", "jvm", "minecraft"]`.
    pub signatures: Vec<String>,
    /// Console input by TCP instead of stdin (Teeworlds econ).
    pub console: ConsoleInput,
    /// The console command (without newline) whose echo-free typing makes exit 0 a clean stop.
    pub stop_commands: Vec<String>,
    /// Globs under `cwd` whose files are compared with the last good start (`mods/*`, `server.properties`).
    pub watched_files: Vec<String>,
    /// Signal that asks the process for a thread dump before a hang is acted on (SIGQUIT = 3 for Java).
    pub dump_signal: Option<i32>,
}

impl WorkloadSpec {
    /// A program that is no game: nothing to prove, to judge or to type. `name` is for messages.
    pub fn plain(name: &str, argv: Vec<String>, cwd: PathBuf, env: BTreeMap<String, String>) -> WorkloadSpec {
        WorkloadSpec {
            game: name.to_owned(),
            variant: String::new(),
            argv,
            cwd,
            env,
            user: None,
            memory_bytes: None,
            max_processes: None,
            ports: Vec::new(),
            requires: Vec::new(),
            stop: Vec::new(),
            ready: Readiness { probe: ReadyProbe::None, within: Duration::ZERO },
            signatures: Vec::new(),
            console: ConsoleInput::Pty,
            stop_commands: Vec::new(),
            watched_files: Vec::new(),
            dump_signal: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ConsoleInput {
    /// Lines are written to the PTY.
    #[default]
    Pty,
    /// Lines go to a TCP text console that asks for a password first (Teeworlds/DDNet econ).
    Econ { port: u16, password: String },
    /// Lines are written to a named pipe under the server root (DDNet `sv_input_fifo`).
    Fifo { path: String },
}

/// One rung of the stop ladder. The last rung, SIGKILL to the whole tree, is always there and never written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum StopStep {
    /// Type this line (a newline is added).
    Stdin { line: String, wait: Duration },
    /// Send this signal to the main process only, followed by SIGCONT.
    Signal { signal: i32, wait: Duration },
    /// Send this signal to the whole process group.
    GroupSignal { signal: i32, wait: Duration },
}

impl StopStep {
    pub fn wait(&self) -> Duration {
        match self {
            StopStep::Stdin { wait, .. } | StopStep::Signal { wait, .. } | StopStep::GroupSignal { wait, .. } => *wait,
        }
    }
}

/// How it is proven that players can join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    pub probe: ReadyProbe,
    /// Start deadline; past it the process is stopped and the state is `error`.
    pub within: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ReadyProbe {
    /// Real server-list ping on 127.0.0.1, with fallbacks for old protocols.
    MinecraftPing {
        port: u16,
    },
    Tcp {
        port: u16,
    },
    /// A console line of this run matches; afterwards the process must live on and hold its declared ports.
    Log {
        pattern: String,
    },
    Http {
        port: u16,
        path: String,
    },
    /// Source engine query.
    A2s {
        port: u16,
    },
    /// Any protocol with one question and one answer; bytes in hex.
    Udp {
        port: u16,
        send: String,
        expect: String,
    },
    /// Whoever connects is greeted with a line that begins so.
    Banner {
        port: u16,
        begins: String,
    },
    /// A program that ends with 0 once it can speak with the workload; as the agent's own account.
    Command {
        argv: Vec<String>,
    },
    /// Ready as soon as the process is up.
    None,
}

impl ReadyProbe {
    /// The wire's `readySource`.
    pub fn source(&self) -> &'static str {
        match self {
            ReadyProbe::MinecraftPing { .. } => "minecraft_ping",
            ReadyProbe::Tcp { .. } => "tcp",
            ReadyProbe::Log { .. } => "log",
            ReadyProbe::Http { .. } => "http",
            ReadyProbe::A2s { .. } => "a2s",
            ReadyProbe::Udp { .. } => "udp",
            ReadyProbe::Banner { .. } => "banner",
            ReadyProbe::Command { .. } => "command",
            ReadyProbe::None => "none",
        }
    }
}
