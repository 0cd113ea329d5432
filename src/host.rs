//! What we do to the machine: the only door to processes, files, sockets and clocks.
pub mod crash_files;
pub mod file_manifest;
pub mod keeping;
mod no_follow;
pub mod probe;
