//! Runtimes from an artifact server onto the disk and off again: the real agent, real archives that a test made itself.
mod deaths;
mod disks;
mod failures;
mod life;
mod mirrors;
pub mod rig;
mod trust;

use rig::Rig;
