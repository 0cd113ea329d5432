//! The table of routes against what was promised, and against its own document.
use super::*;
use crate::{
    http::gateway::{ROUTES, openapi},
    model::gateway::Access,
};
use std::collections::BTreeSet;
use utoipa::OpenApi;

/// What other programs rely on; `{id}` is a vmid.
const PROMISED: &str = "
POST /api/auth/login|POST /api/auth/logout|GET /api/auth/me|GET /api/servers|POST /api/servers|GET /api/servers/{id}
PATCH /api/servers/{id}|DELETE /api/servers/{id}|POST /api/servers/{id}/provision|GET /api/servers/{id}/status
GET /api/servers/{id}/events|POST /api/servers/{id}/start|POST /api/servers/{id}/stop|POST /api/servers/{id}/restart
POST /api/servers/{id}/kill|POST /api/servers/{id}/game/start|POST /api/servers/{id}/game/stop
POST /api/servers/{id}/game/restart|GET /api/servers/{id}/console|GET /api/game/servers/{id}/players
GET /api/game/servers/{id}/mods|POST /api/game/servers/{id}/mods/install|PATCH /api/game/servers/{id}/mods/{mod}
DELETE /api/game/servers/{id}/mods/{mod}|GET /api/game/servers/{id}/files/{path}|PUT /api/game/servers/{id}/files/{path}
POST /api/game/servers/{id}/files/{path}|PATCH /api/game/servers/{id}/files/{path}
DELETE /api/game/servers/{id}/files/{path}|GET /api/game/servers/{id}/backups|POST /api/game/servers/{id}/backups
POST /api/game/servers/{id}/backups/restore|DELETE /api/game/servers/{id}/backups/{backup}
POST /api/game/servers/{id}/backups/{backup}/verify|GET /api/dev/{id}/files/{path}|PUT /api/dev/{id}/files/{path}
POST /api/dev/{id}/files/{path}|DELETE /api/dev/{id}/files/{path}|GET /api/dev/{id}/runtimes|POST /api/dev/{id}/runtimes
GET /api/dev/{id}/backups|POST /api/dev/{id}/backups|GET /api/dev/runtimes|POST /api/dev/{id}/codeserver/start
POST /api/dev/{id}/codeserver/stop|POST /api/dev/{id}/codeserver/restart|POST /api/dev/{id}/ide-token|GET /exporters
GET /metrics|GET /healthz|GET /openapi.json";

#[test]
fn what_was_promised_is_there_and_documented() {
    let routed: BTreeSet<String> =
        ROUTES.iter().map(|r| format!("{} {}", r.method, r.path.replace("{*", "{"))).collect();
    assert_eq!(routed.len(), ROUTES.len(), "no row twice");
    let missing: Vec<&str> = PROMISED.split(['|', '\n']).filter(|p| !p.is_empty() && !routed.contains(*p)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let document = serde_json::to_value(openapi::Document::openapi()).unwrap();
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert_eq!(documented, routed);
}

const BOOTSTRAP: &str = "/api/dev/{id}/ide";

#[test]
fn few_routes_are_open_and_every_server_is_somebodys() {
    let open: Vec<&str> = ROUTES.iter().filter(|r| r.access == Access::Open).map(|r| r.path).collect();
    // The link into an IDE is opened with the token in it (`tunnel::entry`).
    assert_eq!(open, ["/", "/healthz", "/api/auth/login", BOOTSTRAP, "/openapi.json"]);
    for route in ROUTES.iter().filter(|r| r.path.contains("{id}") && r.path != BOOTSTRAP) {
        let of_a_server = matches!(route.access, Access::Server(_) | Access::Kind(..));
        let deed = route.access == Access::Admin && route.method != Method::GET;
        assert!(of_a_server || deed, "{} {}", route.method, route.path);
        if let Access::Kind(kind, _) = route.access {
            let place = if kind == ContainerType::Game { "/api/game/" } else { "/api/dev/" };
            assert!(route.path.starts_with(place), "{}", route.path);
        }
    }
}
