//! `/status`: the newest snapshot as it lies in memory.
use super::Agent;
use crate::{
    actors::status::Published,
    http::{
        Response,
        problem::Problem,
        query::{Query, Wait},
        server::connection::Connection,
    },
    model::snapshot::Snapshot,
};
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use serde::Deserialize;
use std::sync::Arc;
use tokio::time::sleep;
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Poll {
    /// Answer only when there is a revision later than `since`, or after this time (`30s`; capped by `limits.max_wait`).
    #[param(value_type = Option<String>)]
    wait: Option<Wait>,
    /// Revision known to the caller; the current one if left out. A number beyond the current revision belongs to an
    /// earlier life of the agent and is answered at once.
    since: Option<u64>,
}

/// The status. `ETag` names instance and revision; `If-None-Match` is answered with 304.
#[utoipa::path(get, path = "/status", tag = "agent", params(Poll), responses((status = 200, body = Snapshot), (status = 304), (status = 401, body = Problem)))]
pub async fn status(
    State(agent): State<Arc<Agent>>,
    Extension(connection): Extension<Arc<Connection>>,
    Query(poll): Query<Poll>,
    headers: HeaderMap,
) -> Response {
    let mut published = agent.status.current();
    if let Some(Wait(wait)) = poll.wait {
        let current = published.snapshot.revision.0;
        let since = poll.since.unwrap_or(current);
        let mut reader = agent.status.clone();
        if since == current {
            published = tokio::select! {
                newer = reader.past(since) => newer,
                () = sleep(wait.min(agent.limits.max_wait)) => published,
                () = connection.draining() => published,
            };
        }
    }
    answer(&published, &headers)
}

/// 200 with the bytes as they are, or 304.
pub fn answer(published: &Published, headers: &HeaderMap) -> Response {
    let etag = etag(published);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|list| names(list.as_bytes(), etag.as_bytes()));
    let mut response = if known {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(published.json.clone().into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    };
    response.headers_mut().insert(header::ETAG, etag);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Instance and revision: revisions start anew in each life of the agent.
fn etag(published: &Published) -> HeaderValue {
    let snapshot = &published.snapshot;
    let text = format!("\"{}-{}\"", snapshot.instance_id, snapshot.revision);
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Does an `If-None-Match` list name this tag? Weak comparison (RFC 9110 §13.1.2).
fn names(list: &[u8], etag: &[u8]) -> bool {
    list.split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}
