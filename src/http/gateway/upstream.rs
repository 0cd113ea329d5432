//! Requests to agents: streamed both ways, nothing of ours or of the browser's that the agent should not see.
//!
//! An agent has `forward.connect` to be reached and counts as gone when for `forward.idle` not a byte moved either way;
//! there is no limit on the whole, and redirects are never followed. Its answers are shown on the portal's origin though
//! a container wrote them, so that they cannot run there: no cookies, no scripts, no guessed types.
mod idle;

use crate::{
    http::{
        Response,
        problem::{Code, Problem},
    },
    model::gateway::{Server, settings::Forward},
};
use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Uri,
        header::{self, ToStrError},
        uri::{Authority, PathAndQuery, Scheme},
    },
};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use idle::{Idle, Watched};
use std::{io, net::SocketAddr, time::Duration};

/// Shorter than agents keep an idle connection: it is not used when they are about to close it.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// Headers about one connection alone (RFC 9110 §7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// What of a request is no agent's business: whose it is, which page sent it, which way it came.
const OURS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::ORIGIN,
    header::REFERER,
    header::HOST,
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("idempotency-key"),
];

/// Clones share connections.
#[derive(Clone)]
pub struct Upstream {
    client: Client<HttpConnector, Body>,
    idle: Duration,
}

impl Upstream {
    pub fn new(forward: &Forward) -> Upstream {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(forward.connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_IDLE)
            .pool_max_idle_per_host(forward.keep)
            .build(connector);
        Upstream { client, idle: forward.idle }
    }

    /// `target`: path and query at the agent. `patience`: how much longer than usual it may be silent.
    pub async fn send(
        &self,
        server: &Server,
        target: &str,
        patience: Duration,
        request: Request,
    ) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let idle = Idle::new(self.idle + patience);
        let mut onward = Request::new(Body::new(Watched::request(body, idle.clone())));
        *onward.method_mut() = parts.method;
        *onward.uri_mut() = uri(server, target)?;
        *onward.headers_mut() = onward_headers(&parts.headers, server);
        let answered = idle.within(self.client.request(onward)).await;
        let response = answered.ok_or(Code::AGENT_TIMEOUT)?.map_err(|error| problem_of(&error))?;
        let (mut parts, body) = response.into_parts();
        backward_headers(&mut parts.headers);
        Ok(Response::from_parts(parts, Body::new(Watched::response(body, idle))))
    }

    /// A WebSocket handshake, passed on with all its own headers; the answer may be 101.
    pub async fn upgrade(
        &self,
        server: &Server,
        target: &str,
        headers: &HeaderMap,
    ) -> Result<hyper::Response<hyper::body::Incoming>, Problem> {
        let mut onward = Request::new(Body::empty());
        *onward.uri_mut() = uri(server, target)?;
        *onward.headers_mut() = onward_headers(headers, server);
        onward.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        onward.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let answered = Idle::new(self.idle).within(self.client.request(onward)).await;
        answered.ok_or(Code::AGENT_TIMEOUT)?.map_err(|error| problem_of(&error))
    }

    /// Silence after which an agent counts as gone.
    pub fn idle(&self) -> Duration {
        self.idle
    }
}

/// The only place where a target's address is made: from the registry.
fn uri(server: &Server, target: &str) -> Result<Uri, Problem> {
    let address = SocketAddr::new(server.address, server.agent_port);
    let target: Result<PathAndQuery, _> = target.parse();
    let authority: Result<Authority, _> = address.to_string().parse();
    let (Ok(target), Ok(authority)) = (target, authority) else {
        return Err(Code::MALFORMED.because("The path cannot be passed on."));
    };
    let built = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(target).build();
    built.map_err(|_| Code::MALFORMED.because("The path cannot be passed on."))
}

fn onward_headers(headers: &HeaderMap, server: &Server) -> HeaderMap {
    let mut onward = end_to_end(headers);
    OURS.iter().for_each(|name| _ = onward.remove(name));
    // The length is the body's own: what a client says of a chunked one would be a lie.
    onward.remove(header::CONTENT_LENGTH);
    let private =
        |name: &HeaderName| ["x-forwarded-", "x-real-ip", "sec-fetch-"].iter().any(|p| name.as_str().starts_with(p));
    let private: Vec<HeaderName> = onward.keys().filter(|name| private(name)).cloned().collect();
    private.iter().for_each(|name| _ = onward.remove(name));
    let token =
        server.agent_token.as_ref().and_then(|token| HeaderValue::from_str(&format!("Bearer {}", token.0)).ok());
    if let Some(mut token) = token {
        token.set_sensitive(true);
        onward.insert(header::AUTHORIZATION, token);
    }
    onward
}

/// Without what is about one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let listed = headers.get_all(header::CONNECTION).into_iter().flat_map(|value| names(value.to_str()));
    listed.chain(HOP_BY_HOP).for_each(|name| _ = kept.remove(name));
    kept
}

fn names(value: Result<&str, ToStrError>) -> Vec<HeaderName> {
    value.unwrap_or_default().split(',').filter_map(|name| name.trim().parse().ok()).collect()
}

/// What a container wrote must do nothing on the portal's origin.
pub fn backward_headers(headers: &mut HeaderMap) {
    *headers = end_to_end(headers);
    for name in [header::SET_COOKIE, header::WWW_AUTHENTICATE, header::STRICT_TRANSPORT_SECURITY, header::REFRESH] {
        headers.remove(name);
    }
    for name in ["clear-site-data", "service-worker-allowed", "access-control-allow-origin"] {
        headers.remove(name);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
}

fn problem_of(error: &Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut timed_out = false;
    let mut deepest = String::new();
    while let Some(one) = cause {
        timed_out |= one.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut);
        deepest = one.to_string();
        cause = one.source();
    }
    tracing::debug!(%error, deepest, "a request to an agent failed");
    match (timed_out, error.is_connect()) {
        (true, _) => Code::AGENT_TIMEOUT.into(),
        (false, true) => Code::AGENT_UNREACHABLE.because(format!("The server's agent cannot be reached: {deepest}.")),
        (false, false) => Code::AGENT_BROKE_OFF.into(),
    }
}
