//! Idempotency-Key: the same request again, because an answer got lost, gets the same answer and does nothing twice.
//!
//! A key belongs to one person and one request (method, path, query, body). While the first is at work: 409. With another
//! request: 422. An answer that says "try again" (409, 429, 5xx) is not kept: the retry may succeed. What is kept comes
//! back with its headers: where the operation is, and what the portal's pages may do with the body.
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
/// About one message on one connection, or for one browser.
const NOT_KEPT: [HeaderName; 5] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::DATE, header::SET_COOKIE];

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
    let kept = std::str::from_utf8(&bytes).ok().filter(|_| !again).map(|body| Remembered {
        status: status.as_u16(),
        headers: written(&parts.headers),
        body: body.to_owned(),
    });
    (Response::from_parts(parts, Body::from(bytes)), kept)
}

fn written(headers: &HeaderMap) -> String {
    let kept = headers.iter().filter(|(name, _)| !NOT_KEPT.contains(name));
    let texts: Vec<(&str, &str)> =
        kept.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    serde_json::to_string(&texts).unwrap_or_default()
}

fn read(headers: &str) -> HeaderMap {
    let texts: Vec<(String, String)> = serde_json::from_str(headers).unwrap_or_default();
    texts.iter().filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?))).collect()
}

fn replayed(kept: Remembered) -> Response {
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    *response.headers_mut() = read(&kept.headers);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
