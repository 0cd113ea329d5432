//! What we do to the machine: the only door to processes, files, sockets and clocks.
pub mod accounts;
pub mod cgroup;
pub mod clock;
pub mod console_input;
pub mod console_log;
pub mod crash_files;
pub mod file_manifest;
pub mod find;
pub mod keeper_client;
pub mod keeper_state;
pub mod keeping;
pub mod machine;
mod no_follow;
pub mod probe;
pub mod process;
pub mod server_root;
pub mod store;
pub mod usage;
