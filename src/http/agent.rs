//! What one agent answers: the table of routes, and the state every handler reads.
//!
//! [`ROUTES`] is complete: a path that is not there does not exist, and each row says who may ask. `/health` and a plain
//! `GET /status` are answered before any routing, from memory, without waiting.
pub mod backend;
mod backups;
mod code_server;
mod config;
pub mod console;
mod crashes;
mod events;
mod game;
mod health;
pub(in crate::http) mod metrics;
mod openapi;
mod operations;
mod power;
mod runtimes;
mod status;
mod update;
mod version;

use super::{
    auth::{Access, Gate},
    hosts::Hosts,
    problem::{self, Code, Problem},
    server::{
        Traffic,
        connection::{Answer, Connection, Face},
    },
};
use crate::{
    actors::status::StatusReader,
    model::{
        container::Kind,
        settings::{self, Limits},
    },
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::{MethodRouter, delete, get, post},
};
use backend::{GameCommands, RuntimeCommands, UpdateCommands};
use futures_util::FutureExt;
use hyper::body::Incoming;
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// One row: who may ask what, and who answers.
pub struct Route {
    pub access: Access,
    pub method: Method,
    pub path: &'static str,
    /// Only containers of this kind have it.
    pub needs: Option<Kind>,
    handler: fn() -> MethodRouter<Arc<Agent>>,
}

const fn open(method: Method, path: &'static str, handler: fn() -> MethodRouter<Arc<Agent>>) -> Route {
    Route { access: Access::Open, method, path, needs: None, handler }
}

const fn bearer(method: Method, path: &'static str, handler: fn() -> MethodRouter<Arc<Agent>>) -> Route {
    Route { access: Access::Bearer, method, path, needs: None, handler }
}

/// For game servers only.
const fn game(method: Method, path: &'static str, handler: fn() -> MethodRouter<Arc<Agent>>) -> Route {
    Route { access: Access::Bearer, method, path, needs: Some(Kind::Game), handler }
}

/// For dev containers only.
const fn dev(method: Method, path: &'static str, handler: fn() -> MethodRouter<Arc<Agent>>) -> Route {
    Route { access: Access::Bearer, method, path, needs: Some(Kind::Dev), handler }
}

pub const ROUTES: &[Route] = &[
    open(Method::GET, "/health", || get(health::health)),
    open(Method::GET, "/ready", || get(health::ready)),
    open(Method::GET, "/version", || get(version::version)),
    bearer(Method::GET, "/status", || get(status::status)),
    bearer(Method::GET, "/events", || get(events::events)),
    bearer(Method::GET, "/metrics", || get(metrics::metrics)),
    bearer(Method::GET, "/openapi.json", || get(openapi::document)),
    bearer(Method::POST, "/config", || post(config::configure)),
    game(Method::POST, "/start", || post(power::start)),
    game(Method::POST, "/restart", || post(power::restart)),
    game(Method::POST, "/stop", || post(power::stop)),
    game(Method::POST, "/kill", || post(power::kill)),
    bearer(Method::GET, "/operations", || get(operations::list)),
    bearer(Method::GET, "/operations/{id}", || get(operations::one)),
    bearer(Method::DELETE, "/operations/{id}", || delete(runtimes::cancel)),
    bearer(Method::GET, "/dev/runtimes", || get(runtimes::list)),
    bearer(Method::POST, "/dev/runtimes", || post(runtimes::install)),
    bearer(Method::POST, "/dev/runtimes/gc", || post(runtimes::collect)),
    bearer(Method::DELETE, "/dev/runtimes/{runtime}/{version}", || delete(runtimes::remove)),
    bearer(Method::POST, "/dev/runtimes/{runtime}/activate", || post(runtimes::activate)),
    bearer(Method::POST, "/dev/runtimes/{runtime}/rollback", || post(runtimes::rollback)),
    bearer(Method::POST, "/dev/runtimes/{runtime}/verify", || post(runtimes::verify)),
    bearer(Method::POST, "/dev/runtimes/{runtime}/repair", || post(runtimes::repair)),
    dev(Method::POST, "/dev/codeserver/start", || post(code_server::start)),
    dev(Method::POST, "/dev/codeserver/stop", || post(code_server::stop)),
    dev(Method::POST, "/dev/codeserver/restart", || post(code_server::restart)),
    dev(Method::GET, "/dev/codeserver/log", || get(code_server::log)),
    dev(Method::GET, "/dev/backups", || get(backups::list_dev)),
    dev(Method::POST, "/dev/backups", || post(backups::make_dev)),
    dev(Method::POST, "/dev/backups/restore", || post(backups::restore_dev)),
    dev(Method::DELETE, "/dev/backups/{id}", || delete(backups::delete_dev)),
    dev(Method::POST, "/dev/backups/{id}/verify", || post(backups::verify_dev)),
    game(Method::GET, "/game/backups", || get(backups::list_game)),
    game(Method::POST, "/game/backups", || post(backups::make_game)),
    game(Method::POST, "/game/backups/restore", || post(backups::restore_game)),
    game(Method::DELETE, "/game/backups/{id}", || delete(backups::delete_game)),
    game(Method::POST, "/game/backups/{id}/verify", || post(backups::verify_game)),
    bearer(Method::POST, "/agent/update", || post(update::update)),
    bearer(Method::GET, "/agent/update/status", || get(update::status)),
    bearer(Method::GET, "/crashes", || get(crashes::list)),
    bearer(Method::GET, "/crashes/{id}", || get(crashes::one)),
    game(Method::GET, "/game/players", || get(game::players)),
    bearer(Method::GET, "/console/log", || get(console::log::log)),
    game(Method::POST, "/console/command", || post(console::command::command)),
    bearer(Method::GET, "/console/stream", || get(console::stream)),
];

