//! `zlh gateway` and what it does instead of serving: people, tokens, the audit log, keys.
use super::LogFormat;
use clap::{Args, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// Flags of `zlh gateway`; they win over environment and gateway.toml.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Gateway options", args_conflicts_with_subcommands = false)]
pub struct GatewayArgs {
    /// Folder of the database, the keys, and gateway.toml [default: /var/lib/zlh-gateway]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of API and portal; port 0 lets the kernel choose [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Address of browser IDEs, an origin of their own [default: 0.0.0.0:8081]
    #[arg(long, value_name = "ADDR")]
    pub ide_listen: Option<SocketAddr>,
    /// PostgreSQL instead of SQLite in the data folder
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// Redis for the status cache, instead of memory
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Where runtimes and games are installed from
    #[arg(long, value_name = "URL")]
    pub artifacts_url: Option<String>,
    /// How browsers reach the API; https makes its cookies Secure
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// How browsers reach the IDE listener
    #[arg(long, value_name = "URL", conflicts_with = "ide_host_suffix")]
    pub ide_public_url: Option<String>,
    /// Host mode: each IDE at dev-<vmid>.<SUFFIX>
    #[arg(long, value_name = "SUFFIX")]
    pub ide_host_suffix: Option<String>,
    /// Settings file [default: gateway.toml in the data folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, such as login.burst=10; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub verb: Option<GatewayVerb>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum GatewayVerb {
    /// People: who may log in
    #[command(subcommand)]
    User(UserVerb),
    /// API tokens of programs
    #[command(subcommand)]
    Token(TokenVerb),
    /// Who did what
    #[command(subcommand)]
    Audit(AuditVerb),
    /// The gateway's own keys
    #[command(subcommand)]
    Key(KeyVerb),
    /// Every setting with value, origin and meaning
    Settings,
}

#[derive(Clone, Debug, Subcommand)]
pub enum UserVerb {
    /// Add a person; without --password-stdin a password is made and printed once
    Add {
        name: String,
        /// Sees and may do everything
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input, one line
        #[arg(long)]
        password_stdin: bool,
    },
    /// List everybody
    List,
    /// Set a new password; ends all sessions, tokens and IDEs of this person
    Password {
        name: String,
        /// Read the password from standard input, one line
        #[arg(long)]
        password_stdin: bool,
    },
    /// End all sessions, tokens and IDEs of a person
    Revoke { name: String },
    /// Let a person do nothing more
    Suspend { name: String },
    /// Lift a suspension
    Resume { name: String },
    /// Remove a person who owns no servers
    Remove { name: String },
}

#[derive(Clone, Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token; it is printed once
    Create {
        /// Whose token it is
        #[arg(long)]
        user: String,
        /// What to call it
        #[arg(long, default_value = "cli")]
        name: String,
        /// What it may do: read, power, console, files, backups, provision, ide, admin
        #[arg(long, value_delimiter = ',', default_value = "read", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// What it is for: api or monitoring
        #[arg(long, default_value = "api")]
        audience: String,
        /// How long it holds, such as 30d [default: until revoked]
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// List sessions and tokens
    List {
        #[arg(long)]
        user: Option<String>,
    },
    /// End a session or token, and all that was opened with it
    Revoke { id: String },
}

#[derive(Clone, Debug, Subcommand)]
pub enum AuditVerb {
    /// The newest entries
    List {
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: u32,
    },
    /// Check that no entry was changed, put in or taken out; exit code 1 if one was
    Verify {
        /// Hash of an entry noted before: it must still be in the chain
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub enum KeyVerb {
    /// Put a new key in front and encrypt all agent tokens with it; older keys still open IDE tokens signed with them
    Rotate,
}
