//! Integration tests with real processes, one binary.
mod keeper;
