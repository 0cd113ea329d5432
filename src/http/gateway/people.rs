//! People and their tokens, and who did what.
use super::{Gateway, session::Person, unavailable};
use crate::{
    actors::doorkeeper::{Admitted, PeopleRefused, TokenWish},
    http::{
        Response, body,
        problem::{Code, Problem},
        query::Query,
    },
    model::{
        gateway::{Audience, Credential, CredentialKind, Principal, Role, Scope},
        refusal::Refusal,
        time::WallTime,
    },
};
use axum::{
    Extension, Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

fn refused(refused: PeopleRefused) -> Problem {
    let field = |field: &str, detail: &str| Refusal::Unusable { field: field.into(), detail: detail.into() }.into();
    match refused {
        PeopleRefused::Name(why) => field("username", why),
        PeopleRefused::Password(why) => field("password", why),
        PeopleRefused::Exists => Code::EXISTS.because("There is a user of this name already."),
        PeopleRefused::Absent => Code::NO_SUCH_USER.into(),
        PeopleRefused::OwnsServers => Code::OWNS_SERVERS.into(),
        PeopleRefused::Unavailable(error) => unavailable(&error),
    }
}

#[derive(Serialize, ToSchema)]
pub struct Users {
    users: Vec<Person>,
}

#[utoipa::path(get, path = "/api/users", tag = "people", responses((status = 200, body = Users), (status = 403, body = Problem)))]
pub async fn users(State(gateway): State<Arc<Gateway>>) -> Json<Users> {
    let people = gateway.doorkeeper.directory().people();
    let mut users: Vec<Person> = people.users.values().map(|user| Person::from(user.as_ref())).collect();
    users.sort_by(|a, b| a.username.cmp(&b.username));
    Json(Users { users })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    username: String,
    password: String,
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
}

#[utoipa::path(post, path = "/api/users", tag = "people", request_body = NewUser, responses((status = 201, body = Person), (status = 403, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn add_user(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Problem> {
    let NewUser { username, password, role } = body::json(request, &gateway.limits).await?;
    let added = gateway.doorkeeper.add_user(&username, role.unwrap_or(Role::Owner), password).await;
    Ok((StatusCode::CREATED, Json(Person::from(added.map_err(refused)?.as_ref()))).into_response())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedUser {
    /// Ends all sessions and tokens of this person.
    password: Option<String>,
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    suspended: Option<bool>,
}

#[utoipa::path(patch, path = "/api/users/{name}", tag = "people", params(("name" = String, Path)), request_body = ChangedUser, responses((status = 200, body = Person), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub async fn change_user(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Person>, Problem> {
    let ChangedUser { password, role, suspended } = body::json(request, &gateway.limits).await?;
    let doorkeeper = &gateway.doorkeeper;
    if let Some(password) = password {
        doorkeeper.set_password(&name, password).await.map_err(refused)?;
    }
    if let Some(role) = role {
        doorkeeper.set_role(&name, role).await.map_err(refused)?;
    }
    if let Some(suspended) = suspended {
        doorkeeper.suspend(&name, suspended).await.map_err(refused)?;
    }
    Ok(Json(Person::from(doorkeeper.user(&name).map_err(refused)?.as_ref())))
}

#[utoipa::path(delete, path = "/api/users/{name}", tag = "people", params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn remove_user(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    gateway.doorkeeper.remove_user(&name).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PasswordChange {
    old_password: String,
    new_password: String,
}

/// One's own; ends all sessions and tokens, this one too.
#[utoipa::path(post, path = "/api/auth/password", tag = "people", request_body = PasswordChange, responses((status = 204), (status = 401, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub async fn change_password(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Arc<crate::http::server::connection::Connection>>,
    Extension(Admitted { principal, .. }): Extension<Admitted>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let Principal { user, .. } = principal.ok_or(Code::UNAUTHORIZED)?;
    let peer = gateway.sender(&connection, request.headers());
    let change: PasswordChange = body::json(request, &gateway.limits).await?;
    let paced = gateway.doorkeeper.paces().login(&user.name, peer);
    paced.map_err(|wait| Problem::from(Code::TOO_MANY_LOGINS).retry_after(wait))?;
    let knows = gateway.doorkeeper.knows_password(&user, change.old_password).await;
    if !knows.map_err(|e| unavailable(&e))? {
        return Err(Code::WRONG_CREDENTIALS.because("The old password is wrong."));
    }
    gateway.doorkeeper.set_password(&user.name, change.new_password).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A session or token, without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    id: String,
    #[schema(value_type = String)]
    kind: CredentialKind,
    name: String,
    username: String,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    #[schema(value_type = String)]
    audience: Audience,
    #[schema(value_type = String, format = DateTime)]
    created_at: WallTime,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<WallTime>,
}

fn shown(credential: &Credential, username: &str) -> Shown {
    Shown {
        id: credential.id.clone(),
        kind: credential.kind,
        name: credential.name.clone(),
        username: username.to_owned(),
        scopes: credential.scopes.clone(),
        audience: credential.audience,
        created_at: credential.created_at,
        expires_at: credential.expires_at,
    }
}

