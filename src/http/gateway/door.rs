//! The door every request passes: who is it, may they, is it really them, not too often; what changes something is noted.
use super::{Gateway, cookies};
use crate::{
    actors::doorkeeper::{Admitted, Note},
    http::{
        Response, hosts,
        problem::{Code, Problem},
        server::connection::Connection,
    },
    model::{
        gateway::{Access, ContainerType, Denial},
        ids::Vmid,
    },
};
use axum::{
    extract::{RawPathParams, Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::IntoResponse,
};
use std::sync::Arc;

/// What the door needs to know of a route.
#[derive(Clone)]
pub struct Guard {
    pub gateway: Arc<Gateway>,
    pub access: Access,
}

/// Puts [`Admitted`] and [`Access`] into the request's extensions.
pub async fn admit(State(guard): State<Guard>, params: RawPathParams, mut request: Request, next: Next) -> Response {
    let vmid = params.iter().find(|(name, _)| *name == "id").and_then(|(_, text)| vmid(text));
    match admitted(&guard, vmid, request.method(), request.headers()).await {
        Ok(admitted) => {
            let note = note(&guard, &admitted, &request);
            request.extensions_mut().insert(admitted);
            request.extensions_mut().insert(guard.access);
            let response = next.run(request).await;
            if let Some(note) = note {
                guard.gateway.doorkeeper.note(note, response.status().as_u16()).await;
            }
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admitted(
    guard: &Guard,
    vmid: Option<Vmid>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Admitted, Problem> {
    let secrets = if guard.access == Access::Open { Vec::new() } else { secrets(&guard.gateway, method, headers)? };
    // Of several cookies of one name the one that still holds counts.
    let principal = match guard.access {
        Access::Open => None,
        _ => guard.gateway.doorkeeper.anyone(&secrets).await,
    };
    let admitted = guard.gateway.doorkeeper.admit(principal, guard.access, vmid).map_err(problem_of)?;
    if let Some(principal) = &admitted.principal {
        let paced = guard.gateway.doorkeeper.paces().request(&principal.user.id);
        paced.map_err(|wait| Problem::from(Code::TOO_MANY_REQUESTS).retry_after(wait))?;
    }
    Ok(admitted)
}

/// Plain digits, as they are written: `007` is nobody's number.
pub fn vmid(text: &str) -> Option<Vmid> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') && text.len() <= 9;
    text.parse().ok().filter(|_| plain).map(Vmid)
}

/// What the request shows: its bearer token, or else its cookies, if they were sent by a page of ours.
fn secrets<'a>(gateway: &Gateway, method: &Method, headers: &'a HeaderMap) -> Result<Vec<&'a str>, Problem> {
    let upgrade = headers.contains_key(header::UPGRADE);
    if headers.contains_key(header::AUTHORIZATION) {
        if upgrade {
            own_page(gateway, headers)?;
        }
        return bearer(headers).map(|token| vec![token]);
    }
    let cookies: Vec<&str> = cookies::sessions(headers, gateway.is_secure()).collect();
    let safe = matches!(*method, Method::GET | Method::HEAD) && !upgrade;
    if !cookies.is_empty() && !safe {
        own_page(gateway, headers)?;
        // Every browser sends Origin with a WebSocket handshake (RFC 6455 §4.1).
        if upgrade && !headers.contains_key(header::ORIGIN) {
            return Err(
                Code::FOREIGN_ORIGIN.because("A cookie opens a WebSocket only with the Origin of a page of ours.")
            );
        }
    }
    Ok(cookies)
}

/// The token of the only `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none());
    let token = value.and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case("bearer ").then(|| token.trim())
    });
    token.ok_or_else(|| Code::UNAUTHORIZED.because("Send exactly one `Authorization: Bearer <token>`."))
}

/// Refuses what a browser sent for another site's page. What sends neither header is no browser.
pub fn own_page(gateway: &Gateway, headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Err(Code::FOREIGN_ORIGIN.into());
    }
    let public = gateway.settings.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    let public = public.map(|url| url.origin().ascii_serialization());
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let first = origins.next();
    if origins.next().is_none() && first.is_some_and(|origin| public.is_some_and(|public| origin == public.as_str())) {
        return Ok(());
    }
    // This listener speaks plain http: a page of https came by a proxy, and that must be known.
    if first.is_some_and(|origin| !origin.as_bytes().starts_with(b"http://")) {
        return Err(
            Code::FOREIGN_ORIGIN.because("Another site's page may not do this. Behind a TLS proxy, set public_url.")
        );
    }
    hosts::same_origin(headers)
}

pub fn problem_of(denial: Denial) -> Problem {
    match denial {
        Denial::Unknown => Code::UNAUTHORIZED.because("Log in, or send `Authorization: Bearer <token>`."),
        Denial::Scope(scope) => Code::WRONG_SCOPE.because(format!("It lacks the scope {scope}.")),
        Denial::Audience => Code::WRONG_AUDIENCE.into(),
        Denial::NotAdmin => Code::NOT_ALLOWED.into(),
        Denial::Absent => Code::NO_SUCH_SERVER.into(),
        Denial::WrongType(ContainerType::Game) => Code::NOT_A_GAME.into(),
        Denial::WrongType(ContainerType::Dev) => Code::NOT_A_DEV_CONTAINER.into(),
    }
}

/// What the audit log will say of a request that changes something.
fn note(guard: &Guard, admitted: &Admitted, request: &Request) -> Option<Note> {
    let changes =
        !matches!(*request.method(), Method::GET | Method::HEAD) || request.headers().contains_key(header::UPGRADE);
    // A login notes itself: only there the name is known.
    let principal = admitted.principal.as_ref().filter(|_| changes && guard.access != Access::Open)?;
    let connection = request.extensions().get::<Arc<Connection>>();
    let peer = connection.map(|connection| guard.gateway.sender(connection, request.headers()));
    Some(Note {
        actor: principal.user.name.clone(),
        peer,
        action: format!("{} {}", request.method(), request.uri().path()),
        object: principal.credential.id.clone(),
    })
}
