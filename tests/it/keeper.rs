//! The real keeper binary, driven through its protocol. Run in a PID namespace of its own:
//! `unshare --pid --fork --mount-proc --kill-child cargo test --test it keeper::`
mod adoption;
mod console;
mod faults;
mod harness;
mod launching;
mod trees;