#[derive(Serialize, ToSchema)]
pub struct Tokens {
    tokens: Vec<Shown>,
}

/// One's own sessions and tokens; everybody's for admins.
#[utoipa::path(get, path = "/api/tokens", tag = "people", responses((status = 200, body = Tokens)))]
pub async fn tokens(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { principal, .. }): Extension<Admitted>,
) -> Result<Json<Tokens>, Problem> {
    let Principal { user, .. } = principal.ok_or(Code::UNAUTHORIZED)?;
    let people = gateway.doorkeeper.directory().people();
    let mine = people.by_id.values().filter(|c| user.role == Role::Admin || c.user == user.id);
    let name = |c: &Credential| people.users.get(&c.user).map_or("", |user| &user.name).to_owned();
    let mut tokens: Vec<Shown> = mine.map(|c| shown(c, &name(c))).collect();
    tokens.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Json(Tokens { tokens }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewToken {
    name: String,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    #[schema(value_type = Option<String>)]
    audience: Option<Audience>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<WallTime>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeToken {
    /// Shown this once.
    token: String,
    #[serde(flatten)]
    about: Shown,
}

/// A token may do no more than what it was made with.
#[utoipa::path(post, path = "/api/tokens", tag = "people", request_body = NewToken, responses((status = 201, body = MadeToken), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub async fn make_token(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { principal, .. }): Extension<Admitted>,
    request: Request,
) -> Result<Response, Problem> {
    let Principal { user, credential } = principal.ok_or(Code::UNAUTHORIZED)?;
    let NewToken { name, scopes, audience, expires_at } = body::json(request, &gateway.limits).await?;
    let unusable =
        |field: &str, detail: &str| Problem::from(Refusal::Unusable { field: field.into(), detail: detail.into() });
    if name.trim().is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(unusable("name", "1 to 64 characters, none of them control characters"));
    }
    if let Some(more) =
        scopes.iter().find(|s| credential.kind == CredentialKind::Token && !credential.scopes.contains(s))
    {
        return Err(Code::WRONG_SCOPE.because(format!("The token that asks lacks the scope {more} itself.")));
    }
    let audience = audience.unwrap_or(Audience::Api);
    if audience == Audience::Monitoring && user.role != Role::Admin {
        return Err(Code::NOT_ALLOWED.because("Only an administrator may make tokens for monitoring."));
    }
    let end = match (expires_at, credential.expires_at.filter(|_| credential.kind == CredentialKind::Token)) {
        (Some(wished), Some(own)) => Some(WallTime(wished.0.min(own.0))),
        (wished, own) => wished.or(own),
    };
    let wish = TokenWish { name, scopes, audience, expires_at: end };
    let made = gateway.doorkeeper.make_token(&user, wish).await.map_err(|e| unavailable(&e))?;
    let body = MadeToken { token: made.secret.0, about: shown(&made.credential, &user.name) };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    super::no_store(&mut response);
    Ok(response)
}

/// One's own, anybody's for admins; ends the streams and IDEs opened with it.
#[utoipa::path(delete, path = "/api/tokens/{token}", tag = "people", params(("token" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
pub async fn revoke_token(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { principal, .. }): Extension<Admitted>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let Principal { user, .. } = principal.ok_or(Code::UNAUTHORIZED)?;
    let people = gateway.doorkeeper.directory().people();
    let theirs = people.by_id.get(&id).is_some_and(|c| user.role == Role::Admin || c.user == user.id);
    if !theirs || !gateway.doorkeeper.revoke(&id).await.map_err(|e| unavailable(&e))? {
        return Err(Code::NO_SUCH_TOKEN.into());
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Most {
    /// How many of the newest entries, 1 to 1000; 100 if left out.
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub struct Deed {
    seq: i64,
    #[schema(value_type = String, format = DateTime)]
    at: WallTime,
    actor: String,
    peer: String,
    action: String,
    object: String,
    outcome: String,
    hash: String,
}

#[derive(Serialize, ToSchema)]
pub struct Deeds {
    entries: Vec<Deed>,
}

#[utoipa::path(get, path = "/api/audit", tag = "people", params(Most), responses((status = 200, body = Deeds), (status = 403, body = Problem)))]
pub async fn audit(State(gateway): State<Arc<Gateway>>, Query(most): Query<Most>) -> Result<Json<Deeds>, Problem> {
    let most = most.limit.unwrap_or(100).clamp(1, 1000);
    let entries = gateway.doorkeeper.newest_deeds(most).await.map_err(|e| unavailable(&e))?;
    let deed = |e: crate::actors::doorkeeper::Entry| Deed {
        seq: e.seq,
        at: e.entry.at,
        actor: e.entry.actor,
        peer: e.entry.peer,
        action: e.entry.action,
        object: e.entry.object,
        outcome: e.entry.outcome,
        hash: e.hash,
    };
    Ok(Json(Deeds { entries: entries.into_iter().map(deed).collect() }))
}
