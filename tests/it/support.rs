//! What every integration test needs: a place of its own, a real agent in it, a console client, patient waiting,
//! and proof at the end that nothing was left behind.
#![allow(dead_code, reason = "each test uses a part of it")]
mod agent;
mod artifacts;
mod console;
mod disk;
mod leaks;
mod ports;
mod sandbox;
mod waiting;
pub mod web;

pub use agent::{Agent, Reply, client};
pub use artifacts::{Artifacts, Wrong};
pub use console::Console;
pub use disk::SmallDisk;
pub use leaks::{end_all, strays};
pub use ports::free_port;
pub use sandbox::{Sandbox, install};
pub use waiting::{eventually, eventually_now, patiently};
