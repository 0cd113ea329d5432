//! Bodies, good and bad.
