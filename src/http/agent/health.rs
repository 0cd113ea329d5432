//! `/health`: the agent breathes. `/ready`: players can join, or why not.
use super::Agent;
use crate::{actors::status::Check, http::Response};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Alive, whatever else happens.
#[utoipa::path(get, path = "/health", tag = "agent", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn health() -> Response {
    ok()
}

pub fn ok() -> Response {
    let mut response = Response::new("ok".into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Readiness and the checks behind it.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    /// What is missing; absent when ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    checks: Vec<Check>,
}

/// Ready when every check passes.
#[utoipa::path(get, path = "/ready", tag = "agent", security(()), responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn ready(State(agent): State<Arc<Agent>>) -> Response {
    let checks = agent.status.current().checks.to_vec();
    let failed = checks.iter().find(|check| !check.ok);
    let reason = failed.map(|check| format!("{}: {}", check.name, check.detail));
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reason.is_none(), reason, checks })).into_response()
}
