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
mod fast_path;
mod forward;
mod headers;
mod page;
mod patience;
mod place;
mod stream;
#[cfg(test)]
mod tests;

use super::sender::sender;
use crate::{
    host::connection_pool::{self, Answered, Pool},
    http::{
        Response,
        problem::{Code, Problem},
        server::{
            Traffic,
            connection::{Ahead, Answer, Connection, Face},
            stalling::Stalling,
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
use fast_path::FastPath;
use futures_util::{FutureExt, TryFutureExt};
use headers::Way;
use hyper::{
    body::{Body as _, Incoming},
    upgrade::OnUpgrade,
};
use patience::Patience;
use place::{Found, Place};
use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc};
use stream::Stream;

pub use entry::Origin;

/// The tunnel of one gateway.
pub struct Tunnel {
    doors: Arc<dyn Doors>,
    settings: settings::Tunnel,
    trusted_proxies: Vec<Network>,
    origin: Origin,
    traffic: Arc<Traffic>,
}

impl Tunnel {
    pub fn new(doors: Arc<dyn Doors>, settings: &GatewaySettings, origin: Origin) -> Tunnel {
        let GatewaySettings { tunnel, trusted_proxies, .. } = settings;
        let (settings, trusted_proxies) = (tunnel.clone(), trusted_proxies.clone());
        Tunnel { doors, settings, trusted_proxies, origin, traffic: Arc::default() }
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

    async fn answer(&self, pool: &Pool, connection: &Arc<Connection>, request: Request<Incoming>) -> Response {
        let asks = page::Asks::of(&request);
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let answered = match self.decide(&request) {
            Ok(Step::Through(passage)) => self.carry(pool, connection, request, passage).await,
            Ok(Step::Ours(ours)) => Box::pin(self.answer_ours(ours, &request)).await,
            Err(turned) => Err(turned),
        };
        let mut response = answered.unwrap_or_else(|turned| self.turn(asks, turned));
        // A message with two lengths is smuggled past one of two readers. hyper believes the chunks and forgets
        // Content-Length, so every chunked request ends its connection (RFC 9112 §6.1).
        if chunked {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// What is to be done with a request, as far as its head and what is known here tell.
    fn decide<B>(&self, request: &Request<B>) -> Result<Step, Turned> {
        let host = only_host(request)?;
        let place = match place::find(self.origin.suffix(), &host, request.uri()) {
            Found::Inside(place) => place,
            Found::Slashless(to) => return Ok(Step::Ours(Ours::Slash(to))),
            Found::Bootstrap(vmid) => return Ok(Step::Ours(Ours::Bootstrap(vmid, host))),
            Found::Nowhere if matches!(request.uri().path(), "/health" | "/healthz") => {
                return Ok(Step::Ours(Ours::Health));
            }
            Found::Nowhere => return Err(Problem::from(Code::NOT_FOUND).into()),
        };
        if place.token().is_some() {
            return Ok(Step::Ours(Ours::Enter(place)));
        }
        match self.admit(request, &place, &host) {
            Ok(_) if place.path().starts_with(place::OWN) => Ok(Step::Ours(Ours::Own(place))),
            Ok((target, admitted)) => Ok(Step::Through(Passage { place, host, target, admitted })),
            Err(problem) => Err(Turned { problem, place: Some(place) }),
        }
    }

    async fn carry(
        &self,
        pool: &Pool,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
        passage: Passage,
    ) -> Result<Response, Turned> {
        let (mut head, body) = request.into_parts();
        let browser = head.extensions.remove::<OnUpgrade>();
        let (request, body) = (Request::from_parts(head, ()), Some(body).filter(|body| !body.is_end_stream()));
        let led = self.lead(pool, connection.peer.ip(), &request, body, &passage, &mut Patience::new()).await;
        let answer = match led {
            Ok(answer) => answer,
            Err(problem) => return Err(Turned { problem, place: Some(passage.place) }),
        };
        let Some(browser) = browser.filter(|_| stream::has_switched(&answer)) else {
            return Ok(forward::finish(answer, &passage.admitted));
        };
        let (head, workspace) = answer.into_parts();
        Stream { workspace, pass: passage.admitted.pass, connection: connection.clone() }.start_on(browser);
        Ok(Response::from_parts(head, Body::empty()))
    }

    /// To the workspace and back: the answer as the browser may have it.
    async fn lead(
        &self,
        pool: &Pool,
        peer: IpAddr,
        request: &Request<()>,
        body: Option<Incoming>,
        passage: &Passage,
        patience: &mut Patience,
    ) -> Result<Answered, Problem> {
        let way = self.way(peer, request, passage);
        let answer = if stream::asked(request) {
            // Boxed: what is rare must not make room for itself in every request.
            Box::pin(stream::open(&self.settings, pool, request, passage, &way)).await?
        } else {
            let asking = forward::asking(request, passage, &way, None)?;
            forward::carry(&self.settings, pool, asking, body, passage, &way, patience).await?
        };
        Ok(self.renewing(answer, passage))
    }

    fn way<'a, B>(&self, peer: IpAddr, request: &Request<B>, passage: &'a Passage) -> Way<'a> {
        Way {
            sender: sender(peer, request.headers(), &self.trusted_proxies),
            https: self.origin.https(),
            prefix: &passage.place.prefix,
            host: &passage.host,
            upstream: passage.target.ide,
        }
    }

    /// Who uses the workspace stays logged in.
    fn renewing<B>(&self, mut answer: hyper::Response<B>, passage: &Passage) -> hyper::Response<B> {
        if let Some(cookie) = &passage.admitted.renewed {
            self.jar().put(&mut answer, &passage.place.prefix, cookie);
        }
        answer
    }

    /// What is said to a request that was not carried.
    fn turn(&self, asks: page::Asks, Turned { problem, place }: Turned) -> Response {
        let vmid = place.as_ref().map(|place| place.vmid.0);
        tracing::debug!(code = problem.code, ?vmid, "a tunnel request was turned away");
        page::turned(asks, problem, place.as_ref(), self)
    }

    /// What the gateway itself answers.
    async fn answer_ours<B>(&self, ours: Ours, request: &Request<B>) -> Result<Response, Turned> {
        let method = request.method();
        let at = |place: &Place| {
            let place = place.clone();
            |problem| Turned { problem, place: Some(place) }
        };
        match ours {
            Ours::Health => Ok("ok".into_response()),
            Ours::Slash(to) => Ok(entry::redirect(method, &to)),
            Ours::Bootstrap(vmid, host) => Ok(self.bootstrap(vmid, &host, request.uri(), method).await?),
            Ours::Enter(place) => {
                let token = place.token().unwrap_or_default();
                let door = place.without_token();
                self.enter(place.vmid, token, &place.prefix, &door, method).await.map_err(at(&place))
            }
            Ours::Own(place) => self.own(method, &place).await.map_err(at(&place)),
        }
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
    async fn own(&self, method: &Method, place: &Place) -> Result<Response, Problem> {
        match (place.path().strip_prefix(place::OWN).unwrap_or_default(), method) {
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

    fn jar(&self) -> Jar {
        Jar { https: self.origin.https() }
    }
}

/// What a request is.
enum Step {
    Through(Passage),
    Ours(Ours),
}

/// A request that may pass.
struct Passage {
    place: Place,
    host: HeaderValue,
    target: Target,
    admitted: Admitted,
}

/// A request that the gateway itself answers.
enum Ours {
    Health,
    Slash(String),
    Bootstrap(Vmid, HeaderValue),
    /// With a token on the front door.
    Enter(Place),
    Own(Place),
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

/// Answers requests on the IDE's origin. Clones share connections to workspaces.
#[derive(Clone)]
pub struct TunnelFace {
    tunnel: Arc<Tunnel>,
    pool: Pool,
}

impl TunnelFace {
    /// One that shares nothing with others but the tunnel: for a thread of its own.
    pub fn new(tunnel: &Arc<Tunnel>) -> TunnelFace {
        let settings = &tunnel.settings;
        let pool = Pool::new(connection_pool::Limits {
            connect: settings.connect_timeout,
            idle: settings.upstream_idle,
            most: settings.upstream_connections,
        });
        TunnelFace { tunnel: tunnel.clone(), pool }
    }
}

impl Face for TunnelFace {
    fn answer(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Answer {
        let (face, connection) = (self.clone(), connection.clone());
        let answer = async move { face.tunnel.answer(&face.pool, &connection, request).await };
        let panicked = |_| Code::INTERNAL.because("The tunnel panicked; the gateway's log has more.").into_response();
        Answer::Later(AssertUnwindSafe(answer).catch_unwind().unwrap_or_else(panicked).boxed())
    }

    async fn ahead(&self, connection: &Arc<Connection>, stream: Stalling, limits: &Ahead) -> Option<Stalling> {
        FastPath { face: self, connection, limits, browser: stream.into() }.serve().await
    }
}

/// An empty body, where there is nothing to say.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
