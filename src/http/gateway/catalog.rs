//! What can be installed in dev containers, for the portal.
use super::Gateway;
use crate::http::problem::{Code, Problem};
use axum::{Json, extract::State};
use std::sync::Arc;

#[utoipa::path(get, path = "/api/dev/runtimes", tag = "dev", responses((status = 200, body = serde_json::Value), (status = 503, body = Problem)))]
pub async fn runtimes(State(_gateway): State<Arc<Gateway>>) -> Result<Json<serde_json::Value>, Problem> {
    Err(Code::NO_CATALOG.into())
}
