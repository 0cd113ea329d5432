//! zlh turns a bare container into a supervised game server. ARCHITECTURE.md is the bird's eye view.
pub mod actors;
pub mod cli;
pub mod config;
pub mod host;
pub mod http;
pub mod keeper;
pub mod model;
pub mod policy;
