//! The command line of `zlh artifacts`.
use crate::{
    cli::args::LogFormat,
    model::{
        catalog::{Digest, STABLE},
        time::WallTime,
    },
    policy::{catalog::signature::PublicKey, publish::target::Target},
};
use clap::{Args, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// Options of all artifact commands
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Artifact options")]
pub struct ArtifactsArgs {
    /// The folder that holds the catalogs and their files
    #[arg(long, global = true, env = "ZLH_STORE", default_value = "artifacts", value_name = "DIR")]
    pub store: PathBuf,
    /// Secret key that signs what changes; may be repeated while keys are replaced
    #[arg(long, global = true, env = "ZLH_ARTIFACTS_KEY", value_delimiter = ':', value_name = "FILE")]
    pub key: Vec<PathBuf>,
    #[command(subcommand)]
    pub verb: ArtifactsVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ArtifactsVerb {
    /// Publish a file: hash it, look into it, copy it into the folder, name it in the catalog
    Add(AddArgs),
    /// What is published, and which version each channel means
    List {
        /// Only this: node, code-server, game-java, minecraft/paper, agent, …
        target: Option<Target>,
    },
    /// Let a channel mean a version from now on
    Promote {
        target: Target,
        version: String,
        #[arg(long, default_value = STABLE, value_name = "NAME")]
        channel: String,
    },
    /// Let a channel mean again what it meant before the last promotion
    Rollback {
        target: Target,
        #[arg(long, default_value = STABLE, value_name = "NAME")]
        channel: String,
    },
    /// Hash every file again and compare with the catalogs; exit code 1 if anything differs
    Verify,
    /// Sign the catalogs with --key
    Sign,
    /// Say, signed with --key, which keys agents shall trust from now on (in _keys.json)
    Trust {
        /// Public key that is trusted too, as keygen printed it
        new: Vec<PublicKey>,
        /// Id or public key of one that is trusted no longer; may be repeated
        #[arg(long, value_name = "KEY")]
        revoke: Vec<String>,
    },
    /// Make a secret key; prints the public one, which goes into the agents' trusted_keys
    Keygen {
        /// New file, outside the folder that is served
        file: PathBuf,
    },
    /// Fetch a release from its upstream, check it against the upstream's checksum, and publish it
    Import(ImportArgs),
    /// Serve the folder over HTTP, to read only
    Serve(ServeArgs),
}

#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// node, python, go, java, dotnet, code-server, game-java, GAME/VARIANT, agent
    pub target: Target,
    pub version: String,
    /// Archive, jar or program
    pub file: PathBuf,
    /// Offer it in this channel only
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Promote it at once to this channel [without a name: stable]
    #[arg(long, value_name = "CHANNEL", num_args = 0..=1, default_missing_value = STABLE)]
    pub promote: Option<String>,
    /// SHA-256 the file must have
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<Digest>,
    /// When upstream released it (RFC 3339); counts for a minimum age [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub released_at: Option<WallTime>,
}

#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// node, python, go, java, game-java, dotnet, code-server, minecraft/paper
    pub target: Target,
    /// A version or the beginning of one: 22, 3.12, 1.21.4
    pub version: String,
    /// Promote it at once to this channel [without a name: stable]
    #[arg(long, value_name = "CHANNEL", num_args = 0..=1, default_missing_value = STABLE)]
    pub promote: Option<String>,
    /// Address of the upstream's release pages, or of a mirror [default: the project's own]
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Mail or web address of whoever publishes, told to the upstream; PaperMC answers nobody without one
    #[arg(long, env = "ZLH_CONTACT", value_name = "ADDRESS", value_parser = contact)]
    pub contact: Option<String>,
    /// Only say what would be fetched
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 lets the kernel choose
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// A setting of the server (docs/settings.md), such as limits.connections=2000; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub log_format: LogFormat,
}

/// It goes into a header of a request.
fn contact(text: &str) -> Result<String, String> {
    let fits = text.chars().all(|c| c.is_ascii_graphic()) && text.contains(['@', ':']);
    if fits { Ok(text.to_owned()) } else { Err("write a mail address, or https://…".into()) }
}

fn time(text: &str) -> Result<WallTime, String> {
    let at: jiff::Timestamp = text.parse().map_err(|e| format!("{e}; write 2026-03-10T18:00:00Z"))?;
    Ok(WallTime(at.as_millisecond()))
}
