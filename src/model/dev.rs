//! A dev container as plain data: what was asked for, and what a shell in it finds.
use super::settings::Secret;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// The account of people in a dev container.
pub const USER: &str = "dev";
/// Its home, beneath the agent's root.
pub const HOME: &str = "home/dev";
/// What the editor, the shells and the files API show, beneath the agent's root.
pub const WORKSPACE: &str = "home/dev/workspace";

/// A dev container's `/config` body, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevConfig {
    pub vmid: u32,
    /// Id of the catalog, e.g. `node`.
    pub runtime: String,
    /// As the catalog writes it, e.g. `22`.
    pub version: String,
    pub memory_mb: Option<u64>,
    /// Each once, in the order they are installed.
    pub addons: Vec<Addon>,
    /// `Some` where `addons` has sshd.
    pub ssh: Option<Ssh>,
    /// `Some` where `addons` has tailscale.
    pub tailscale: Option<Tailscale>,
    /// Fields that mean nothing here and were kept.
    pub unknown: Vec<String>,
}

/// What can be had beside the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addon {
    /// The editor in the browser.
    CodeServer,
    /// A door for SSH clients.
    Sshd,
    /// A place in somebody's private network.
    Tailscale,
}

impl Addon {
    pub const ALL: [Addon; 3] = [Addon::CodeServer, Addon::Sshd, Addon::Tailscale];

    /// The name in a `/config` body.
    pub fn as_str(self) -> &'static str {
        match self {
            Addon::CodeServer => "codeserver",
            Addon::Sshd => "sshd",
            Addon::Tailscale => "tailscale",
        }
    }
}

impl fmt::Display for Addon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who may come in by SSH, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    pub port: u16,
    /// Lines of authorized_keys(5), as they were judged.
    pub authorized_keys: Vec<String>,
}

/// Which private network, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailscale {
    /// Of Headscale, or of Tailscale itself.
    pub login_server: String,
    /// `None`: it has joined before.
    pub auth_key: Option<Secret>,
    pub hostname: String,
}

/// Versions that can be installed, by runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeChoices(pub BTreeMap<String, Vec<String>>);

/// A runtime with an active version, reached by a link: another version behind it changes no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveRuntime {
    pub id: String,
    /// `…/opt/zlh/runtimes/<id>/current`
    pub home: PathBuf,
    /// Folders of programs, relative to `home`; empty for `home` itself.
    pub bin: Vec<String>,
}
