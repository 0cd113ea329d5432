//! `/openapi.json`: generated from the handlers, and for forwarded paths from the table of routes.
use super::{
    Gateway, ROUTES, catalog, console, dev, doctor, health, ide, metrics, people, provision, servers, session, status,
    welcome,
};
use crate::model::gateway::Access;
use axum::{Json, extract::State, http::Method};
use std::sync::Arc;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        HttpMethod, Required, ResponseBuilder,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

#[derive(OpenApi)]
#[openapi(
    info(title = "zlh gateway", description = "Who may do what, every container's status, the way to its agent. Errors are application/problem+json."),
    paths(
        welcome::welcome,
        health::healthz,
        document,
        session::login,
        session::logout,
        session::me,
        servers::list,
        servers::add,
        servers::one,
        servers::change,
        servers::remove,
        status::status,
        status::events,
        provision::provision,
        console::console,
        dev::ide_token,
        ide::bootstrap,
        doctor::diagnose,
        catalog::runtimes,
        people::users,
        people::add_user,
        people::change_user,
        people::remove_user,
        people::change_password,
        people::tokens,
        people::make_token,
        people::revoke_token,
        people::audit,
        metrics::metrics,
        metrics::exporters,
    ),
    security(("bearer" = [])),
    modifiers(&Bearer, &Forwarded)
)]
pub struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// What is passed on as it is: the agent's own document says what these take and answer.
struct Forwarded;

impl Modify for Forwarded {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for route in ROUTES {
            let (path, method) = (route.path.replace("{*", "{"), method(&route.method));
            if document.paths.get_path_operation(&path, method.clone()).is_none() {
                document.paths.add_path_operation(&path, vec![method], forwarded(&path, route.access));
            }
        }
    }
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn forwarded(path: &str, access: Access) -> Operation {
    let needs = match access {
        Access::Server(scope) | Access::Kind(_, scope) | Access::Person(scope) => format!("scope {scope}"),
        Access::Admin => "an administrator".into(),
        Access::Monitoring => "audience monitoring".into(),
        Access::Open => "nothing".into(),
    };
    let answer = |text: &str| ResponseBuilder::new().description(text).build();
    let mut operation = OperationBuilder::new()
        .tag("agents")
        .description(Some(format!("Passed on to the server's agent, both ways as it comes. Needs {needs}.")))
        .response("default", answer("What the agent answers"))
        .response("401", answer("Not logged in"))
        .response("404", answer("No such server, or not yours"))
        .response("502", answer("The agent cannot be reached"))
        .response("504", answer("The agent does not answer in time"));
    for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        let one = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        operation = operation.parameter(one.build());
    }
    operation.build()
}

#[utoipa::path(get, path = "/openapi.json", tag = "gateway", responses((status = 200, body = serde_json::Value)))]
pub async fn document(State(gateway): State<Arc<Gateway>>) -> Json<utoipa::openapi::OpenApi> {
    let mut document = Document::openapi();
    document.info.version.clone_from(&gateway.build.version);
    Json(document)
}
