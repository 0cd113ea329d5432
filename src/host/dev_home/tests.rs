//! Real folders of a temporary root, with an account that is nobody's.
use super::*;
