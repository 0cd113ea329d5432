//! `/operations`: what was asked for and how it ended.
use super::Agent;
use crate::{
    http::problem::{Code, Problem},
    model::operation::Operation,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Operations {
    /// Newest first.
    #[schema(value_type = Vec<Operation>)]
    operations: Arc<Vec<Operation>>,
}

#[utoipa::path(get, path = "/operations", tag = "agent", responses((status = 200, body = Operations), (status = 401, body = Problem)))]
pub async fn list(State(agent): State<Arc<Agent>>) -> Json<Operations> {
    Json(Operations { operations: agent.status.current().operations.clone() })
}

#[utoipa::path(get, path = "/operations/{id}", tag = "agent", params(("id" = String, Path,)), responses((status = 200, body = Operation), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(agent): State<Arc<Agent>>, Path(id): Path<String>) -> Result<Json<Operation>, Problem> {
    let published = agent.status.current();
    let found = published.operations.iter().find(|operation| operation.id.0 == id);
    found.cloned().map(Json).ok_or(Code::NO_SUCH_OPERATION.into())
}
