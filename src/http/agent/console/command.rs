//! `POST /console/command`: one line for the game.
use crate::http::{
    agent::Agent,
    body,
    problem::{Code, Problem},
};
use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest command in bytes: what every known game server's line reader takes.
const MAX_BYTES: usize = 1024;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// One line without control characters, at most 1024 bytes.
    command: String,
}

#[derive(Serialize, ToSchema)]
pub struct Sent {
    ok: bool,
}

#[utoipa::path(post, path = "/console/command", tag = "console", request_body = Command, responses((status = 202, body = Sent), (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn command(State(agent): State<Arc<Agent>>, request: Request) -> Result<(StatusCode, Json<Sent>), Problem> {
    let Command { command } = body::json(request, &agent.limits).await?;
    check(&command)?;
    agent.game.command(command).await?;
    Ok((StatusCode::ACCEPTED, Json(Sent { ok: true })))
}

fn check(command: &str) -> Result<(), Problem> {
    if command.len() > MAX_BYTES {
        let detail = format!("The command has {} bytes, more than {MAX_BYTES}.", command.len());
        return Err(Code::INVALID_COMMAND.because(detail).limit(MAX_BYTES));
    }
    if command.trim().is_empty() {
        return Err(Code::INVALID_COMMAND.because("The command is empty."));
    }
    match command.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(Code::INVALID_COMMAND.because(format!("Byte {at} is the control character {c:?}."))),
        None => Ok(()),
    }
}
