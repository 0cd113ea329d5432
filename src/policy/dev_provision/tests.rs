//! Lives of a set-up: what goes well, what fails, what is killed in between.
use super::*;
