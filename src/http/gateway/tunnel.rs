//! The way into the browser IDE: every request on the IDE's origin is checked, then carried to its container's workspace
//! and back.
//!
//! ```text
//!  browser ── Host, Origin, cookie ──► place ─► access ─► headers ─► forward (pooled) ──► code-server
//!                                                              └──► stream (own connection, bytes both ways)
//! ```
//! What holds for each request, however it is formed: the container is the one its URL names and its cookie is bound to;
//! the address is the registry's; the message is framed anew, so no two readers can disagree about where it ends; redirects
//! are the browser's to follow.
pub mod access;
mod cookies;
mod entry;
mod forward;
mod headers;
mod page;
mod place;
mod stream;
#[cfg(test)]
mod tests;

use super::sender::sender;
use crate::{
    host::connection_pool::{self, Pool},
    http::{
        Response,
        problem::{Code, Problem},
        server::{
            Traffic,
            connection::{Answer, Connection, Face},
        },
    },
    model::{
        gateway::settings::{self, GatewaySettings},
        ids::Vmid,
        network::Network,
    },
};
use access::{Admitted, Doors, Target};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    response::IntoResponse,
};
use cookies::Jar;
use futures_util::{FutureExt, TryFutureExt};
use headers::Way;
use hyper::body::Incoming;
use place::{Found, Place};
use std::{panic::AssertUnwindSafe, sync::Arc};

pub use entry::Origin;

/// The tunnel of one gateway.
pub struct Tunnel {
    doors: Arc<dyn Doors>,
    pool: Pool,
    settings: settings::Tunnel,
    trusted_proxies: Vec<Network>,
    origin: Origin,
    traffic: Arc<Traffic>,
}

impl Tunnel {
    pub fn new(doors: Arc<dyn Doors>, settings: &GatewaySettings, origin: Origin) -> Tunnel {
        let trusted_proxies = settings.trusted_proxies.clone();
        let settings = &settings.tunnel;
        let pool = Pool::new(connection_pool::Limits {
            connect: settings.connect_timeout,
            idle: settings.upstream_idle,
            most: settings.upstream_connections,
        });
        let settings = settings.clone();
        Tunnel { doors, pool, settings, trusted_proxies, origin, traffic: Arc::default() }
    }

    /// Where the server should count.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What is known of a workspace that may not answer.
    pub fn condition(&self, vmid: Vmid) -> Option<String> {
        self.doors.condition(vmid)
    }

