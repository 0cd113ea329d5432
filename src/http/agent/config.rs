//! `POST /config`: hands the body on as it is; what it means is decided behind this face.
use super::{Agent, HOLDER, power::Taken};
use crate::http::{
    body,
    problem::{Code, Problem},
};
use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use serde_json::Value;
use std::sync::Arc;

/// Installs in the background. Unknown fields are kept and ignored.
#[utoipa::path(post, path = "/config", tag = "game", request_body = Value, responses((status = 202, body = Taken), (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub async fn configure(
    State(agent): State<Arc<Agent>>,
    request: Request,
) -> Result<(StatusCode, Json<Taken>), Problem> {
    let config: Value = body::json(request, &agent.limits).await?;
    if !config.is_object() {
        return Err(Code::MALFORMED_BODY.because("The body must be a JSON object."));
    }
    let accepted = agent.game.configure(config, HOLDER).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted.into())))
}
