//! WebSockets: the handshake is checked and carried on a connection of its own, then bytes flow both ways.
//!
//! Only `websocket` is an upgrade here: another protocol (h2c) would carry requests that nobody checks. There is no limit
//! on the time a stream may live or be silent; it ends with either side, with its pass, or with the gateway.
mod pump;

use super::{
    Passage, Response, empty, forward,
    headers::{self, Way},
};
use crate::{
    http::{
        problem::{Code, Problem},
        server::{connection::Connection, stalling::Stalling},
    },
    model::gateway::settings,
};
use axum::{
    body::Bytes,
    http::{HeaderValue, Method, Request, StatusCode, Version},
};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc};
use tokio::{net::TcpStream, time::timeout};

/// Is this a WebSocket handshake?
pub(super) fn asked<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && headers::upgrade(request.headers()).is_some()
}

/// Carries the handshake; once both sides agreed, the stream lives on by itself.
pub(super) async fn open(
    settings: &settings::Tunnel,
    connection: &Arc<Connection>,
    mut request: Request<Incoming>,
    passage: &Passage,
    way: &Way<'_>,
) -> Result<Response, Problem> {
    let admitted = &passage.admitted;
    if forward::has_body(&request) {
        return Err(Code::MALFORMED.because("A WebSocket handshake has no body."));
    }
    let browser = request.extensions_mut().remove::<OnUpgrade>().ok_or(Code::UPGRADE_REQUIRED)?;
    let mut answer = timeout(settings.response_timeout, handshake(settings, request, passage, way))
        .await
        .map_err(|_| Code::IDE_TIMEOUT)??;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::for_browser(answer.headers_mut(), way, None);
        return Ok(forward::finish(answer, admitted));
    }
    let Some(protocol) = headers::upgrade(answer.headers()) else {
        return Err(Code::IDE_BROKE.because("The workspace switched to another protocol than WebSocket."));
    };
    let workspace = hyper::upgrade::on(&mut answer);
    let over = admitted.pass.clone().over();
    let connection = connection.clone();
    tokio::spawn(async move {
        let joined = tokio::select! {
            joined = flow(browser, workspace) => joined,
            () = over => Ok(()),
            () = connection.draining() => Ok(()),
        };
        if let Err(error) = joined {
            tracing::debug!(%error, "a stream through the tunnel broke");
        }
    });
    Ok(switch(answer, way, protocol))
}

fn switch(answer: axum::http::Response<Incoming>, way: &Way, protocol: HeaderValue) -> Response {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    *response.headers_mut() = answer.into_parts().0.headers;
    headers::for_browser(response.headers_mut(), way, Some(protocol));
    response
}

/// On a fresh connection, bound to this container alone.
async fn handshake(
    settings: &settings::Tunnel,
    request: Request<Incoming>,
    passage: &Passage,
    way: &Way<'_>,
) -> Result<axum::http::Response<Incoming>, Problem> {
    let Passage { place, target, .. } = passage;
    let connected = timeout(settings.connect_timeout, TcpStream::connect(target.ide)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(forward::unreachable(target, &error)),
        Err(_) => return Err(Code::IDE_TIMEOUT.into()),
    };
    let broke = |error: hyper::Error| Code::IDE_BROKE.because(format!("The handshake broke off: {error}"));
    stream.set_nodelay(true).map_err(|error| forward::unreachable(target, &error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a workspace's connection broke");
        }
    });
    let (mut parts, _) = request.into_parts();
    let protocol = headers::upgrade(&parts.headers);
    headers::for_workspace(&mut parts.headers, way, protocol);
    parts.uri = headers::target(&place.rest).ok_or(Code::MALFORMED)?;
    sender.send_request(Request::from_parts(parts, Empty::<Bytes>::new())).await.map_err(broke)
}

async fn flow(browser: OnUpgrade, workspace: OnUpgrade) -> io::Result<()> {
    let (browser, workspace) = tokio::try_join!(browser, workspace).map_err(io::Error::other)?;
    let strange = |_| io::Error::other("the connection is not one of this tunnel");
    let browser = browser.downcast::<TokioIo<Stalling>>().map_err(strange)?;
    let workspace = workspace.downcast::<TokioIo<TcpStream>>().map_err(strange)?;
    let first = (browser.read_buf.to_vec(), workspace.read_buf.to_vec());
    pump::join(browser.io.into_inner(), workspace.io.into_inner(), first).await
}
