//! `/api/servers`: the registry. Admins see and change all, owners see theirs and may rename them.
use super::{Gateway, unavailable};
use crate::{
    actors::{
        doorkeeper::Admitted,
        registry::{Changes, Refused, Wish},
    },
    http::{
        Response, body,
        problem::{Code, Problem},
    },
    model::{
        gateway::{ContainerType, People, Principal, Role, Server},
        refusal::Refusal,
        settings::Secret,
        time::WallTime,
    },
};
use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A server as it is shown: without its agent's token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    vmid: u32,
    name: String,
    #[schema(value_type = String)]
    container_type: ContainerType,
    owner: String,
    address: String,
    agent_port: u16,
    ide_port: u16,
    has_agent_token: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: WallTime,
}

fn shown(server: &Server, people: &People) -> Shown {
    Shown {
        vmid: server.vmid.0,
        name: server.name.clone(),
        container_type: server.container_type,
        owner: people.users.get(&server.owner).map_or_else(String::new, |user| user.name.clone()),
        address: server.address.to_string(),
        agent_port: server.agent_port,
        ide_port: server.ide_port,
        has_agent_token: server.agent_token.is_some(),
        created_at: server.created_at,
    }
}

#[derive(Serialize, ToSchema)]
pub struct List {
    servers: Vec<Shown>,
}

#[utoipa::path(get, path = "/api/servers", tag = "servers", responses((status = 200, body = List), (status = 401, body = Problem)))]
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { principal, .. }): Extension<Admitted>,
) -> Result<Json<List>, Problem> {
    let Principal { user, .. } = principal.ok_or(Code::UNAUTHORIZED)?;
    let directory = gateway.doorkeeper.directory();
    let (people, servers) = (directory.people(), directory.servers());
    let visible = servers.by_vmid.values().filter(|s| user.role == Role::Admin || s.owner == user.id);
    Ok(Json(List { servers: visible.map(|server| shown(server, &people)).collect() }))
}

const fn agent_port() -> u16 {
    18888
}

const fn ide_port() -> u16 {
    8080
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewServer {
    vmid: u32,
    name: Option<String>,
    #[schema(value_type = String)]
    container_type: ContainerType,
    /// A user's name; the caller if left out.
    owner: Option<String>,
    address: String,
    #[serde(default = "agent_port")]
    agent_port: u16,
    #[serde(default = "ide_port")]
    ide_port: u16,
    agent_token: Option<String>,
}

#[utoipa::path(post, path = "/api/servers", tag = "servers", request_body = NewServer, responses((status = 201, body = Shown), (status = 403, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn add(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { principal, .. }): Extension<Admitted>,
    request: Request,
) -> Result<Response, Problem> {
    let caller = principal.ok_or(Code::UNAUTHORIZED)?;
    let new: NewServer = body::json(request, &gateway.limits).await?;
    let wish = Wish {
        vmid: new.vmid,
        name: new.name.unwrap_or_else(|| format!("{}-{}", new.container_type, new.vmid)),
        container_type: new.container_type,
        owner: new.owner.unwrap_or_else(|| caller.user.name.clone()),
        address: new.address,
        agent_port: new.agent_port,
        ide_port: new.ide_port,
        agent_token: secret(new.agent_token)?,
    };
    let server = gateway.registry.add(wish).await.map_err(refused)?;
    let shown = shown(&server, &gateway.doorkeeper.directory().people());
    let mut response = (StatusCode::CREATED, Json(shown)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/servers/{}", server.vmid)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

#[utoipa::path(get, path = "/api/servers/{id}", tag = "servers", params(("id" = u32, Path)), responses((status = 200, body = Shown), (status = 404, body = Problem)))]
pub async fn one(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { server, .. }): Extension<Admitted>,
) -> Result<Json<Shown>, Problem> {
    let server = server.ok_or(Code::NO_SUCH_SERVER)?;
    Ok(Json(shown(&server, &gateway.doorkeeper.directory().people())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChangedServer {
    name: Option<String>,
    #[schema(value_type = Option<String>)]
    container_type: Option<ContainerType>,
    owner: Option<String>,
    address: Option<String>,
    agent_port: Option<u16>,
    ide_port: Option<u16>,
    agent_token: Option<String>,
}

/// Where an agent is and whose it is only admins may say: the gateway connects there with its token.
#[utoipa::path(patch, path = "/api/servers/{id}", tag = "servers", params(("id" = u32, Path)), request_body = ChangedServer, responses((status = 200, body = Shown), (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { server, principal }): Extension<Admitted>,
    request: Request,
) -> Result<Json<Shown>, Problem> {
    let server = server.ok_or(Code::NO_SUCH_SERVER)?;
    let caller = principal.ok_or(Code::UNAUTHORIZED)?;
    let ChangedServer { name, container_type, owner, address, agent_port, ide_port, agent_token } =
        body::json(request, &gateway.limits).await?;
    let more = container_type.is_some()
        || [&owner, &address, &agent_token].iter().any(|field| field.is_some())
        || agent_port.is_some()
        || ide_port.is_some();
    if more && caller.user.role != Role::Admin {
        return Err(Code::NOT_ALLOWED.because("An owner may change the name alone."));
    }
    let agent_token = secret(agent_token)?;
    let changes = Changes { name, container_type, owner, address, agent_port, ide_port, agent_token };
    let changed = gateway.registry.change(server.vmid, changes).await.map_err(refused)?;
    Ok(Json(shown(&changed, &gateway.doorkeeper.directory().people())))
}

#[utoipa::path(delete, path = "/api/servers/{id}", tag = "servers", params(("id" = u32, Path)), responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { server, .. }): Extension<Admitted>,
) -> Result<StatusCode, Problem> {
    let server = server.ok_or(Code::NO_SUCH_SERVER)?;
    gateway.registry.remove(server.vmid).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

fn secret(text: Option<String>) -> Result<Option<Secret>, Problem> {
    let fits = |t: &String| (1..=4096).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic());
    match text {
        Some(text) if !fits(&text) => Err(field("agentToken", "1 to 4096 printable ASCII characters")),
        text => Ok(text.map(Secret)),
    }
}

fn field(field: &str, detail: &str) -> Problem {
    Refusal::Unusable { field: field.into(), detail: detail.into() }.into()
}

fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Field(name, why) => field(name, &why),
        Refused::Exists => Code::EXISTS.because("There is a server with this vmid already."),
        Refused::Absent => Code::NO_SUCH_SERVER.into(),
        Refused::Unavailable(error) => unavailable(&error),
    }
}
