//! What the gateway answers: the table of routes, and the state every handler reads.
//!
//! [`ROUTES`] is complete: a path that is not there does not exist, and each row says who may ask. [`door`] asks that for
//! each of them, before anything of the request's body is read. `/healthz` is answered from memory.
mod catalog;
mod console;
pub mod cookies;
mod dev;
mod doctor;
pub mod door;
pub mod forward;
mod health;
pub mod ide;
mod idempotency;
mod metrics;
mod openapi;
mod people;
mod provision;
mod routes;
mod sender;
mod servers;
mod session;
mod status;
pub mod tunnel;
pub mod upstream;
mod welcome;

pub use routes::{ROUTES, Route};

use super::{
    problem::{self, Code, Problem},
    server::{
        Traffic,
        connection::{Answer, Connection, Face},
    },
};
use crate::{
    actors::{doorkeeper::Doorkeeper, registry::Registry, runtime_catalog::RuntimeCatalog, statuses::Statuses},
    http::agent::Build,
    model::{gateway::settings::GatewaySettings, settings::Limits},
};
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    middleware,
    response::IntoResponse,
};
use futures_util::FutureExt;
use hyper::body::Incoming;
use ide::IdeDoors;
use std::{
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use tower::ServiceExt;
use tunnel::{Origin, Tunnel};
use upstream::Upstream;

/// Everything a handler may read or ask.
pub struct Gateway {
    pub doorkeeper: Doorkeeper,
    pub registry: Registry,
    pub catalog: RuntimeCatalog,
    pub upstream: Upstream,
    /// Where the IDE listener is.
    pub ide_at: SocketAddr,
    pub statuses: Statuses,
    pub settings: Arc<GatewaySettings>,
    /// `settings.limits` as request bodies take them.
    pub limits: Limits,
    pub build: Build,
    pub traffic: Arc<Traffic>,
    /// The way into browser IDEs, which has a listener of its own.
    pub tunnel: Arc<Tunnel>,
}

impl Gateway {
    pub fn new(
        doorkeeper: Doorkeeper,
        registry: Registry,
        catalog: RuntimeCatalog,
        statuses: Statuses,
        settings: Arc<GatewaySettings>,
        ide_at: SocketAddr,
        build: Build,
    ) -> Gateway {
        let doors = IdeDoors::new(doorkeeper.clone(), statuses.clone());
        let origin = Origin::new(&settings, ide_at.port());
        Gateway {
            tunnel: Arc::new(Tunnel::new(Arc::new(doors), &settings, origin)),
            doorkeeper,
            registry,
            catalog,
            upstream: Upstream::new(&settings.forward),
            ide_at,
            statuses,
            limits: settings.limits.for_server(),
            settings,
            build,
            traffic: Arc::default(),
        }
    }

    /// Whose request it is that came on this connection.
    pub fn sender(&self, connection: &Connection, headers: &HeaderMap) -> IpAddr {
        sender::sender(connection.peer.ip(), headers, &self.settings.trusted_proxies)
    }

    /// Do browsers come by https? Then cookies are Secure.
    pub fn is_secure(&self) -> bool {
        self.settings.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// The database could not answer, or what it holds is unusable.
fn unavailable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request failed for the database");
    Problem::from(Code::DATABASE_UNAVAILABLE).retry_after(Duration::from_secs(1))
}

/// What is for one person stays out of caches.
fn no_store(response: &mut super::Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Answers requests to the API and portal.
#[derive(Clone)]
pub struct GatewayFace {
    router: Router,
}

impl GatewayFace {
    pub fn new(gateway: &Arc<Gateway>) -> GatewayFace {
        let router = ROUTES.iter().fold(Router::new(), |router, route| {
            let guard = door::Guard { gateway: gateway.clone(), access: route.access };
            router.route(route.path, (route.handler)().layer(middleware::from_fn_with_state(guard, door::admit)))
        });
        GatewayFace { router: router.with_state(gateway.clone()) }
    }
}

impl Face for GatewayFace {
    fn answer(&self, connection: &Arc<Connection>, request: hyper::Request<Incoming>) -> Answer {
        // A message with both lengths is smuggled past one of two readers: see the agent's face.
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        let router = self.router.clone();
        Answer::Later(Box::pin(async move {
            let mut response = routed(router, request).await;
            if chunked {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }))
    }
}

async fn routed(router: Router, request: Request) -> super::Response {
    match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
        Ok(Ok(response)) => problem::dress(response),
        Ok(Err(never)) => match never {},
        Err(_) => Code::INTERNAL.because("A request handler panicked; the gateway's log has more.").into_response(),
    }
}

#[cfg(test)]
mod tests;
