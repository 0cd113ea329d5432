//! Log in, log out, who am I.
use super::{Gateway, cookies};
use crate::{
    actors::doorkeeper::{Admitted, LoginDenial, Made, Note},
    http::{
        Response, body,
        problem::{Code, Problem},
        server::connection::Connection,
    },
    model::{
        gateway::{Principal, Role, Scope, User},
        time::WallTime,
    },
};
use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    username: String,
    password: String,
}

/// A person as others may see them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub id: String,
    pub username: String,
    #[schema(value_type = String)]
    pub role: Role,
    pub suspended: bool,
}

impl From<&User> for Person {
    fn from(user: &User) -> Person {
        Person { id: user.id.0.clone(), username: user.name.clone(), role: user.role, suspended: user.suspended }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    /// For programs; browsers have it as a cookie.
    token: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<WallTime>,
    user: Person,
}

/// Sets the session cookie as well. Tries of one name from one address are few; past them 429 says when to come back.
#[utoipa::path(post, path = "/api/auth/login", tag = "people", request_body = LoginBody, responses((status = 200, body = LoggedIn), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub async fn login(
    State(gateway): State<Arc<Gateway>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
) -> Result<Response, Problem> {
    super::door::own_page(&gateway, request.headers())?;
    let peer = gateway.sender(&connection, request.headers());
    let login: LoginBody = body::json(request, &gateway.limits).await?;
    let tried = gateway.doorkeeper.login(&login.username, login.password, peer).await;
    let status = tried.as_ref().map_or_else(|denial| refused(denial).status, |_| 200);
    let note = Note { actor: login.username, peer: Some(peer), action: "login".into(), object: "-".into() };
    // A flood of tries is counted by the limit that refused it and must not fill the log.
    if status != StatusCode::TOO_MANY_REQUESTS.as_u16() {
        gateway.doorkeeper.note(note, status).await;
    }
    match tried {
        Ok(made) => Ok(logged_in(&gateway, &made)),
        Err(denial) => Err(refused(&denial)),
    }
}

fn refused(denial: &LoginDenial) -> Problem {
    match denial {
        LoginDenial::Wrong => Code::WRONG_CREDENTIALS.into(),
        LoginDenial::TooOften(wait) => Problem::from(Code::TOO_MANY_LOGINS).retry_after(*wait),
        LoginDenial::Unavailable(error) => super::unavailable(error),
    }
}

fn logged_in(gateway: &Gateway, made: &Made) -> Response {
    let body = LoggedIn {
        token: made.secret.0.clone(),
        expires_at: made.credential.expires_at,
        user: Person::from(made.user.as_ref()),
    };
    let cookie = cookies::session(made.secret.0.clone(), gateway.settings.sessions.lifetime, gateway.is_secure());
    let mut response = Json(body).into_response();
    super::no_store(&mut response);
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Ends this session or token, and every stream and IDE that was opened with it.
#[utoipa::path(post, path = "/api/auth/logout", tag = "people", responses((status = 204), (status = 401, body = Problem)))]
pub async fn logout(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { principal, .. }): Extension<Admitted>,
) -> Result<Response, Problem> {
    let Principal { credential, .. } = principal.ok_or(Code::UNAUTHORIZED)?;
    gateway.doorkeeper.revoke(&credential.id).await.map_err(|e| super::unavailable(&e))?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = cookies::ended(gateway.is_secure()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    #[serde(flatten)]
    person: Person,
    /// What this session or token may be used for; empty: everything its user may.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<WallTime>,
}

#[utoipa::path(get, path = "/api/auth/me", tag = "people", responses((status = 200, body = Me), (status = 401, body = Problem)))]
pub async fn me(Extension(Admitted { principal, .. }): Extension<Admitted>) -> Result<Response, Problem> {
    let Principal { user, credential } = principal.ok_or(Code::UNAUTHORIZED)?;
    let me = Me {
        person: Person::from(user.as_ref()),
        scopes: credential.scopes.clone(),
        expires_at: credential.expires_at,
    };
    let mut response = Json(me).into_response();
    super::no_store(&mut response);
    Ok(response)
}
