//! Reads upstream release pages.
