//! Console positions: absolute byte offsets within an epoch.
use serde::{Deserialize, Serialize};

/// Drawn anew whenever continuity of offsets is lost (a reboot, a damaged ring). 0 = nothing was ever written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// What is kept of the output: bytes `start..end` of `epoch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    pub epoch: Epoch,
    pub start: u64,
    pub end: u64,
}
