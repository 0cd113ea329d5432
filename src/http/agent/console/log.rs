//! `GET /console/log`: kept output by absolute offset, in every state of the workload.
use crate::http::{
    Response,
    agent::{Agent, backend::KeptOutput},
    problem::{Code, Problem},
    query::Query,
};
use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, header},
};
use serde::Deserialize;
use std::{io, sync::Arc};
use utoipa::IntoParams;

const LOG_START: HeaderName = HeaderName::from_static("log-start");
const LOG_END: HeaderName = HeaderName::from_static("log-end");
const LOG_EPOCH: HeaderName = HeaderName::from_static("log-epoch");
const LOG_FROM: HeaderName = HeaderName::from_static("log-from");

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Absolute offset; negative: so many bytes before the end. Default: as many as `limit` allows, up to the end.
    from: Option<i64>,
    /// Most bytes to answer with, at most and by default `console.page_bytes`.
    limit: Option<usize>,
    /// Dev containers only: which shell; `main` by default.
    session: Option<String>,
}

/// `Log-Start`, `Log-End`, `Log-Epoch`: what is kept. `Log-From`: offset of the first byte answered.
#[utoipa::path(get, path = "/console/log", tag = "console", params(Page), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>, headers(("Log-Start" = u64), ("Log-End" = u64), ("Log-Epoch" = u64), ("Log-From" = u64))), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn log(State(agent): State<Arc<Agent>>, Query(page): Query<Page>) -> Result<Response, Problem> {
    let kept = agent.game.kept(page.session.as_deref())?;
    answer(&agent, &*kept, (page.from, page.limit)).await
}

/// The stretch that begins `from` there, as [`Page`] says it.
pub(in crate::http::agent) async fn answer(
    agent: &Agent,
    kept: &dyn KeptOutput,
    (from, limit): (Option<i64>, Option<usize>),
) -> Result<Response, Problem> {
    let most = agent.console_settings.page_bytes;
    let limit = limit.unwrap_or(most).min(most);
    let range = kept.range();
    let wanted = match from {
        Some(from) if from >= 0 => from.unsigned_abs().min(range.end),
        Some(before_end) => range.end.saturating_sub(before_end.unsigned_abs()),
        None => range.end.saturating_sub(limit as u64),
    };
    let read = read(kept, wanted.max(range.start), range.end, limit).await;
    let (from, bytes) = read.map_err(|e| Code::INTERNAL.because(format!("The console log cannot be read: {e}")))?;
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(LOG_START, range.start.into());
    headers.insert(LOG_END, range.end.into());
    headers.insert(LOG_EPOCH, range.epoch.0.into());
    headers.insert(LOG_FROM, from.into());
    Ok(response)
}

/// Bytes of `from..end`, at most `limit`, without a hole: ends early where bytes were overwritten meanwhile.
async fn read(log: &dyn KeptOutput, from: u64, end: u64, limit: usize) -> io::Result<(u64, Vec<u8>)> {
    let mut first = from;
    let mut bytes = Vec::new();
    loop {
        let at = first + bytes.len() as u64;
        let left = (limit - bytes.len()).min(usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX));
        if left == 0 {
            return Ok((first, bytes));
        }
        let chunk = log.read(at, left).await?;
        if bytes.is_empty() {
            first = chunk.from;
        } else if chunk.from != at {
            return Ok((first, bytes));
        }
        if chunk.bytes.is_empty() {
            return Ok((first, bytes));
        }
        bytes.extend_from_slice(&chunk.bytes);
    }
}
