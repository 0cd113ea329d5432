//! Requests to a shelf.
