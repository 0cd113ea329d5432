//! Who remembers and waits: one actor a concern, supervised by the root actor.
pub mod collector;
pub mod container;
pub mod dev_provision;
pub mod directory;
pub mod doorkeeper;
pub mod game_server;
pub mod gateway_root;
pub mod held;
pub mod installer;
mod pace;
pub mod registry;
pub mod root;
pub mod runtime_catalog;
pub mod sharing;
pub mod slot;
pub mod status;
pub mod statuses;
pub mod terminal;
