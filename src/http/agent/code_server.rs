//! `/dev/codeserver/start`, `/stop`, `/restart`: the editor of a dev container. None of them installs anything.
use super::{
    Agent, HOLDER,
    backend::EditorVerb,
    power::{Taken, taken},
};
use crate::http::{Response, problem::Problem};
use axum::extract::State;
use std::sync::Arc;

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
