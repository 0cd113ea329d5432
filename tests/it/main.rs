//! Integration tests: the real binary with real processes, one test binary for all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
mod agent;
mod artifacts;
mod backups;
mod cli;
mod crash_real;
mod dev;
mod faults;
mod gateway;
mod host_keeper;
mod house;
mod install;
mod installs;
mod keeper;
mod sharing;
mod support;
mod update;
