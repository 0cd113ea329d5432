//! `/version`: which program this is.
use super::Agent;
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Version {
    /// With `v` prefix.
    version: String,
    commit: String,
}

#[utoipa::path(get, path = "/version", tag = "agent", security(()), responses((status = 200, body = Version)))]
pub async fn version(State(agent): State<Arc<Agent>>) -> Json<Version> {
    Json(Version { version: agent.build.version.clone(), commit: agent.build.commit.clone() })
}
