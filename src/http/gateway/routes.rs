//! Every path there is: who may ask, and who answers. `{id}` is the vmid of a server.
use super::{
    Gateway, catalog, console, dev, doctor,
    forward::{beneath, to},
    health, ide, metrics, openapi, people, provision, servers, session, status, welcome,
};
use crate::model::gateway::{Access, ContainerType, Scope};
use axum::{
    http::Method,
    routing::{MethodRouter, delete, get, patch, post, put},
};
use std::sync::Arc;

/// One row: who may ask what, and who answers.
pub struct Route {
    pub access: Access,
    pub method: Method,
    /// `{id}` is the vmid of a server.
    pub path: &'static str,
    pub(super) handler: fn() -> MethodRouter<Arc<Gateway>>,
}

const fn route(
    access: Access,
    method: Method,
    path: &'static str,
    handler: fn() -> MethodRouter<Arc<Gateway>>,
) -> Route {
    Route { access, method, path, handler }
}

#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route(Access::Open, Method::GET, "/", || get(welcome::welcome)),
    route(Access::Open, Method::GET, "/healthz", || get(health::healthz)),
    route(Access::Open, Method::POST, "/api/auth/login", || post(session::login)),
    route(Access::Person(Scope::Read), Method::POST, "/api/auth/logout", || post(session::logout)),
    route(Access::Person(Scope::Read), Method::GET, "/api/auth/me", || get(session::me)),
    route(Access::Person(Scope::Read), Method::GET, "/api/servers", || get(servers::list)),
    route(Access::Admin, Method::POST, "/api/servers", || post(servers::add)),
    route(SERVER_READ, Method::GET, "/api/servers/{id}", || get(servers::one)),
    route(Access::Server(Scope::Provision), Method::PATCH, "/api/servers/{id}", || patch(servers::change)),
    route(Access::Admin, Method::DELETE, "/api/servers/{id}", || delete(servers::remove)),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/status", || get(status::status)),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/events", || get(status::events)),
    route(Access::Server(Scope::Provision), Method::POST, "/api/servers/{id}/provision", || post(provision::provision)),
    route(POWER, Method::POST, "/api/servers/{id}/start", || post(to("/start"))),
    route(POWER, Method::POST, "/api/servers/{id}/stop", || post(to("/stop"))),
    route(POWER, Method::POST, "/api/servers/{id}/restart", || post(to("/restart"))),
    route(POWER, Method::POST, "/api/servers/{id}/kill", || post(to("/kill"))),
    route(POWER, Method::POST, "/api/servers/{id}/game/start", || post(to("/start"))),
    route(POWER, Method::POST, "/api/servers/{id}/game/stop", || post(to("/stop"))),
    route(POWER, Method::POST, "/api/servers/{id}/game/restart", || post(to("/restart"))),
    route(CONSOLE, Method::GET, "/api/servers/{id}/console", || get(console::console)),
    route(CONSOLE, Method::GET, "/api/servers/{id}/console/log", || get(to("/console/log"))),
    route(CONSOLE, Method::POST, "/api/servers/{id}/console/command", || post(to("/console/command"))),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/ready", || get(to("/ready"))),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/crashes", || get(to("/crashes"))),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/crashes/{crash}", || get(beneath("/"))),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/operations", || get(to("/operations"))),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/operations/{operation}", || get(beneath("/"))),
    route(SERVER_READ, Method::GET, "/api/servers/{id}/update-status", || get(to("/agent/update/status"))),
    route(Access::Admin, Method::POST, "/api/servers/{id}/update", || post(to("/agent/update"))),
    route(game(Scope::Read), Method::GET, "/api/game/servers/{id}/players", || get(to("/game/players"))),
    route(game(Scope::Read), Method::GET, "/api/game/servers/{id}/mods", || get(to("/game/mods"))),
    route(game(Scope::Files), Method::POST, "/api/game/servers/{id}/mods/install", || post(to("/game/mods/install"))),
    route(game(Scope::Files), Method::PATCH, "/api/game/servers/{id}/mods/{mod}", || patch(beneath("/game/"))),
    route(game(Scope::Files), Method::DELETE, "/api/game/servers/{id}/mods/{mod}", || delete(beneath("/game/"))),
    route(game(Scope::Read), Method::GET, "/api/game/servers/{id}/files/{*path}", || get(beneath("/game/"))),
    route(game(Scope::Files), Method::PUT, "/api/game/servers/{id}/files/{*path}", || put(beneath("/game/"))),
    route(game(Scope::Files), Method::POST, "/api/game/servers/{id}/files/{*path}", || post(beneath("/game/"))),
    route(game(Scope::Files), Method::PATCH, "/api/game/servers/{id}/files/{*path}", || patch(beneath("/game/"))),
    route(game(Scope::Files), Method::DELETE, "/api/game/servers/{id}/files/{*path}", || delete(beneath("/game/"))),
    route(game(Scope::Read), Method::GET, "/api/game/servers/{id}/backups", || get(to("/game/backups"))),
    route(game(Scope::Backups), Method::POST, "/api/game/servers/{id}/backups", || post(to("/game/backups"))),
    route(game(Scope::Backups), Method::POST, "/api/game/servers/{id}/backups/restore", || post(to("/game/backups/restore"))),
    route(game(Scope::Backups), Method::POST, "/api/game/servers/{id}/backups/{backup}/verify", || post(beneath("/game/"))),
    route(game(Scope::Backups), Method::DELETE, "/api/game/servers/{id}/backups/{backup}", || delete(beneath("/game/"))),
    route(Access::Person(Scope::Read), Method::GET, "/api/dev/runtimes", || get(catalog::runtimes)),
    route(Access::Open, Method::GET, "/api/dev/{id}/ide", || get(ide::bootstrap)),
    route(workspace(Scope::Ide), Method::GET, "/api/dev/{id}/ide/doctor", || get(doctor::diagnose)),
    route(workspace(Scope::Ide), Method::POST, "/api/dev/{id}/ide-token", || post(dev::ide_token)),
    route(workspace(Scope::Power), Method::POST, "/api/dev/{id}/codeserver/start", || post(to("/dev/codeserver/start"))),
    route(workspace(Scope::Power), Method::POST, "/api/dev/{id}/codeserver/stop", || post(to("/dev/codeserver/stop"))),
    route(workspace(Scope::Power), Method::POST, "/api/dev/{id}/codeserver/restart", || post(to("/dev/codeserver/restart"))),
    route(workspace(Scope::Read), Method::GET, "/api/dev/{id}/runtimes", || get(to("/dev/runtimes"))),
    route(workspace(Scope::Provision), Method::POST, "/api/dev/{id}/runtimes", || post(to("/dev/runtimes"))),
    route(workspace(Scope::Provision), Method::POST, "/api/dev/{id}/runtimes/{runtime}/{part}", || post(beneath("/dev/"))),
    route(workspace(Scope::Provision), Method::DELETE, "/api/dev/{id}/runtimes/{runtime}/{part}", || delete(beneath("/dev/"))),
    route(workspace(Scope::Read), Method::GET, "/api/dev/{id}/files/{*path}", || get(beneath("/dev/"))),
    route(workspace(Scope::Files), Method::PUT, "/api/dev/{id}/files/{*path}", || put(beneath("/dev/"))),
    route(workspace(Scope::Files), Method::POST, "/api/dev/{id}/files/{*path}", || post(beneath("/dev/"))),
    route(workspace(Scope::Files), Method::PATCH, "/api/dev/{id}/files/{*path}", || patch(beneath("/dev/"))),
    route(workspace(Scope::Files), Method::DELETE, "/api/dev/{id}/files/{*path}", || delete(beneath("/dev/"))),
    route(workspace(Scope::Read), Method::GET, "/api/dev/{id}/backups", || get(to("/dev/backups"))),
    route(workspace(Scope::Backups), Method::POST, "/api/dev/{id}/backups", || post(to("/dev/backups"))),
    route(workspace(Scope::Backups), Method::POST, "/api/dev/{id}/backups/restore", || post(to("/dev/backups/restore"))),
    route(workspace(Scope::Backups), Method::POST, "/api/dev/{id}/backups/{backup}/verify", || post(beneath("/dev/"))),
    route(workspace(Scope::Backups), Method::DELETE, "/api/dev/{id}/backups/{backup}", || delete(beneath("/dev/"))),
    route(Access::Admin, Method::GET, "/api/users", || get(people::users)),
    route(Access::Admin, Method::POST, "/api/users", || post(people::add_user)),
    route(Access::Admin, Method::PATCH, "/api/users/{name}", || patch(people::change_user)),
    route(Access::Admin, Method::DELETE, "/api/users/{name}", || delete(people::remove_user)),
    route(Access::Person(Scope::Admin), Method::POST, "/api/auth/password", || post(people::change_password)),
    route(Access::Person(Scope::Read), Method::GET, "/api/tokens", || get(people::tokens)),
    route(Access::Person(Scope::Admin), Method::POST, "/api/tokens", || post(people::make_token)),
    route(Access::Person(Scope::Admin), Method::DELETE, "/api/tokens/{token}", || delete(people::revoke_token)),
    route(Access::Admin, Method::GET, "/api/audit", || get(people::audit)),
    route(Access::Monitoring, Method::GET, "/metrics", || get(metrics::metrics)),
    route(Access::Monitoring, Method::GET, "/exporters", || get(metrics::exporters)),
    route(Access::Open, Method::GET, "/openapi.json", || get(openapi::document)),
];

const SERVER_READ: Access = Access::Server(Scope::Read);
const POWER: Access = Access::Server(Scope::Power);
const CONSOLE: Access = Access::Server(Scope::Console);

const fn game(scope: Scope) -> Access {
    Access::Kind(ContainerType::Game, scope)
}

const fn workspace(scope: Scope) -> Access {
    Access::Kind(ContainerType::Dev, scope)
}
