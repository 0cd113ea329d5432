//! From a path of ours to the agent's: which path there, with what body, and back.
use super::{Gateway, idempotency};
use crate::{
    actors::doorkeeper::Admitted,
    http::{
        Response,
        problem::{Code, Problem},
        query::Wait,
    },
    model::{
        gateway::{Principal, Server},
        ids::Vmid,
    },
};
use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderValue, header, request::Parts},
};
use percent_encoding::percent_decode_str;
use std::{pin::Pin, sync::Arc, time::Duration};

/// What forwarding handlers know of their request.
pub struct Onward {
    gateway: Arc<Gateway>,
    admitted: Admitted,
    server: Arc<Server>,
    query: Option<String>,
    path: String,
}

impl FromRequestParts<Arc<Gateway>> for Onward {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Onward, Problem> {
        let admitted = parts.extensions.get::<Admitted>().cloned().ok_or(Code::UNAUTHORIZED)?;
        let server = admitted.server.clone().ok_or(Code::NO_SUCH_SERVER)?;
        let (query, path) = (parts.uri.query().map(str::to_owned), parts.uri.path().to_owned());
        Ok(Onward { gateway: gateway.clone(), admitted, server, query, path })
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// Always to this path of the agent, with the request's query.
pub fn to(path: &'static str) -> impl Fn(Onward, Request) -> Answering + Clone + Send + Sync + 'static {
    move |onward, request| {
        Box::pin(async move {
            let target = onward.target(path);
            idempotency::once(&onward.gateway.clone(), onward.caller(), request, async move |request| {
                onward.pass(&target, request).await
            })
            .await
        })
    }
}

/// To the path beneath `base` that follows `/{id}/` in ours.
pub fn beneath(base: &'static str) -> impl Fn(Onward, Request) -> Answering + Clone + Send + Sync + 'static {
    move |onward, request| {
        Box::pin(async move {
            let rest = rest(&onward.path, onward.server.vmid).ok_or(Code::NOT_FOUND)?;
            is_plain(rest)?;
            let ours = onward.path[..onward.path.len() - rest.len()].to_owned();
            let target = onward.target(&format!("{base}{rest}"));
            let mut response = onward.pass(&target, request).await?;
            map_location(&mut response, base, &ours);
            Ok(response)
        })
    }
}

impl Onward {
    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn caller(&self) -> Option<Principal> {
        self.admitted.principal.clone()
    }

    /// `path` of the agent, with this request's query.
    pub fn target(&self, path: &str) -> String {
        with_query(path, self.query.as_deref())
    }

    pub async fn pass(&self, target: &str, request: Request) -> Result<Response, Problem> {
        let patience = patience(self.query.as_deref());
        self.gateway.upstream.send(&self.server, target, patience, request).await
    }
}

/// `/api/dev/6001/files/list` → `files/list`.
fn rest(path: &str, vmid: Vmid) -> Option<&str> {
    path.split_once(&format!("/{vmid}/")).map(|(_, rest)| rest)
}

fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// No segment may mean another place to whoever decodes it again: `..`, an encoded slash, a backslash, NUL.
fn is_plain(path: &str) -> Result<(), Problem> {
    let plain = |segment: &str| {
        let decoded = percent_decode_str(segment).collect::<Vec<u8>>();
        let odd = |b: &u8| matches!(b, b'/' | b'\\' | b'%') || b.is_ascii_control();
        !matches!(&decoded[..], b"" | b"." | b"..") && !decoded.iter().any(odd)
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.split('/').all(plain) {
        Ok(())
    } else {
        Err(Code::MALFORMED.because("The path has a segment that is not plain."))
    }
}

/// An agent that was asked to wait may be silent so much longer.
fn patience(query: Option<&str>) -> Duration {
    const LONGEST: Duration = Duration::from_secs(600);
    let values = query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("wait="));
    let wait = values.filter_map(|text| serde_json::from_value::<Wait>(text.into()).ok()).next_back();
    wait.map_or(Duration::ZERO, |Wait(wait)| wait.min(LONGEST))
}

/// An agent names what it made by its own path: the caller gets ours.
fn map_location(response: &mut Response, theirs: &str, ours: &str) {
    let Some(location) = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()) else { return };
    let mapped = location.strip_prefix(theirs).and_then(|rest| HeaderValue::from_str(&format!("{ours}{rest}")).ok());
    match mapped {
        Some(mapped) => _ = response.headers_mut().insert(header::LOCATION, mapped),
        // Anywhere else is nowhere a container may send the portal's visitors.
        None => _ = response.headers_mut().remove(header::LOCATION),
    }
}
