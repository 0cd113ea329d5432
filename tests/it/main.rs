//! Integration tests with real processes, one binary.
mod crash_real;
