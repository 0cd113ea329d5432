//! Integration tests: the real binary with real processes, one test binary for all of them.
mod cli;
mod house;
mod support;
