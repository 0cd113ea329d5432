//! Who remembers and waits: one actor a concern, supervised by the root actor.
pub mod game_server;
pub mod installer;
mod pace;
pub mod root;
pub mod slot;
pub mod status;
