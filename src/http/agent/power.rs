//! `/start`, `/restart`, `/stop`, `/kill`: no body, no Content-Type needed.
use super::{Agent, HOLDER};
use crate::{
    actors::{game_server::Accepted, status::StatusReader},
    http::{
        Response,
        problem::{Code, Problem},
        query::{Query, Wait},
        server::connection::Connection,
    },
    model::{
        ids::OperationId,
        operation::{Operation, OperationKind, OperationState},
        phase::State as Phase,
    },
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderName, StatusCode},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::time::sleep;
use utoipa::{IntoParams, ToSchema};

const OPERATION_ID: HeaderName = HeaderName::from_static("operation-id");

/// A command that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    ok: bool,
    state: Phase,
    /// When nothing had to be done: the newest one that brought the server up, as long as `/operations` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    operation_id: Option<OperationId>,
}

impl From<Accepted> for Taken {
    fn from(accepted: Accepted) -> Taken {
        Taken { ok: true, state: accepted.state, operation_id: accepted.operation }
    }
}

pub(super) fn taken(accepted: Accepted) -> Response {
    (StatusCode::ACCEPTED, Json(Taken::from(accepted))).into_response()
}

/// Nothing had to be done: 200, and what had been done before.
fn taken_before(accepted: Accepted, operations: &[Operation]) -> Response {
    let up = |kind| matches!(kind, OperationKind::Start | OperationKind::Restart | OperationKind::Config);
    let before = operations.iter().find(|o| up(o.kind)).map(|o| o.id.clone());
    (StatusCode::OK, Json(Taken::from(Accepted { operation: before, ..accepted }))).into_response()
}

fn no_content(operation: Option<OperationId>) -> Response {
    match operation {
        Some(id) => (StatusCode::NO_CONTENT, [(OPERATION_ID, id.0)]).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

#[utoipa::path(post, path = "/start", tag = "game", responses((status = 202, body = Taken), (status = 200, body = Taken, description = "It runs already"), (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn start(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    let accepted = agent.game.start(HOLDER).await?;
    Ok(match accepted.operation {
        Some(_) => taken(accepted),
        None => taken_before(accepted, &agent.status.current().operations),
    })
}

#[utoipa::path(post, path = "/restart", tag = "game", responses((status = 202, body = Taken), (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn restart(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    Ok(taken(agent.game.restart(HOLDER).await?))
}

/// SIGKILL to the whole tree; never blocked by another operation.
#[utoipa::path(post, path = "/kill", tag = "game", responses((status = 204), (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn kill(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    Ok(no_content(agent.game.kill(HOLDER).await?.operation))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StopHow {
    /// Answer when the server is down, or with 202 after this time (`60s`; capped by `limits.max_wait`).
    #[param(value_type = Option<String>)]
    wait: Option<Wait>,
}

#[utoipa::path(post, path = "/stop", tag = "game", params(StopHow), responses((status = 204, description = "Stopping, or down if `wait` was given", headers(("Operation-Id" = String))), (status = 202, body = Taken, description = "Not down yet when `wait` was over"), (status = 401, body = Problem), (status = 409, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem)))]
pub async fn stop(
    State(agent): State<Arc<Agent>>,
    Extension(connection): Extension<Arc<Connection>>,
    Query(how): Query<StopHow>,
) -> Result<Response, Problem> {
    let accepted = agent.game.stop(HOLDER).await?;
    let (Some(Wait(wait)), Some(operation)) = (how.wait, accepted.operation.clone()) else {
        return Ok(no_content(accepted.operation));
    };
    let ended = tokio::select! {
        ended = end_of(agent.status.clone(), &operation) => ended,
        () = sleep(wait.min(agent.limits.max_wait)) => None,
        () = connection.draining() => None,
    };
    match ended {
        None => Ok(taken(accepted)),
        Some(ended) if ended.state == OperationState::Failed => {
            let detail = ended.error.unwrap_or_else(|| "The server could not be stopped.".to_owned());
            Err(Code::OPERATION_FAILED.because(detail).operation(operation))
        }
        Some(_) => Ok(no_content(Some(operation))),
    }
}

/// The operation once it has its outcome; `None` when nobody publishes any more.
async fn end_of(mut reader: StatusReader, id: &OperationId) -> Option<Operation> {
    let mut published = reader.current();
    loop {
        let ended = published.operations.iter().find(|o| o.id == *id && o.state.is_final());
        if let Some(operation) = ended {
            return Some(operation.clone());
        }
        let revision = published.snapshot.revision.0;
        published = reader.past(revision).await;
        if published.snapshot.revision.0 <= revision {
            return None;
        }
    }
}
