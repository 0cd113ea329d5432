//! The command line as clap types. Their doc comments are the help texts, and `docs/cli.md` is generated from them.
mod backup;
pub mod codeserver;
pub mod gateway;
mod runtimes;
pub mod up;

pub use backup::BackupVerb;
pub use runtimes::RuntimesVerb;

use crate::model::catalog::Digest;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

const EXIT_CODES: &str = "\
Exit codes:
  0   done, or the answer is yes
  1   the answer is no: not ready, the operation failed, no such crash, a doctor's check failed, an update is there
  2   bad usage
  3   the agent cannot be reached
  4   the agent refused (401, 403, 409, 422, 429, 503)
  78  bad configuration; every fault is listed
  130 Ctrl-C while waiting for an operation, which goes on

Examples:
  zlh status              what is going on, at a glance
  zlh start               start and wait until players can join
  zlh crashes last        why it went down last time, and what to do
  zlh console             the server's own console; Ctrl-] leaves it
  zlh logs -f | grep WARN";

/// Turns a bare container into a supervised game server
#[derive(Debug, Parser)]
#[command(name = "zlh", version, after_help = EXIT_CODES, max_term_width = 100, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(flatten)]
    pub client: ClientArgs,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Whom client commands talk to, and how they print
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Client options")]
pub struct ClientArgs {
    /// Where the agent listens
    #[arg(long, global = true, env = "ZLH_URL", default_value = "http://127.0.0.1:18888", value_name = "URL")]
    pub url: String,
    /// File with the agent's bearer token [default: $ZLH_AGENT_TOKEN, or on the agent's own machine agent.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print the agent's JSON unchanged
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the agent of this container
    Agent(AgentArgs),
    /// Run the platform's side: who may do what, every container's status, the way into browser IDEs
    Gateway(gateway::GatewayArgs),
    /// Run gateway, artifact server and an agent on this machine, on loopback: what to try first
    Up(up::UpArgs),
    /// Install one archive from a URL into a folder, without an agent
    #[command(hide = true)]
    Install(InstallArgs),
    /// Wait for the proof of an agent on trial, and restore the previous one without it
    #[command(hide = true)]
    WatchUpdate(WatchUpdateArgs),
    /// Publish what agents install: add, sign, promote, roll back, serve
    Artifacts(super::artifacts::args::ArtifactsArgs),
    #[command(flatten)]
    Client(ClientVerb),
}

/// One archive, and where it goes.
#[derive(Clone, Debug, Args)]
pub struct InstallArgs {
    /// The archive: .tar.gz, .tar.xz, .tar.zst, .tar, .zip, or a plain file
    #[arg(long)]
    pub url: String,
    /// Its SHA-256; without it the bytes are taken as they come
    #[arg(long)]
    pub sha256: Option<Digest>,
    /// The folder it becomes; a tree that is there is replaced
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// Keep what was fetched here, for the next attempt and the next install
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Leading folders to drop from the archive's names [default: the top folder, if it is the only one]
    #[arg(long, value_name = "N")]
    pub strip: Option<u32>,
    /// Do not wait until it is on the disk: a power cut may spoil it
    #[arg(long)]
    pub no_sync: bool,
}

/// What an agent tells the process it leaves behind when it updates itself; standard input is the agent's pidfd.
#[derive(Clone, Debug, Args)]
pub struct WatchUpdateArgs {
    #[arg(long)]
    pub root: PathBuf,
    /// The version on trial
    #[arg(long)]
    pub trial: String,
    #[arg(long)]
    pub within_ms: u64,
    /// Somebody else starts an agent that has ended
    #[arg(long)]
    pub supervised: bool,
    /// The agent's command line
    #[arg(last = true)]
    pub command: Vec<OsString>,
}

impl WatchUpdateArgs {
    pub const VERB: &str = "watch-update";
}

/// Flags of `zlh agent`; they win over environment and agent.toml.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Agent options")]
pub struct AgentArgs {
    /// Everything the agent touches lies under this folder [default: /]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Address to listen on; port 0 lets the kernel choose [default: 0.0.0.0:18888]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// The container's number on the platform
    #[arg(long, value_name = "N")]
    pub vmid: Option<u32>,
    /// Where runtimes and games are installed from
    #[arg(long, value_name = "URL")]
    pub artifacts_url: Option<String>,
    /// The bearer token's file: the global `--token-file`, handed in after parsing.
    #[arg(skip)]
    pub token_file: Option<PathBuf>,
    /// Listen on other than loopback addresses without a token
    #[arg(long)]
    pub allow_unauthenticated: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub log_format: LogFormat,
}

