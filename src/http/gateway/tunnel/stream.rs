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
    host::connection_pool::{Answer, Pool},
    http::{
        problem::{Code, Problem},
        server::{connection::Connection, stalling::Stalling},
    },
    model::gateway::settings,
};
use axum::http::{Method, Request, StatusCode, Version};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc};
use tokio::time::timeout;

/// Is this a WebSocket handshake?
pub(super) fn asked<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && headers::upgrade(request.headers()).is_some()
}

/// Carries the handshake; once both sides agreed, the stream lives on by itself.
pub(super) async fn open(
    settings: &settings::Tunnel,
    pool: &Pool,
    connection: &Arc<Connection>,
    mut request: Request<Incoming>,
    passage: &Passage,
    way: &Way<'_>,
) -> Result<Response, Problem> {
    let Passage { target, admitted, .. } = passage;
    if forward::has_body(&request) {
        return Err(Code::MALFORMED.because("A WebSocket handshake has no body."));
    }
    let browser = request.extensions_mut().remove::<OnUpgrade>().ok_or(Code::UPGRADE_REQUIRED)?;
    let asking = forward::asking(&request, passage, way, headers::upgrade(request.headers()).as_ref())?;
    // On a fresh connection, bound to this container alone.
    let asked = timeout(settings.response_timeout, pool.alone(target.ide, &asking));
    let asked = asked.await.map_err(|_| Code::IDE_TIMEOUT)?;
    let mut answer = asked.map_err(|failure| forward::failed(target, &failure))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        headers::for_browser(answer.headers_mut(), way, None);
        return Ok(forward::finish(answer, admitted));
    }
    let Some(protocol) = headers::upgrade(answer.headers()) else {
        return Err(Code::IDE_BROKE.because("The workspace switched to another protocol than WebSocket."));
    };
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    std::mem::swap(response.headers_mut(), answer.headers_mut());
    headers::for_browser(response.headers_mut(), way, Some(protocol));
    let workspace = answer.into_body();
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
    Ok(response)
}

async fn flow(browser: OnUpgrade, workspace: Answer) -> io::Result<()> {
    let browser = browser.await.map_err(io::Error::other)?;
    let strange = || io::Error::other("the connection is not one of this tunnel");
    let browser = browser.downcast::<TokioIo<Stalling>>().map_err(|_| strange())?;
    let (workspace, received) = workspace.into_connection().ok_or_else(strange)?;
    let first = (browser.read_buf.to_vec(), received.to_vec());
    pump::join(browser.io.into_inner(), workspace, first).await
}
