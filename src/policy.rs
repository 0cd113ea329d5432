//! What we decide: pure functions and state machines. Time and chance come in as arguments.
pub mod crash;
pub mod doctor;
pub mod launch;
