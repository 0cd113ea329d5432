//! Dev containers: the token that opens the browser IDE.
use super::Gateway;
use crate::{
    actors::doorkeeper::Admitted,
    http::{
        Response, hosts,
        problem::{Code, Problem},
    },
    model::{gateway::IdeDenial, ids::Vmid},
};
use axum::{Extension, Json, extract::State, http::HeaderMap, response::IntoResponse};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdeToken {
    token: String,
    /// Opens the IDE once, in a browser.
    url: String,
    /// Seconds.
    expires_in: u64,
}

/// For the owner of a dev container alone; the token opens its IDE once.
#[utoipa::path(post, path = "/api/dev/{id}/ide-token", tag = "dev", params(("id" = u32, Path)), responses((status = 200, body = IdeToken), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn ide_token(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { principal, server }): Extension<Admitted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (principal, server) = (principal.ok_or(Code::UNAUTHORIZED)?, server.ok_or(Code::NO_SUCH_SERVER)?);
    let issued = gateway.doorkeeper.issue_ide_token(&principal, server.vmid).map_err(ide_problem)?;
    let base = gateway.ide_base(server.vmid, &headers)?;
    let url = format!("{base}/api/dev/{}/ide?token={}", server.vmid, issued.text);
    let body = IdeToken { token: issued.text, url, expires_in: issued.lifetime.as_secs() };
    let mut response = Json(body).into_response();
    super::no_store(&mut response);
    Ok(response)
}

pub fn ide_problem(denial: IdeDenial) -> Problem {
    match denial {
        IdeDenial::Invalid => Code::IDE_DENIED.because("This is no IDE token of this gateway."),
        IdeDenial::Expired => Code::IDE_DENIED.because("Its time is over; open the IDE from the portal again."),
        IdeDenial::Used => Code::IDE_DENIED.because("It was used before; open the IDE from the portal again."),
        IdeDenial::OtherContainer => Code::IDE_DENIED.because("It is for another container."),
        IdeDenial::Revoked => Code::IDE_DENIED.because("Only the owner of this container may enter its IDE."),
        IdeDenial::Unavailable => Code::DATABASE_UNAVAILABLE.into(),
    }
}

impl Gateway {
    /// Origin of one container's IDE as this caller's browser reaches it.
    pub fn ide_base(&self, vmid: Vmid, headers: &HeaderMap) -> Result<String, Problem> {
        let name = hosts::host_name(headers)?.unwrap_or("127.0.0.1");
        let (door, prefix) = self.tunnel.origin().front_door(vmid, name);
        Ok(door.strip_suffix(&format!("{prefix}/")).unwrap_or(&door).to_owned())
    }
}
