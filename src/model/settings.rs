//! Every limit, timeout and path an operator may set, as plain values. `config` reads them; `docs/settings.md` lists them.
mod addons;
mod agent;
pub mod artifacts;
mod backups;
mod codeserver;

pub use addons::{Sshd, Tailscale};
pub use agent::{Agent, UpdateMode};
pub use backups::Backups;
pub use codeserver::Codeserver;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What SIGTERM to the agent means for the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAgentStop {
    /// The workload runs on, the next agent takes it up.
    Leave,
    /// Ordered stop with the whole ladder, then exit.
    Stop,
    /// `stop` as PID 1, else `leave`.
    Auto,
}

/// Settings of `zlh agent`. Field paths are the dotted keys: `restart.backoff` is `settings.restart.backoff`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Everything the agent touches lies under this folder.
    pub root: PathBuf,
    pub listen: SocketAddr,
    pub vmid: Option<u32>,
    pub artifacts_url: Option<String>,
    /// What has no known hash is refused instead of installed with a warning.
    pub require_hashes: bool,
    /// Keys whose signature a catalog must bear, `ed25519:…`; none: catalogs need no signature.
    pub trusted_keys: Vec<String>,
    /// Bearer token; never printed.
    pub token: Option<Secret>,
    /// File the token is read from.
    pub token_file: Option<PathBuf>,
    pub allow_unauthenticated: bool,
    /// Host names accepted in `Host` besides loopback and this machine's own.
    pub allowed_hosts: Vec<String>,
    pub on_agent_stop: OnAgentStop,
    pub agent: Agent,
    pub restart: Restart,
    pub stop: Stop,
    pub ready: Ready,
    pub hang: Hang,
    pub console: Console,
    pub terminal: Terminal,
    pub game: Game,
    pub dev: Dev,
    pub codeserver: Codeserver,
    pub sshd: Sshd,
    pub tailscale: Tailscale,
    pub install: Install,
    pub backups: Backups,
    pub limits: Limits,
    pub status: Status,
    pub runtime: Runtime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// Delays after the 1st, 2nd, … crash in a row; after the last: `error`.
    pub backoff: Vec<Duration>,
    /// Ready (or, without a probe, up) this long resets the sequence.
    pub reset_after: Duration,
    /// Crashes in a row that never became ready before `error`.
    pub max_crashes_before_ready: u32,
    /// More than this many crashes within an hour: `error`, whatever was reset.
    pub max_crashes_per_hour: u32,
    /// 0.0 to 0.1: each delay is lengthened by up to this share.
    pub jitter: f64,
    /// How long a start may wait for the old run's ports to become free.
    pub port_wait: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// The whole ladder's budget, SIGKILL included.
    pub grace: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// Start deadline where neither /config nor the game definition names one.
    pub within: Duration,
    /// Time between two probes while starting.
    pub interval: Duration,
    /// Time one probe may take.
    pub timeout: Duration,
    /// After a ready line: how long the process must live on before it counts.
    pub settle: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hang {
    /// Time between two probes after ready; 0 turns hang detection off.
    pub interval: Duration,
    /// Probe dead and process alive for this long = hung.
    pub after: Duration,
    /// `report` (warn and dump only) or restart after the dump.
    pub restart: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Console {
    /// Bytes of output kept on disk.
    pub scrollback_bytes: u64,
    /// Bytes of scrollback sent to a raw viewer on connect.
    pub replay_bytes: u64,
    pub max_viewers: usize,
    /// Largest input frame in bytes.
    pub max_input_frame: usize,
    /// Ping period of the WebSocket.
    pub ping: Duration,
    /// A viewer that took nothing for this long is cut off.
    pub stall: Duration,
    /// Largest answer of `GET /console/log`.
    pub page_bytes: usize,
    pub columns: u16,
    pub rows: u16,
}

/// Shell sessions of a dev container.
#[derive(Clone, Debug, PartialEq)]
pub struct Terminal {
    /// How long a shell lives on after its last viewer left.
    pub linger: Duration,
    pub max_sessions: usize,
    /// Bytes of output kept per session.
    pub scrollback_bytes: u64,
    /// Size of a terminal until a viewer says how large its own is.
    pub columns: u16,
    pub rows: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dev {
    /// Longest time the whole set-up may take.
    pub provision_within: Duration,
    /// pids limit of each shell and of the editor.
    pub max_processes: u32,
    /// Files and folders of the workspace whose owner is looked at.
    pub repair_entries: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Game {
    /// Account games run as when the agent is root; created if missing.
    pub user: String,
    /// pids limit of a workload.
    pub max_processes: u32,
    /// Less free space than this where the server root lies: no start.
    pub min_disk_free_bytes: u64,
    /// The operator accepts the licences of the games that ask for it in a file (Minecraft's `eula.txt`).
    pub accept_eula: bool,
    /// Preparing a start (which may install things) without any sign of progress for this long has failed.
    pub prepare_patience: Duration,
    /// Start the saved workload when the agent starts after a reboot and it was meant to run.
    pub autostart: bool,
}

/// How things are fetched, and what an archive may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Install {
    /// Names in one archive.
    pub max_entries: u64,
    /// Bytes of one archive once it is unpacked.
    pub max_bytes: u64,
    /// Unpacked bytes for each packed one, once [`Install::RATIO_FROM`] bytes are unpacked.
    pub max_ratio: u64,
    /// Bytes of one path in an archive.
    pub max_path_bytes: usize,
    /// Folders in folders.
    pub max_path_levels: usize,
    /// Bytes of one file that is fetched.
    pub max_download_bytes: u64,
    /// Memory a decoder of .xz or .zst may ask for.
    pub decoder_bytes: u64,
    /// Bytes of fetched archives that are kept for repairs and other installs.
    pub cache_bytes: u64,
    pub connect_timeout: Duration,
    /// A server that sends no byte for this long counts as gone.
    pub stall: Duration,
    /// Waits before the 1st, 2nd, … further attempt when a transfer breaks off.
    pub backoff: Vec<Duration>,
    /// Hosts a redirect may lead to, besides the one that was asked.
    pub redirect_hosts: Vec<String>,
    /// PEM file with authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Time a fresh install's first run (`node --version`) may take.
    pub check_within: Duration,
    /// Addresses of servers that have the same artifacts.
    pub mirrors: Vec<String>,
    /// Installs that work at a time; more of them wait.
    pub parallel: usize,
    /// Orders that may be under way or waiting.
    pub queue: usize,
    /// A step without any sign of progress for this long has failed.
    pub patience: Duration,
    /// Lives of the agent that an order may outlast before it is given up.
    pub tries: u32,
    /// Formerly active versions of each runtime that garbage collection leaves.
    pub keep_previous: usize,
    /// The catalog's channel that versions are chosen from.
    pub channel: String,
    /// Releases younger than this are not taken.
    pub min_release_age: Duration,
}

impl Install {
    /// Small archives may be as dense as they like: a megabyte of zeros hurts nobody.
    pub const RATIO_FROM: u64 = 64 << 20;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest JSON request body in bytes.
    pub body_bytes: usize,
    /// Largest /config body in bytes: it is saved, and shown in each status.
    pub config_bytes: usize,
    pub header_bytes: usize,
    pub headers: usize,
    pub connections: usize,
    /// Time for a whole request head to arrive.
    pub header_timeout: Duration,
    /// Time for a whole JSON request body to arrive.
    pub body_timeout: Duration,
    /// A client that takes no byte of an answer for this long is cut off.
    pub stall: Duration,
    /// Time open connections get to finish when the agent goes down.
    pub drain: Duration,
    /// Time an actor has to accept or refuse a command.
    pub command_timeout: Duration,
    /// Longest `?wait=` a client may ask for.
    pub max_wait: Duration,
    /// Operations and crash reports kept.
    pub operations_kept: usize,
    pub crashes_kept: usize,
    /// Bytes read of a crash report or hs_err file.
    pub crash_file_bytes: u64,
    /// Watched files (mods, plugins, config) remembered per start.
    pub watched_files: usize,
    /// Bytes of large watched files hashed per start.
    pub watched_hash_bytes: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Period of the resource sample and of the SSE heartbeat.
    pub interval: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    pub worker_threads: usize,
}

/// Text that must never be printed, logged or serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Default for Settings {
    fn default() -> Self {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        Settings {
            root: PathBuf::from("/"),
            listen: SocketAddr::from(([0, 0, 0, 0], 18888)),
            vmid: None,
            artifacts_url: None,
            require_hashes: false,
            trusted_keys: Vec::new(),
            token: None,
            token_file: None,
            allow_unauthenticated: false,
            allowed_hosts: Vec::new(),
            on_agent_stop: OnAgentStop::Auto,
            agent: Agent::default(),
            restart: Restart {
                backoff: vec![s(30), s(60), s(120)],
                reset_after: s(30),
                max_crashes_before_ready: 4,
                max_crashes_per_hour: 10,
                jitter: 0.1,
                port_wait: s(30),
            },
            stop: Stop { grace: s(60) },
            ready: Ready { within: s(300), interval: ms(250), timeout: s(5), settle: ms(500) },
            hang: Hang { interval: s(10), after: s(120), restart: false },
            console: Console {
                scrollback_bytes: 8 << 20,
                replay_bytes: 64 << 10,
                max_viewers: 30,
                max_input_frame: 64 << 10,
                ping: s(5),
                stall: s(60),
                page_bytes: 1 << 20,
                columns: 200,
                rows: 24,
            },
            terminal: Terminal { linger: s(60), max_sessions: 16, scrollback_bytes: 1 << 20, columns: 80, rows: 24 },
            dev: Dev { provision_within: s(1800), max_processes: 4096, repair_entries: 2_000_000 },
            codeserver: Codeserver::default(),
            sshd: Sshd::default(),
            tailscale: Tailscale::default(),
            game: Game {
                user: "game".into(),
                max_processes: 4096,
                min_disk_free_bytes: 64 << 20,
                accept_eula: true,
                prepare_patience: s(600),
                autostart: true,
            },
            install: Install::default(),
            backups: Backups::default(),
            limits: Limits::default(),
            status: Status { interval: s(5) },
            runtime: Runtime { worker_threads: 2 },
        }
    }
}

impl Default for Install {
    fn default() -> Self {
        let s = Duration::from_secs;
        Install {
            max_entries: 200_000,
            max_bytes: 8 << 30,
            max_ratio: 100,
            max_path_bytes: 4096,
            max_path_levels: 64,
            max_download_bytes: 4 << 30,
            decoder_bytes: 128 << 20,
            cache_bytes: 2 << 30,
            connect_timeout: s(10),
            stall: s(30),
            backoff: vec![s(1), s(3), s(10), s(30)],
            redirect_hosts: Vec::new(),
            ca_file: None,
            check_within: s(60),
            mirrors: Vec::new(),
            parallel: 2,
            queue: 64,
            patience: Duration::from_secs(180),
            tries: 3,
            keep_previous: 1,
            channel: "stable".into(),
            min_release_age: Duration::ZERO,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let s = Duration::from_secs;
        Limits {
            body_bytes: 1 << 20,
            config_bytes: 64 << 10,
            header_bytes: 32 << 10,
            headers: 100,
            connections: 512,
            header_timeout: s(10),
            body_timeout: s(30),
            stall: s(30),
            drain: s(5),
            command_timeout: s(2),
            max_wait: s(300),
            operations_kept: 100,
            crashes_kept: 20,
            crash_file_bytes: 1 << 20,
            watched_files: 5_000,
            watched_hash_bytes: 64 << 20,
        }
    }
}
