//! Ways into a dev container beside its browser pages.
use std::time::Duration;

/// The SSH server.
#[derive(Clone, Debug, PartialEq)]
pub struct Sshd {
    /// Where `/config` names none.
    pub port: u16,
    /// Keys in `/config` may bring options that run a command or set variables.
    pub key_commands: bool,
    /// Start deadline: until it greets.
    pub ready_within: Duration,
    /// A package manager that has said nothing for so long is stuck.
    pub install_patience: Duration,
}

impl Default for Sshd {
    fn default() -> Sshd {
        Sshd {
            port: 22,
            key_commands: false,
            ready_within: Duration::from_secs(30),
            install_patience: Duration::from_secs(120),
        }
    }
}

/// The private network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tailscale {
    /// UDP port for direct connections; 0: any that is free.
    pub port: u16,
    /// Start deadline of the daemon.
    pub ready_within: Duration,
    /// How long joining may take.
    pub join_within: Duration,
}

impl Default for Tailscale {
    fn default() -> Tailscale {
        Tailscale { port: 0, ready_within: Duration::from_secs(60), join_within: Duration::from_secs(60) }
    }
}
