//! The console WebSocket over real sockets.
