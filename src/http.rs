//! Who asks: extract, one message or one snapshot read, wire type. It translates, it does not think.
//!
//! [`server`] turns a listener into requests, [`hosts`] and [`auth`] decide who may ask, [`problem`] is every error there
//! is, [`agent`] is what one agent answers.
pub mod agent;
pub mod artifacts;
pub mod auth;
pub mod body;
pub mod gateway;
pub mod hosts;
pub mod problem;
pub mod query;
pub mod server;
pub mod websocket;

/// At most so many bytes of `text`, cut between characters: what a peer sent is not sent back at any length.
fn shortened(text: &str, most: usize) -> &str {
    let cut = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..cut.unwrap_or(0)]
}

#[cfg(test)]
mod tests;

/// What every handler answers with.
pub type Response = axum::response::Response;
