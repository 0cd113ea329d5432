//! Who holds a workload: a small single-threaded process that owns PTY, child and exit status of one workload
//! while agents come and go. std, nix and libc only; no async, no JSON, no policy.
pub mod layout;
pub mod protocol;
