//! Idempotency-Key: the same request again, because an answer got lost, gets the same answer and does nothing twice.
//!
//! A key belongs to one person and one request (method, path, query, body). While the first is at work: 409. With another
//! request: 422. An answer that says "try again" (409, 429, 5xx) is not kept: the retry may succeed.
use super::{Gateway, unavailable};
use crate::{
    actors::doorkeeper::{KeyState, Remembered},
    http::{
        Response, body,
        problem::{Code, Problem},
    },
    model::gateway::Principal,
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use http_body_util::{BodyExt, Limited};
use sha2::{Digest, Sha256};
use std::time::Duration;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const LONGEST_KEY: usize = 255;

/// Answers with `work`, at most once for each key; without a key every time.
pub async fn once<W>(
    gateway: &Gateway,
    caller: Option<Principal>,
    request: Request,
    work: W,
) -> Result<Response, Problem>
where
    W: AsyncFnOnce(Request) -> Result<Response, Problem>,
{
    let (Some(key), Some(caller)) = (key(request.headers())?, caller) else { return work(request).await };
    let (parts, body) = request.into_parts();
    let bytes = body::whole(body, &gateway.limits).await?;
    let mut sum = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &bytes] {
        sum.update((part.len() as u64).to_be_bytes());
        sum.update(part);
    }
    let fingerprint = data_encoding::HEXLOWER.encode(&sum.finalize());
    let user = &caller.user.id;
    match gateway.doorkeeper.take_key(user, &key, &fingerprint).await.map_err(|e| unavailable(&e))? {
        KeyState::New => {}
        KeyState::AtWork => return Err(Problem::from(Code::KEY_AT_WORK).retry_after(Duration::from_secs(1))),
        KeyState::Other => return Err(Code::KEY_REUSED.into()),
        KeyState::Answered(kept) => return Ok(replayed(kept)),
    }
    let request = Request::from_parts(parts, Body::from(bytes));
    let response = work(request).await.unwrap_or_else(IntoResponse::into_response);
    let (response, kept) = keepable(response, gateway.limits.body_bytes).await;
    let remembered = gateway.doorkeeper.settle_key(user, &key, kept).await;
    remembered.map_err(|e| unavailable(&e))?;
    Ok(response)
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().ok().filter(|text| (1..=LONGEST_KEY).contains(&text.len()) && keys.next().is_none());
    let text = text.ok_or_else(|| Code::MALFORMED.because("Idempotency-Key is one text of 1 to 255 characters."))?;
    Ok(Some(text.to_owned()))
}

/// The answer, and what is to be remembered of it.
async fn keepable(response: Response, most: usize) -> (Response, Option<Remembered>) {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let again = matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error();
    let bytes = match Limited::new(body, most).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            tracing::warn!(%error, "an answer to a request with an Idempotency-Key broke off");
            return (Problem::from(Code::AGENT_BROKE_OFF).into_response(), None);
        }
    };
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let kept = std::str::from_utf8(&bytes).ok().filter(|_| !again).map(|body| Remembered {
        status: status.as_u16(),
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        body: body.to_owned(),
    });
    (Response::from_parts(parts, Body::from(bytes)), kept)
}

fn replayed(kept: Remembered) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = (status, kept.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if let (Ok(kind), false) = (HeaderValue::from_str(&kept.content_type), kept.content_type.is_empty()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
