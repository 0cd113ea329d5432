//! Integration tests with real processes, one binary.
mod host_keeper;
mod keeper;
