//! What a container is for. Decided by the first configuration that is accepted, and for good.
use serde::{Deserialize, Serialize};
use std::fmt;

/// `container_type` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One supervised server.
    Game,
    /// Shells, runtimes and an editor for a person; nothing to start or stop.
    Dev,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Game => "game",
            Kind::Dev => "dev",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
