//! What we do to the machine: the only door to processes, files, sockets and clocks.
pub mod accounts;
pub mod find;
pub mod keeping;
pub mod machine;
pub mod server_root;
pub mod usage;