    async fn answer(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Response {
        let asks = page::Asks::of(&request);
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let mut response = match self.route(connection, request).await {
            Ok(response) => response,
            Err(Turned { problem, place }) => {
                tracing::debug!(code = problem.code, vmid = ?place.as_ref().map(|p| p.vmid.0), "a tunnel request was turned away");
                page::turned(asks, problem, place.as_ref(), self)
            }
        };
        // A message with two lengths is smuggled past one of two readers. hyper believes the chunks and forgets
        // Content-Length, so every chunked request ends its connection (RFC 9112 §6.1).
        if chunked {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn route(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Result<Response, Turned> {
        let host = only_host(&request)?;
        match place::find(self.origin.suffix(), &host, request.uri()) {
            Found::Inside(place) => self.inside(connection, request, place, host).await,
            Found::Slashless(to) => Ok(entry::redirect(request.method(), &to)),
            Found::Bootstrap(vmid) => Ok(self.bootstrap(vmid, &host, request.uri(), request.method()).await?),
            Found::Nowhere if matches!(request.uri().path(), "/health" | "/healthz") => Ok("ok".into_response()),
            Found::Nowhere => Err(Problem::from(Code::NOT_FOUND).into()),
        }
    }

    async fn inside(
        &self,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
        place: Place,
        host: HeaderValue,
    ) -> Result<Response, Turned> {
        let at = |problem: Problem| Turned { problem, place: Some(place.clone()) };
        if let Some(token) = place.token() {
            let door = place.without_token();
            return self.enter(place.vmid, token, &place.prefix, &door, request.method()).await.map_err(at);
        }
        let (target, admitted) = self.admit(&request, &place, &host).map_err(at)?;
        if let Some(own) = place.path().strip_prefix(place::OWN) {
            return self.own(own, &request, &place).await.map_err(at);
        }
        let way = Way {
            sender: sender(connection.peer.ip(), request.headers(), &self.trusted_proxies),
            https: self.origin.https(),
            prefix: &place.prefix,
            host: &host,
            upstream: target.ide,
        };
        let response = match stream::asked(&request) {
            false => forward::carry(self, request, &place, &way, &target, &admitted).await,
            true => stream::open(self, connection, request, &place, &way, &target, &admitted).await,
        };
        let mut response = response.map_err(at)?;
        self.renew(&mut response, &place, admitted);
        Ok(response)
    }

    /// The checks that every request passes, in the order in which a refusal tells least.
    fn admit<B>(&self, request: &Request<B>, place: &Place, host: &HeaderValue) -> Result<(Target, Admitted), Problem> {
        let headers = request.headers();
        let admitted = access::admit(&*self.doors, self.jar(), place, headers).ok_or(Code::IDE_LOGIN)?;
        access::check_origin(request.method(), headers, host, self.origin.https(), stream::asked(request))?;
        let target = self.doors.target(place.vmid).ok_or(Code::IDE_LOGIN)?;
        place.check(target.agent_port).map_err(|why| Code::IDE_PATH.because(why.sentence()))?;
        Ok((target, admitted))
    }

    /// Paths that the gateway itself answers.
    async fn own<B>(&self, path: &str, request: &Request<B>, place: &Place) -> Result<Response, Problem> {
        match (path, request.method()) {
            ("start", &Method::POST) => {
                self.doors.start(place.vmid).await.map_err(|why| Code::IDE_UNREACHABLE.because(why))?;
                let mut response = StatusCode::SEE_OTHER.into_response();
                entry::send_to(&mut response, &format!("{}/", place.prefix));
                Ok(response)
            }
            ("start", _) => Err(Code::METHOD_NOT_ALLOWED.into()),
            _ => Err(Code::NOT_FOUND.into()),
        }
    }

    fn renew(&self, response: &mut Response, place: &Place, admitted: Admitted) {
        if let Some(cookie) = admitted.renewed {
            self.jar().put(response, &place.prefix, &cookie);
        }
    }

    fn jar(&self) -> Jar {
        Jar { https: self.origin.https() }
    }
}

/// A request that was not carried, and the workspace it was meant for.
struct Turned {
    problem: Problem,
    place: Option<Place>,
}

impl From<Problem> for Turned {
    fn from(problem: Problem) -> Turned {
        Turned { problem, place: None }
    }
}

/// One `Host`, and a target that does not contradict it: proxies disagree about all else.
fn only_host<B>(request: &Request<B>) -> Result<HeaderValue, Problem> {
    let headers: &HeaderMap = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Code::HOST_MISSING.into()) };
    if request.uri().authority().is_some() || !request.uri().path().starts_with('/') {
        return Err(Code::MALFORMED.because("The request target must be a path."));
    }
    Ok(host.clone())
}

/// Answers requests on the IDE's origin.
#[derive(Clone)]
pub struct TunnelFace(pub Arc<Tunnel>);

impl Face for TunnelFace {
    fn answer(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Answer {
        let (tunnel, connection) = (self.0.clone(), connection.clone());
        let answer = async move { tunnel.answer(&connection, request).await };
        let panicked = |_| Code::INTERNAL.because("The tunnel panicked; the gateway's log has more.").into_response();
        Answer::Later(AssertUnwindSafe(answer).catch_unwind().unwrap_or_else(panicked).boxed())
    }
}

/// An empty body, where there is nothing to say.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
