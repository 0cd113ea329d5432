//! What we do to the machine: the only door to processes, files, sockets and clocks.
pub mod accounts;
<<<<<<< HEAD
pub mod agent_feed;
=======
pub mod artifact_store;
pub mod artifacts;
>>>>>>> gate
pub mod cgroup;
pub mod clock;
pub mod console_input;
pub mod console_log;
pub mod crash_files;
pub mod database;
pub mod doctor;
pub mod failpoint;
pub mod file_manifest;
pub mod find;
pub mod install;
pub mod keeper_client;
pub mod keeper_state;
pub mod keeping;
pub mod keyring;
pub mod machine;
mod no_follow;
pub mod password;
pub mod probe;
pub mod process;
pub mod server_root;
<<<<<<< HEAD
pub mod status_cache;
=======
pub mod shelf;
pub mod signing_key;
>>>>>>> gate
pub mod store;
pub mod usage;
