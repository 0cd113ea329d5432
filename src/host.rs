//! What we do to the machine: the only door to processes, files, sockets and clocks.
pub mod cgroup;
pub mod clock;
pub mod console_log;
pub mod keeper_client;
pub mod keeper_state;
pub mod keeping;
pub mod process;
pub mod store;
