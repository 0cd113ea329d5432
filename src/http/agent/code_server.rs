//! `/dev/codeserver/start`, `/stop`, `/restart`: the editor of a dev container, none of which installs anything; and
//! `/log`, what it said.
use super::{
    Agent, HOLDER,
    backend::EditorVerb,
    console,
    power::{Taken, taken},
};
use crate::http::{Response, problem::Problem, query::Query};
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Absolute offset; negative: so many bytes before the end. Default: as many as `limit` allows, up to the end.
    from: Option<i64>,
    /// Most bytes to answer with, at most and by default `console.page_bytes`.
    limit: Option<usize>,
}

/// As `/console/log`, for what the editor itself has printed, also of earlier runs.
#[utoipa::path(get, path = "/dev/codeserver/log", tag = "dev", params(Page), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>, headers(("Log-Start" = u64), ("Log-End" = u64), ("Log-Epoch" = u64), ("Log-From" = u64))), (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem)))]
pub async fn log(State(agent): State<Arc<Agent>>, Query(page): Query<Page>) -> Result<Response, Problem> {
    let kept = agent.game.editor_output();
    console::log::answer(&agent, &*kept, (page.from, page.limit)).await
}

#[utoipa::path(post, path = "/dev/codeserver/start", tag = "dev", responses((status = 202, body = Taken, description = "Starting; without an operation if it runs already"), (status = 401, body = Problem), (status = 404, body = Problem, description = "It was never installed"), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn start(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    Ok(taken(agent.game.editor(EditorVerb::Start, HOLDER).await?))
}

#[utoipa::path(post, path = "/dev/codeserver/stop", tag = "dev", responses((status = 202, body = Taken, description = "Stopping; without an operation if it is down already"), (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn stop(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    Ok(taken(agent.game.editor(EditorVerb::Stop, HOLDER).await?))
}

#[utoipa::path(post, path = "/dev/codeserver/restart", tag = "dev", responses((status = 202, body = Taken), (status = 401, body = Problem), (status = 404, body = Problem, description = "It was never installed"), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn restart(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    Ok(taken(agent.game.editor(EditorVerb::Restart, HOLDER).await?))
}
