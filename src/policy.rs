//! What we decide: pure functions and state machines. Time and chance come in as arguments.
pub mod catalog;
pub mod crash;
pub mod doctor;
pub mod game_server;
pub mod installer;
pub mod launch;
pub mod operations;
pub mod publish;
pub mod readiness;
pub mod restart;
pub mod status;
pub mod updater;
