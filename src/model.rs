//! What there is: plain data every room may name. No I/O, no clock, no async.
pub mod console;
pub mod crash;
pub mod doctor;
pub mod exit;
pub mod game;
pub mod gateway;
pub mod glob;
pub mod ids;
pub mod machine;
pub mod operation;
pub mod phase;
pub mod plain_text;
pub mod refusal;
pub mod settings;
pub mod snapshot;
pub mod time;
pub mod workload;