/// Where settings come from besides the environment
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// Settings file [default: /etc/zlh-agent/agent.toml under the root]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, such as restart.backoff=30s,60s,120s; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ClientVerb {
    /// What is going on: state, readiness, resources, players, the last crash
    Status(StatusArgs),
    /// Is the server ready for players? Lists the checks; exit code 1 if not
    Ready,
    /// Send the server's configuration, as POST /config takes it, and wait until it is in force
    Configure {
        /// JSON file; - reads standard input
        file: PathBuf,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Start the server and wait until it is ready
    Start(WaitArgs),
    /// Stop the server: its own stop command, then SIGTERM, then SIGKILL
    Stop(WaitArgs),
    /// Stop the server and start it again
    Restart(WaitArgs),
    /// SIGKILL everything at once; also cancels a pending restart
    Kill(WaitArgs),
    /// Attach to the server's console, or to the shell of a dev container
    Console(ConsoleArgs),
    /// Print the console's history
    Logs(LogsArgs),
    /// Type one line into the server's console
    Command {
        /// The line, e.g. "say hi"
        #[arg(required = true, num_args = 1.., value_name = "WORD")]
        words: Vec<String>,
    },
    /// List crashes, or explain one
    Crashes {
        /// Id of a crash (the part that the table shows is enough), or `last`
        id: Option<String>,
    },
    /// Who is playing
    Players,
    /// List operations, or show one
    Operations {
        /// Id of an operation (the part that the table shows is enough)
        id: Option<String>,
        /// End it early; what it did is undone
        #[arg(long, requires = "id")]
        cancel: bool,
    },
    /// Language runtimes: what is installed, and what could be
    #[command(subcommand)]
    Runtimes(RuntimesVerb),
    /// The editor in the browser of a dev container
    #[command(subcommand)]
    Codeserver(codeserver::CodeserverVerb),
    /// Backups of the workspace or the server root
    #[command(subcommand)]
    Backup(BackupVerb),
    /// Update the agent itself; what it supervises does not notice
    Update(UpdateArgs),
    /// Check this machine and the configuration, and say what to do
    Doctor(DoctorArgs),
    /// Look at the agent's settings
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print a shell's completion script
    Completions {
        #[arg(value_enum)]
        shell: CompletionShell,
    },
    /// Print the version of this program, and of the agent if it can be reached
    Version,
}

#[derive(Clone, Debug, Args)]
pub struct UpdateArgs {
    /// This version, also an older one or one that failed here [default: what the channel promotes, if newer]
    pub version: Option<String>,
    /// Look only; exit code 1 if there is something newer
    #[arg(long, conflicts_with = "version")]
    pub check: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
}

#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Follow changes until Ctrl-C
    #[arg(long, short)]
    pub watch: bool,
}

#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// Return as soon as the agent has accepted
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Clone, Debug, Args)]
pub struct ConsoleArgs {
    /// Send every key as it is typed (what shells get anyway; games get line editing)
    #[arg(long, conflicts_with = "no_input")]
    pub raw: bool,
    /// Only watch
    #[arg(long)]
    pub no_input: bool,
    /// Key that leaves the console: ^X, ctrl-x, or one character
    #[arg(long, default_value = "ctrl-]", value_name = "KEY", value_parser = super::terminal::keys::DetachKey::parse)]
    pub detach_key: super::terminal::keys::DetachKey,
    /// Name of the shell session of a dev container
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Go on with what is printed from now on, also across agent restarts; Ctrl-C ends it
    #[arg(long, short)]
    pub follow: bool,
    /// How many lines to begin with
    #[arg(long, short = 'n', default_value_t = 100, conflicts_with = "from", value_name = "N")]
    pub lines: usize,
    /// Absolute offset of the first byte; negative counts from the end
    #[arg(long, allow_hyphen_values = true, value_name = "OFFSET")]
    pub from: Option<i64>,
}

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DoctorArgs {
    #[command(subcommand)]
    pub of: Option<DoctorVerb>,
    /// The agent's root folder [default: as configured]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

#[derive(Clone, Debug, Subcommand)]
pub enum DoctorVerb {
    /// Ask a gateway (--url) to go a browser's way into a container's IDE, and say where it ends
    Ide { vmid: u32 },
}

#[derive(Clone, Debug, Subcommand)]
pub enum ConfigVerb {
    /// Every setting with value, origin and meaning
    Show {
        /// The built-in defaults instead of what is in force
        #[arg(long)]
        default: bool,
        /// The agent's root folder [default: as configured]
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

impl From<CompletionShell> for clap_complete::Shell {
    fn from(shell: CompletionShell) -> Self {
        match shell {
            CompletionShell::Bash => clap_complete::Shell::Bash,
            CompletionShell::Zsh => clap_complete::Shell::Zsh,
            CompletionShell::Fish => clap_complete::Shell::Fish,
        }
    }
}

/// The whole command line, for completions and documentation.
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_on_either_side() {
        for words in [["zlh", "--json", "status"], ["zlh", "status", "--json"]] {
            let parsed = Arguments::try_parse_from(words).unwrap();
            assert!(parsed.client.json);
        }
    }

    #[test]
    fn the_agent_takes_the_flags_other_programs_start_it_with() {
        let line = "zlh agent --root /tmp/r --listen 127.0.0.1:0 --vmid 5072 --artifacts-url http://a --token-file /t \
                    --allow-unauthenticated --config /c --set restart.jitter=0 --set stop.grace=5s --log-format json";
        let parsed = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(parsed.client.token_file, Some(PathBuf::from("/t")));
        let Verb::Agent(agent) = parsed.verb else { panic!("not the agent: {:?}", parsed.verb) };
        assert_eq!((agent.vmid, agent.log_format), (Some(5072), LogFormat::Json));
        assert_eq!(agent.settings.set, ["restart.jitter=0", "stop.grace=5s"]);
        assert_eq!(agent.listen, Some("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn bad_usage_is_refused() {
        for line in ["zlh", "zlh fly", "zlh logs --from 1 -n 2", "zlh command", "zlh console --detach-key abc"] {
            assert!(Arguments::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
