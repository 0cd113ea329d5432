//! The server loop with real sockets.
