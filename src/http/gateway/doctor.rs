//! The IDE's doctor: goes the way of a browser, hop by hop, through the real listener, and says which hop fails and what
//! cures it.
//!
//! ```text
//!  container ─► token ─► cookie ─► page ─► asset ─► handshake ─► first frame
//! ```
//! It asks as the browser asks, with the Host and Origin of the front door: what goes wrong for a person goes wrong here.
mod hops;

use super::Gateway;
use crate::{
    actors::doorkeeper::Admitted,
    http::{
        hosts::host_of,
        problem::{Code, Problem},
    },
};
use axum::{Extension, Json, extract::State, http::HeaderMap, http::header};
use hops::Visit;
use serde::Serialize;
use std::{sync::Arc, time::Instant};
use utoipa::ToSchema;

/// One hop of a browser's way.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    pub name: &'static str,
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What to do; only where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<&'static str>,
    pub took_ms: u64,
}

/// The way as far as it leads: all hops but the last are good.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    pub ok: bool,
    /// Where a browser would begin.
    pub url: String,
    pub hops: Vec<Hop>,
}

/// Plays a browser that opens this container's IDE.
#[utoipa::path(get, path = "/api/dev/{id}/ide/doctor", tag = "dev", params(("id" = u32, Path)), responses((status = 200, body = Diagnosis), (status = 404, body = Problem)))]
pub async fn diagnose(
    State(gateway): State<Arc<Gateway>>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
) -> Result<Json<Diagnosis>, Problem> {
    let server = admitted.server.clone().ok_or(Code::NO_SUCH_SERVER)?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_of).unwrap_or("127.0.0.1");
    let (url, prefix) = gateway.tunnel.origin().front_door(server.vmid, host);
    let mut visit = Visit::new(gateway, admitted, server, &url, prefix);
    let mut hops = Vec::new();
    for (name, hop) in hops::ALL {
        let began = Instant::now();
        let outcome = hop(&mut visit).await;
        let took_ms = began.elapsed().as_millis() as u64;
        let (ok, detail, cure) = match outcome {
            Ok(detail) => (true, detail, None),
            Err(fault) => (false, fault.detail, Some(fault.cure)),
        };
        hops.push(Hop { name, ok, detail, cure, took_ms });
        if !ok {
            break;
        }
    }
    Ok(Json(Diagnosis { ok: hops.iter().all(|hop| hop.ok), url, hops }))
}
