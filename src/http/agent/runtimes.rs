//! `/dev/runtimes`: what is installed, what could be, and the orders about it. Each order is an operation.
use super::{Agent, HOLDER};
use crate::{
    actors::installer::{Accepted, Stock, workshop::Available},
    http::{
        Response, body,
        problem::{Code, Problem},
    },
    model::{
        ids::OperationId,
        install::{User, Wanted},
    },
};
use axum::{
    Json,
    body::HttpBody,
    extract::{Path, Request, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// `GET /dev/runtimes`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runtimes {
    installed: Vec<Installed>,
    /// Empty where the artifact server cannot tell.
    available: Vec<Available>,
    /// Why `available` is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    available_error: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Installed {
    id: String,
    version: String,
    path: String,
    /// Bytes of its files.
    size: u64,
    files: u64,
    /// Of the archive it came from.
    sha256: String,
    active: bool,
    verified: bool,
    in_use_by: Vec<User>,
}

impl From<Stock> for Installed {
    fn from(Stock { tree, active, users }: Stock) -> Installed {
        Installed {
            id: tree.id.family.id,
            version: tree.id.version,
            path: tree.path,
            size: tree.bytes,
            files: tree.files,
            sha256: tree.sha256.to_string(),
            active,
            verified: tree.verified,
            in_use_by: users,
        }
    }
}

/// An order that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ordered {
    ok: bool,
    /// Absent when nothing had to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    operation_id: Option<OperationId>,
}

/// 202, or 200 when nothing had to be done.
fn ordered(accepted: Accepted) -> Response {
    let status = if accepted.operation.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Json(Ordered { ok: true, operation_id: accepted.operation })).into_response()
}

#[utoipa::path(get, path = "/dev/runtimes", tag = "runtimes", responses((status = 200, body = Runtimes), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub async fn list(State(agent): State<Arc<Agent>>) -> Result<Json<Runtimes>, Problem> {
    let (stock, available) = tokio::join!(agent.runtimes.stock(), agent.runtimes.available());
    let (available, available_error) = match available {
        Ok(available) => (available, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let installed = stock?.into_iter().map(Installed::from).collect();
    Ok(Json(Runtimes { installed, available, available_error }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct What {
    runtime: String,
    /// As the catalog names it, its beginning (`22`), or a channel.
    version: String,
    /// Make it the active version once it is installed (default).
    activate: Option<bool>,
}

/// Installs it, or verifies and mends what is there.
#[utoipa::path(post, path = "/dev/runtimes", tag = "runtimes", request_body = What, responses((status = 202, body = Ordered), (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn install(State(agent): State<Arc<Agent>>, request: Request) -> Result<Response, Problem> {
    let What { runtime, version, activate } = body::json(request, &agent.limits).await?;
    let wanted = Wanted::Runtime { id: runtime, version };
    Ok(ordered(agent.runtimes.ensure(wanted, activate.unwrap_or(true), HOLDER).await?))
}

/// Refused with 409 and the processes while somebody uses it.
#[utoipa::path(delete, path = "/dev/runtimes/{runtime}/{version}", tag = "runtimes", params(("runtime" = String, Path,), ("version" = String, Path,)), responses((status = 202, body = Ordered), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn remove(
    State(agent): State<Arc<Agent>>,
    Path((runtime, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    Ok(ordered(agent.runtimes.remove(runtime, version, HOLDER).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    version: String,
}

/// Makes an installed version the active one.
#[utoipa::path(post, path = "/dev/runtimes/{runtime}/activate", tag = "runtimes", params(("runtime" = String, Path,)), request_body = Version, responses((status = 202, body = Ordered), (status = 200, body = Ordered, description = "It is active already"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn activate(
    State(agent): State<Arc<Agent>>,
    Path(runtime): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let Version { version } = body::json(request, &agent.limits).await?;
    Ok(ordered(agent.runtimes.activate(runtime, version, HOLDER).await?))
}

/// Makes the version active that was so before.
#[utoipa::path(post, path = "/dev/runtimes/{runtime}/rollback", tag = "runtimes", params(("runtime" = String, Path,)), responses((status = 202, body = Ordered), (status = 401, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn rollback(State(agent): State<Arc<Agent>>, Path(runtime): Path<String>) -> Result<Response, Problem> {
    Ok(ordered(agent.runtimes.rollback(runtime, HOLDER).await?))
}

/// Without a body the active version is meant.
async fn named(agent: &Agent, request: Request) -> Result<Option<String>, Problem> {
    if request.body().is_end_stream() {
        return Ok(None);
    }
    let Version { version } = body::json(request, &agent.limits).await?;
    Ok(Some(version))
}

/// Compares every file with the manifest.
#[utoipa::path(post, path = "/dev/runtimes/{runtime}/verify", tag = "runtimes", params(("runtime" = String, Path,)), request_body(content = Option<Version>, description = "Without it the active version is meant"), responses((status = 202, body = Ordered), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn verify(
    State(agent): State<Arc<Agent>>,
    Path(runtime): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let version = named(&agent, request).await?;
    Ok(ordered(agent.runtimes.verify(runtime, version, HOLDER).await?))
}

/// Makes damaged files as they were; installs it anew if that cannot be.
#[utoipa::path(post, path = "/dev/runtimes/{runtime}/repair", tag = "runtimes", params(("runtime" = String, Path,)), request_body(content = Option<Version>, description = "Without it the active version is meant"), responses((status = 202, body = Ordered), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn repair(
    State(agent): State<Arc<Agent>>,
    Path(runtime): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let version = named(&agent, request).await?;
    Ok(ordered(agent.runtimes.repair(runtime, version, HOLDER).await?))
}

/// Deletes what no install needs, and versions that were superseded (`install.keep_previous`).
#[utoipa::path(post, path = "/dev/runtimes/gc", tag = "runtimes", responses((status = 202, body = Ordered), (status = 401, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn collect(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    Ok(ordered(agent.runtimes.collect(HOLDER).await?))
}

/// Cancels an install, another order about runtimes, or work on a backup; what it did is undone.
#[utoipa::path(delete, path = "/operations/{id}", tag = "agent", params(("id" = String, Path,)), responses((status = 202, body = Ordered), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn cancel(State(agent): State<Arc<Agent>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let published = agent.status.current();
    if !published.operations.iter().any(|operation| operation.id.0 == id) {
        return Err(Code::NO_SUCH_OPERATION.into());
    }
    let operation = OperationId(id);
    match agent.game.cancel_backup(operation.clone()).await {
        Some(cancelled) => cancelled.map(|()| ordered(Accepted { operation: Some(operation) })).map_err(Problem::from),
        None => Ok(ordered(agent.runtimes.cancel(operation).await?)),
    }
}
