//! Integration tests: the real binary with real processes, one test binary for all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
mod agent;
mod cli;
mod crash_real;
mod faults;
mod host_keeper;
mod house;
mod keeper;
mod sharing;
mod support;
