//! The person's terminal: raw mode that always ends, keys, line editing, and what may be printed.
pub mod editor;
pub mod filter;
pub mod keys;
pub mod raw;
pub mod screen;
