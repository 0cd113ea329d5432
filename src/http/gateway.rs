//! What the gateway answers.
pub mod tunnel;
