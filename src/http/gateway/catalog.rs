//! What can be installed in dev containers, for the portal.
use super::Gateway;
use crate::{
    actors::runtime_catalog::{NoOffer, Offer},
    http::problem::{Code, Problem},
};
use axum::{Json, extract::State};
use std::{sync::Arc, time::Duration};

/// Runtimes and add-ons of the artifact server's catalog with their versions; unusable entries are left out and named in
/// `warnings`.
#[utoipa::path(get, path = "/api/dev/runtimes", tag = "dev", responses((status = 200, body = serde_json::Value), (status = 503, body = Problem)))]
pub async fn runtimes(State(gateway): State<Arc<Gateway>>) -> Result<Json<Arc<Offer>>, Problem> {
    gateway.catalog.offer().await.map(Json).map_err(|error| {
        let problem = Code::NO_CATALOG.because(error.to_string());
        if matches!(error, NoOffer::NoServer) { problem } else { problem.retry_after(Duration::from_secs(5)) }
    })
}
