//! JSON request bodies: bounded in size and time, faults named.
use super::problem::{Code, Problem};
use crate::model::settings::Limits;
use axum::{
    body::Body,
    http::{HeaderMap, Request, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

/// The whole body as `T`. A `Content-Type` may be missing (old callers send none), but if there is one it must say JSON.
pub async fn json<T: DeserializeOwned>(request: Request<Body>, limits: &Limits) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    says_json(&parts.headers)?;
    let bytes = whole(body, limits).await?;
    serde_json::from_slice(&bytes).map_err(|e| Code::MALFORMED_BODY.because(e.to_string()))
}

fn says_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Code::UNSUPPORTED_MEDIA_TYPE.into())
}

/// The whole body, within `limits`.
pub async fn whole(body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, limits.body_bytes).collect();
    match tokio::time::timeout(limits.body_timeout, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(Problem::from(Code::TOO_LARGE).limit(limits.body_bytes)),
        Ok(Err(e)) => Err(Code::MALFORMED_BODY.because(format!("The body broke off: {e}"))),
        Err(_) => Err(Code::REQUEST_TIMEOUT.into()),
    }
}
