//! `/agent/update`: the agent's updates of itself.
use super::Agent;
use crate::{
    http::{Response, body, problem::Problem},
    model::update::Standing,
};
use axum::{
    Json,
    body::HttpBody,
    extract::{Request, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// This version, also an older one or one that failed here; without it what the channel promotes, if it is newer.
    version: Option<String>,
    /// Look only, take nothing.
    check: bool,
}

/// Fetches, verifies and tries a version of the agent, then continues as that one; the workload does not notice.
#[utoipa::path(post, path = "/agent/update", tag = "agent", request_body(content = Option<Order>, description = "Without it what the channel promotes is taken"), responses((status = 202, body = Standing), (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 503, body = Problem)))]
pub async fn update(State(agent): State<Arc<Agent>>, request: Request) -> Result<Response, Problem> {
    let Order { version, check } =
        if request.body().is_end_stream() { Order::default() } else { body::json(request, &agent.limits).await? };
    let standing = if check { agent.updates.check().await? } else { agent.updates.update(version).await? };
    Ok((StatusCode::ACCEPTED, Json(standing)).into_response())
}

/// What runs, what there is, and how the last update went.
#[utoipa::path(get, path = "/agent/update/status", tag = "agent", responses((status = 200, body = Standing), (status = 401, body = Problem)))]
pub async fn status(State(agent): State<Arc<Agent>>) -> Json<Standing> {
    Json(agent.updates.standing())
}
