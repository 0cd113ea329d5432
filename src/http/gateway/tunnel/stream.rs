//! WebSockets: the handshake is checked and carried on a connection of its own, then bytes flow both ways.
//!
//! Only `websocket` is an upgrade here: another protocol (h2c) would carry requests that nobody checks. There is no limit
//! on the time a stream may live or be silent; it ends with either side, with its pass, or with the gateway.
mod pump;

use super::{
    Passage,
    access::Pass,
    forward,
    headers::{self, Way},
};
use crate::{
    host::connection_pool::{Answer, Answered, Pool},
    http::{
        problem::{Code, Problem},
        server::{connection::Connection, stalling::Stalling},
    },
    model::gateway::settings,
};
use axum::http::{Method, Request, StatusCode, Version};
use bytes::BytesMut;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc};
use tokio::{net::TcpStream, time::timeout};

/// Is this a WebSocket handshake?
pub(super) fn asked<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && headers::upgrade(request.headers()).is_some()
}

/// Carries the handshake. An answer of 101 holds the workspace's side of a [`Stream`].
pub(super) async fn open(
    settings: &settings::Tunnel,
    pool: &Pool,
    request: &Request<()>,
    passage: &Passage,
    way: &Way<'_>,
) -> Result<Answered, Problem> {
    let target = &passage.target;
    if forward::has_body(request) {
        return Err(Code::MALFORMED.because("A WebSocket handshake has no body."));
    }
    let asking = forward::asking(request, passage, way, headers::upgrade(request.headers()).as_ref())?;
    // On a fresh connection, bound to this container alone.
    let asked = timeout(settings.response_timeout, pool.alone(target.ide, &asking));
    let asked = asked.await.map_err(|_| Code::IDE_TIMEOUT)?;
    let mut answer = asked.map_err(|failure| forward::failed(target, &failure))?;
    let protocol = headers::upgrade(answer.headers()).filter(|_| has_switched(&answer));
    if has_switched(&answer) && protocol.is_none() {
        return Err(Code::IDE_BROKE.because("The workspace switched to another protocol than WebSocket."));
    }
    headers::for_browser(answer.headers_mut(), way, protocol);
    Ok(answer)
}

/// Did both sides agree?
pub(super) fn has_switched(answer: &Answered) -> bool {
    answer.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Two sides that agreed, and what ends them besides.
pub(super) struct Stream {
    pub workspace: Answer,
    pub pass: Arc<dyn Pass>,
    pub connection: Arc<Connection>,
}

impl Stream {
    /// Lives on by itself, on the browser's bare connection; `received`: what was already read from it.
    pub fn start(self, browser: TcpStream, received: BytesMut) {
        tokio::spawn(self.run(async move { Ok((browser, received)) }));
    }

    /// The same on a connection that is still a server's, until its answer is written.
    pub fn start_on(self, browser: OnUpgrade) {
        tokio::spawn(self.run(async move {
            let browser = browser.await.map_err(io::Error::other)?;
            let browser = browser.downcast::<TokioIo<Stalling>>().map_err(|_| strange())?;
            Ok((browser.io.into_inner().into_inner(), browser.read_buf.as_ref().into()))
        }));
    }

    async fn run(self, browser: impl Future<Output = io::Result<(TcpStream, BytesMut)>>) {
        let Stream { workspace, pass, connection } = self;
        let flow = async {
            let (browser, sent) = browser.await?;
            let (workspace, received) = workspace.into_connection().ok_or_else(strange)?;
            pump::join(browser, workspace, (sent.into(), received.into())).await
        };
        let joined = tokio::select! {
            joined = flow => joined,
            () = pass.over() => Ok(()),
            () = connection.draining() => Ok(()),
        };
        if let Err(error) = joined {
            tracing::debug!(%error, "a stream through the tunnel broke");
        }
    }
}

fn strange() -> io::Error {
    io::Error::other("the connection is not one of this tunnel")
}
