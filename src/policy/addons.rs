//! Ways into a dev container for those who want more than a browser: what each addon is launched with, when it counts as
//! up, and which of its fields in a `/config` body make sense. Pure; how they are supervised is `policy::game_server`'s.
pub mod authorized_keys;
pub mod sshd;
pub mod tailscale;

use crate::model::dev::Addon;

/// Name of an addon's workload: of its keeper and its state.
pub fn workload(addon: Addon) -> &'static str {
    match addon {
        Addon::CodeServer => super::code_server::NAME,
        Addon::Sshd => "sshd",
        Addon::Tailscale => "tailscale",
    }
}
