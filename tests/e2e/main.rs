//! End to end: the real agent with real game servers and a real player. `make realparts` makes the parts; without them
//! these tests fail, they are never skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#[path = "../it"]
#[allow(unused_imports, reason = "shared with the integration tests, which use more of it")]
mod it {
    pub mod support;
}

mod codeserver;
mod codeserver_used;
mod ddnet;
mod demo;
mod freeciv;
mod ide;
mod installs;
mod minetest;
mod openttd;
mod parts;
mod play;
mod player;
mod runtimes;
mod shop;
mod squid;
mod teeworlds;
mod up;
mod workspace;