/// The name under which a command given over HTTP holds the operation lock.
const HOLDER: &str = "api";

/// What the program is, for `/version`.
#[derive(Clone, Debug)]
pub struct Build {
    /// With `v` prefix: `v0.1.0`.
    pub version: String,
    /// Commit the program was built from.
    pub commit: String,
}

/// Everything a handler may read or ask.
pub struct Agent {
    pub status: StatusReader,
    pub game: Arc<dyn GameCommands>,
    pub runtimes: Arc<dyn RuntimeCommands>,
    pub updates: Arc<dyn UpdateCommands>,
    pub gate: Gate,
    pub hosts: Hosts,
    pub build: Build,
    pub limits: Limits,
    pub console_settings: settings::Console,
    /// Period of the SSE heartbeat.
    pub interval: Duration,
    pub traffic: Arc<Traffic>,
    /// Free places for viewers of a console that does not count them itself.
    pub places: Arc<Semaphore>,
    /// Viewers of all consoles.
    pub viewers: AtomicU64,
    /// Console bytes that viewers missed because they were no longer kept.
    pub missed_bytes: AtomicU64,
}

impl Agent {
    pub fn new(
        status: StatusReader,
        game: Arc<dyn GameCommands>,
        runtimes: Arc<dyn RuntimeCommands>,
        updates: Arc<dyn UpdateCommands>,
        settings: &settings::Settings,
        hosts: Hosts,
        build: Build,
    ) -> Agent {
        Agent {
            status,
            game,
            runtimes,
            updates,
            gate: Gate::new(settings.token.as_ref()),
            hosts,
            build,
            limits: settings.limits.clone(),
            console_settings: settings.console.clone(),
            interval: settings.status.interval,
            traffic: Arc::new(Traffic::default()),
            places: Arc::new(Semaphore::new(settings.console.max_viewers)),
            viewers: AtomicU64::new(0),
            missed_bytes: AtomicU64::new(0),
        }
    }

    pub fn face(self) -> AgentFace {
        let agent = Arc::new(self);
        let router = ROUTES.iter().fold(Router::new(), |router, route| {
            let handler = of_kind(&agent, route.needs, (route.handler)());
            router.route(
                route.path,
                match route.access {
                    Access::Open => handler,
                    Access::Bearer => handler.layer(middleware::from_fn_with_state(agent.clone(), require_bearer)),
                },
            )
        });
        AgentFace { router: router.with_state(agent.clone()), agent }
    }
}

/// The handler, reached only in a container that has such a thing.
fn of_kind(agent: &Arc<Agent>, needs: Option<Kind>, handler: MethodRouter<Arc<Agent>>) -> MethodRouter<Arc<Agent>> {
    let Some(kind) = needs else { return handler };
    let require = move |State(agent): State<Arc<Agent>>, request: Request, next: Next| async move {
        match agent.game.admits(kind) {
            Ok(()) => next.run(request).await,
            Err(denied) => Problem::from(denied).into_response(),
        }
    };
    handler.layer(middleware::from_fn_with_state(agent.clone(), require))
}

async fn require_bearer(State(agent): State<Arc<Agent>>, request: Request, next: Next) -> super::Response {
    match agent.gate.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Answers requests to one agent.
#[derive(Clone)]
pub struct AgentFace {
    agent: Arc<Agent>,
    router: Router,
}

impl AgentFace {
    /// Where the server should count; `/metrics` reads it.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.agent.traffic.clone()
    }

    fn at_once(&self, request: &hyper::Request<Incoming>) -> Option<super::Response> {
        if request.method() != Method::GET || request.uri().query().is_some() {
            return None;
        }
        match request.uri().path() {
            "/health" => Some(health::ok()),
            "/status" => Some(match self.agent.gate.admit(request.headers()) {
                Ok(()) => status::answer(&self.agent.status.current(), request.headers()),
                Err(problem) => problem.into_response(),
            }),
            _ => None,
        }
    }
}

impl Face for AgentFace {
    fn answer(&self, connection: &Arc<Connection>, request: hyper::Request<Incoming>) -> Answer {
        if let Err(problem) = self.agent.hosts.admit(&request, connection.local.ip()) {
            return Answer::now(noted(request.method(), request.uri(), closing(problem.into_response())));
        }
        // A message with both lengths is smuggled past one of two readers. hyper believes the chunks and forgets
        // Content-Length, so every chunked request ends its connection (RFC 9112 §6.1).
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        if !chunked && let Some(response) = self.at_once(&request) {
            return Answer::now(noted(request.method(), request.uri(), response));
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        let routed = routed(self.router.clone(), request);
        Answer::Later(Box::pin(async move {
            let response = noted(&method, &uri, routed.await);
            if chunked || leaves_body(response.status()) { closing(response) } else { response }
        }))
    }
}

async fn routed(router: Router, request: Request) -> super::Response {
    match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
        Ok(Ok(response)) => problem::dress(response),
        Ok(Err(never)) => match never {},
        Err(_) => Code::INTERNAL.because("A request handler panicked; the agent's log has more.").into_response(),
    }
}

/// Errors are logged, without query and headers; what went well is not.
fn noted(method: &Method, uri: &Uri, response: super::Response) -> super::Response {
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        tracing::debug!(%method, path = uri.path(), status = status.as_u16(), "a request was answered with an error");
    }
    response
}

/// Was it given before the whole body had come? The connection ends then, and a client that keeps some must be told.
fn leaves_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT)
}

/// An answer after which nothing more is heard on this connection.
fn closing(mut response: super::Response) -> super::Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests;
