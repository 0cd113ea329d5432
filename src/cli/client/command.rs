//! `zlh command`: one line for the server's console.
use super::{Session, print_json};
use crate::cli::failure::Failure;

/// Sends it; what the server says to that is seen in its console (`zlh logs -f`).
pub async fn send(session: &Session, line: &str) -> Result<(), Failure> {
    let answer = session.agent.order("console/command", Some(&serde_json::json!({ "command": line }))).await?;
    if session.json { print_json(&answer.body) } else { Ok(()) }
}
