//! `/crashes`: the last reports, whole.
use super::Agent;
use crate::{
    http::problem::{Code, Problem},
    model::crash::CrashReport,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Crashes {
    /// Newest first.
    #[schema(value_type = Vec<CrashReport>)]
    crashes: Arc<Vec<Arc<CrashReport>>>,
}

#[utoipa::path(get, path = "/crashes", tag = "game", responses((status = 200, body = Crashes), (status = 401, body = Problem)))]
pub async fn list(State(agent): State<Arc<Agent>>) -> Json<Crashes> {
    Json(Crashes { crashes: agent.status.current().crashes.clone() })
}

#[utoipa::path(get, path = "/crashes/{id}", tag = "game", params(("id" = String, Path,)), responses((status = 200, body = CrashReport), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(agent): State<Arc<Agent>>, Path(id): Path<String>) -> Result<Json<Arc<CrashReport>>, Problem> {
    let published = agent.status.current();
    let found = published.crashes.iter().find(|crash| crash.id == id);
    found.cloned().map(Json).ok_or(Code::NO_SUCH_CRASH.into())
}
