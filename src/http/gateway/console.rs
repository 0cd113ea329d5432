//! The console of a server: a handshake that is checked, then bytes, both ways, as they come.
//!
//! After the checks this is a byte tunnel: frames, extensions and pings are the agent's and the browser's affair. Each
//! way holds one buffer; who does not read stops who writes, through to the game's own PTY reader, which skips.
use super::{Gateway, forward::Onward};
use crate::{
    actors::doorkeeper::{Admitted, Doorkeeper, StreamPermit},
    http::{
        Response,
        problem::{Code, Problem},
        server::connection::Connection,
    },
    model::gateway::Access,
};
use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::timeout,
};

/// Bytes held each way.
const BUFFER: usize = 16 << 10;
/// After the browser's last byte the agent may still say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// The agent's own console WebSocket, CONTRACT §1.6; its query parameters and subprotocols pass.
#[utoipa::path(get, path = "/api/servers/{id}/console", tag = "servers", params(("id" = u32, Path)), responses((status = 101), (status = 403, body = Problem), (status = 404, body = Problem), (status = 426, body = Problem), (status = 502, body = Problem)))]
pub async fn console(
    State(gateway): State<Arc<Gateway>>,
    Extension(admitted): Extension<Admitted>,
    Extension(access): Extension<Access>,
    Extension(connection): Extension<Arc<Connection>>,
    onward: Onward,
    mut request: Request,
) -> Result<Response, Problem> {
    let browser = request.extensions_mut().remove::<OnUpgrade>().ok_or(Code::UPGRADE_REQUIRED)?;
    let is_websocket =
        request.headers().get(header::UPGRADE).is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket {
        return Err(Code::UPGRADE_REQUIRED.into());
    }
    let permit = gateway.doorkeeper.stream(&admitted).ok_or(Code::TOO_MANY_STREAMS)?;
    let target = onward.target("/console/stream");
    let mut answer = gateway.upstream.upgrade(onward.server(), &target, request.headers()).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut parts, body) = answer.into_parts();
        super::upstream::backward_headers(&mut parts.headers);
        return Ok(Response::from_parts(parts, Body::new(body)));
    }
    let agent = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    for name in [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_PROTOCOL, header::SEC_WEBSOCKET_EXTENSIONS] {
        if let Some(value) = answer.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let tunnel = Tunnel {
        doorkeeper: gateway.doorkeeper.clone(),
        access,
        admitted,
        connection,
        idle: gateway.upstream.idle(),
        _permit: permit,
    };
    tokio::spawn(tunnel.run(browser, agent));
    Ok(response)
}

struct Tunnel {
    doorkeeper: Doorkeeper,
    access: Access,
    admitted: Admitted,
    connection: Arc<Connection>,
    idle: Duration,
    _permit: StreamPermit,
}

impl Tunnel {
    async fn run(self, browser: OnUpgrade, agent: OnUpgrade) {
        let ended = match tokio::try_join!(browser, agent) {
            Ok((browser, agent)) => self.relay(browser, agent).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a console ended badly");
        }
    }

    async fn relay(&self, browser: Upgraded, agent: Upgraded) -> io::Result<()> {
        let (mut from_browser, mut to_browser) = split(TokioIo::new(browser));
        let (mut from_agent, mut to_agent) = split(TokioIo::new(agent));
        // The agent pings every few seconds: a silent one is gone. A browser is pinged by it and may be silent.
        let down = copy(&mut from_agent, &mut to_browser, Some(self.idle));
        let up = copy(&mut from_browser, &mut to_agent, None);
        tokio::pin!(down);
        tokio::select! {
            ended = &mut down => ended,
            ended = up => {
                ended?;
                timeout(GOODBYE, down).await.unwrap_or(Ok(()))
            }
            () = self.doorkeeper.until_over(self.access, &self.admitted) => Ok(()),
            () = self.connection.over() => Ok(()),
        }
    }
}

/// Until the end of `from`; `to` is told of it.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    idle: Option<Duration>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer);
        let n = match idle {
            Some(idle) => timeout(idle, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
            None => read.await?,
        };
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
    }
}
