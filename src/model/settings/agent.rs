//! The agent's updates of itself.
use std::time::Duration;

/// What becomes of a newer version of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpdateMode {
    /// It is shown.
    Notify,
    /// It is taken.
    Auto,
    /// Nobody looks for one.
    Off,
}

/// `agent.update_*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    pub update_mode: UpdateMode,
    /// Between two looks at the manifest.
    pub update_interval: Duration,
    /// Channel of the manifest that is followed.
    pub update_channel: String,
    /// How long a fresh version may take to prove itself, as a canary and in its first life.
    pub update_within: Duration,
    /// Starts without proof before it is taken back.
    pub update_starts: u32,
    /// How long an update waits for operations to end.
    pub update_patience: Duration,
}

impl Default for Agent {
    fn default() -> Self {
        let s = Duration::from_secs;
        Agent {
            update_mode: UpdateMode::Notify,
            update_interval: s(1800),
            update_channel: "stable".into(),
            update_within: s(60),
            update_starts: 3,
            update_patience: s(600),
        }
    }
}
