//! Tables and properties of one session.
use super::*;
