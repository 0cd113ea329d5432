//! Asks a running server whether players can join, in its own protocol.
//!
//! One question, one answer or one sentence that tells a person what is wrong. The peer is a game server that may be
//! broken or hostile: every answer is bounded in size and the whole question in time. Asking leaves nothing behind: no
//! open connection, no retries.
mod a2s;
mod banner;
mod http;
mod log_line;
mod minecraft;
mod minecraft_legacy;
mod ports;
mod udp;

pub use log_line::LogLineMatcher;
pub use ports::{PortHolder, PortOwner, Transport, missing_ports, port_holders};

use super::{accounts, trial};
use crate::model::{snapshot::Players, workload::ReadyProbe};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use tokio::net::{TcpStream, UdpSocket};

/// What a server said about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeAnswer {
    pub players: Option<Players>,
    /// As the server names it, at most 100 characters.
    pub version: Option<String>,
}

/// Why a server is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("connection refused on {0}: nothing listens there")]
    Refused(SocketAddr),
    #[error("no answer from {at} within {} ms", within.as_millis())]
    Silent { at: SocketAddr, within: Duration },
    #[error("{at} answers, but not {protocol}: {detail}")]
    Foreign { at: SocketAddr, protocol: &'static str, detail: String },
    #[error("{at} answers with HTTP status {status}")]
    HttpStatus { at: SocketAddr, status: u16 },
    #[error("could not ask {at}: {error}")]
    Failed { at: SocketAddr, error: io::Error },
    #[error("{0}")]
    Told(String),
    #[error("this probe cannot be asked: {0}")]
    Unusable(String),
}

/// Asks once, on 127.0.0.1, and takes no longer than `within`.
pub async fn ask(probe: &ReadyProbe, within: Duration) -> Result<ProbeAnswer, ProbeError> {
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match probe {
        ReadyProbe::MinecraftPing { port } => minecraft_ping(local(*port), within).await,
        ReadyProbe::Tcp { port } => tcp(local(*port), within).await,
        ReadyProbe::Http { port, path } => bounded(local(*port), within, http::ask(local(*port), path)).await,
        ReadyProbe::A2s { port } => bounded(local(*port), within, a2s::ask(local(*port))).await,
        ReadyProbe::Udp { port, send, expect } => {
            bounded(local(*port), within, udp::ask(local(*port), send, expect)).await
        }
        ReadyProbe::Banner { port, begins } => bounded(local(*port), within, banner::ask(local(*port), begins)).await,
        ReadyProbe::Command { argv } => command(argv, within).await,
        ReadyProbe::Log { .. } => Err(ProbeError::Unusable("readiness is read from the console".to_owned())),
        ReadyProbe::None => Ok(ProbeAnswer::default()),
    }
}

async fn command(argv: &[String], within: Duration) -> Result<ProbeAnswer, ProbeError> {
    let own = accounts::own().map_err(|e| ProbeError::Unusable(e.to_string()))?;
    let env = [("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())].into();
    let said = trial::run(argv, &env, Path::new("/"), &own, within).await;
    said.map(|_| ProbeAnswer::default()).map_err(ProbeError::Told)
}

/// Is there a listener at all?
async fn tcp(at: SocketAddr, within: Duration) -> Result<ProbeAnswer, ProbeError> {
    bounded(at, within, async { connect(at).await.map(|_| ProbeAnswer::default()) }).await
}

/// The server list ping of today, and if the peer does not understand it, those of older versions.
async fn minecraft_ping(at: SocketAddr, within: Duration) -> Result<ProbeAnswer, ProbeError> {
    bounded(at, within, async {
        match minecraft::ask(at).await {
            Err(foreign @ ProbeError::Foreign { .. }) => minecraft_legacy::ask(at).await.or(Err(foreign)),
            answer => answer,
        }
    })
    .await
}

async fn bounded(
    at: SocketAddr,
    within: Duration,
    question: impl Future<Output = Result<ProbeAnswer, ProbeError>>,
) -> Result<ProbeAnswer, ProbeError> {
    tokio::time::timeout(within, question).await.unwrap_or(Err(ProbeError::Silent { at, within }))
}

async fn connect(at: SocketAddr) -> Result<TcpStream, ProbeError> {
    TcpStream::connect(at).await.map_err(|e| failed(at, e))
}

/// A UDP socket that hears only `at`, and hears of it if nobody listens there.
async fn udp_to(at: SocketAddr) -> Result<UdpSocket, ProbeError> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.map_err(|e| failed(at, e))?;
    socket.connect(at).await.map_err(|e| failed(at, e))?;
    Ok(socket)
}

fn failed(at: SocketAddr, error: io::Error) -> ProbeError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeError::Refused(at),
        _ => ProbeError::Failed { at, error },
    }
}

/// Text of a peer, made fit to be shown: bounded, without control characters and colour codes.
fn shown(text: &str, most: usize) -> String {
    crate::model::plain_text::plain_line(text.as_bytes()).chars().take(most).collect()
}

#[cfg(test)]
mod tests;
