//! Console positions: absolute byte offsets within an epoch.
use bytes::Bytes;
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

/// What those who watch a console are told when it has grown: how far it reaches, and its newest bytes, copied once for
/// all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// `start` is that of when the epoch was first seen.
    pub range: LogRange,
    /// Offset of the first of `bytes`.
    pub from: u64,
    /// None after a new epoch; not all up to the end after much output at once.
    pub bytes: Bytes,
}

impl News {
    /// The bytes from `offset` on, if they are here.
    pub fn since(&self, offset: u64) -> Option<Bytes> {
        let skip = usize::try_from(offset.checked_sub(self.from)?).ok()?;
        (skip < self.bytes.len()).then(|| self.bytes.slice(skip..))
    }
}
