//! The real keeper binary, driven through its protocol. Run in a PID namespace of its own:
//! `unshare --pid --fork --mount-proc --kill-child cargo test --test it keeper::`
mod adoption;
pub mod ahead;
mod console;
#[cfg(feature = "failpoints")]
mod failpoints;
mod faults;
pub mod harness;
mod init;
mod launching;
mod permit;
mod trees;
