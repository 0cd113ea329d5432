//! What we do to the machine: the only door to processes, files, sockets and clocks.
pub mod cgroup;
pub mod clock;
pub mod console_log;
pub mod crash_files;
pub mod doctor;
pub mod file_manifest;
pub mod keeper_client;
pub mod keeper_state;
pub mod keeping;
mod no_follow;
pub mod probe;
pub mod process;
pub mod store;
