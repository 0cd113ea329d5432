//! The promise "it may be killed at any moment", kept: agent and keeper die at every named point and at random ones, and
//! afterwards everything is as it was promised. What must hold is in `invariants.rs`; real agents, keepers and games.
mod clocks;
mod container;
mod disks;
mod invariants;
mod permits;
#[cfg(feature = "failpoints")]
mod points;
mod random;
#[cfg(feature = "failpoints")]
mod recovery;
mod rig;
mod scarce;
mod upgrades;

use rig::{Answer, Rig};
