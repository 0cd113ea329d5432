//! `/openapi.json`, generated from the handlers.
use super::{
    Agent, backups, code_server, config, console, crashes, events, game, health, metrics, operations, power, runtimes,
    status, update, version,
};
use axum::{Json, extract::State};
use std::sync::Arc;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

#[derive(OpenApi)]
#[openapi(
    info(title = "zlh agent", description = "Supervises one workload. Errors are application/problem+json."),
    paths(
        health::health,
        health::ready,
        version::version,
        status::status,
        events::events,
        metrics::metrics,
        document,
        config::configure,
        power::start,
        power::restart,
        power::stop,
        power::kill,
        operations::list,
        operations::one,
        runtimes::cancel,
        runtimes::list,
        runtimes::install,
        runtimes::collect,
        runtimes::remove,
        runtimes::activate,
        runtimes::rollback,
        runtimes::verify,
        runtimes::repair,
        code_server::start,
        code_server::stop,
        code_server::restart,
        code_server::log,
        backups::list_dev,
        backups::make_dev,
        backups::restore_dev,
        backups::delete_dev,
        backups::verify_dev,
        backups::list_game,
        backups::make_game,
        backups::restore_game,
        backups::delete_game,
        backups::verify_game,
        update::update,
        update::status,
        crashes::list,
        crashes::one,
        game::players,
        console::log::log,
        console::command::command,
        console::stream,
    ),
    security(("bearer" = [])),
    modifiers(&Bearer)
)]
pub struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

#[utoipa::path(get, path = "/openapi.json", tag = "agent", responses((status = 200, body = serde_json::Value)))]
pub async fn document(State(agent): State<Arc<Agent>>) -> Json<utoipa::openapi::OpenApi> {
    let mut document = Document::openapi();
    document.info.version.clone_from(&agent.build.version);
    Json(document)
}
