//! One agent over real sockets.
