//! adoption.
