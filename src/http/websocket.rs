//! The WebSocket handshake (RFC 6455 §4.2) and the socket behind it.
//!
//! Done here instead of by a framework because the checks answer with problems, because the plain TCP stream is wanted
//! (no boxed layer between a viewer and the kernel), and because the errors of the protocol decide the close code.
use super::{
    Response, hosts,
    problem::{Code, Problem},
    server::stalling::Stalling,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header},
    response::IntoResponse,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error,
        error::ProtocolError,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

pub type Socket = WebSocketStream<TcpStream>;

/// Most a closing peer may still send us, in bytes and time, so that it can read our close frame before a reset.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_secs(1);

/// A handshake that was checked and may be accepted.
pub struct Handshake {
    upgrade: OnUpgrade,
    accept: HeaderValue,
    offered: Vec<String>,
}

impl Handshake {
    /// Takes the handshake out of a request; a foreign `Origin` is refused.
    pub fn of(request: &mut Request<Body>) -> Result<Handshake, Problem> {
        let headers = request.headers();
        let is_get = request.method() == Method::GET && request.version() == Version::HTTP_11;
        if !is_get || !lists(headers, &header::CONNECTION, "upgrade") || !lists(headers, &header::UPGRADE, "websocket")
        {
            return Err(Code::UPGRADE_REQUIRED.into());
        }
        hosts::same_origin(headers)?;
        let version = only(headers, &header::SEC_WEBSOCKET_VERSION)?;
        if version != "13" {
            return Err(Code::UPGRADE_REQUIRED.into());
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY)?;
        if !is_key(key.as_bytes()) {
            return Err(Code::MALFORMED.because("Sec-WebSocket-Key is not 16 bytes in base64."));
        }
        let has_body = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        if has_body || headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Code::MALFORMED.because("A WebSocket handshake has no body."));
        }
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Code::INTERNAL)?;
        let offered = items(headers, &header::SEC_WEBSOCKET_PROTOCOL).map(str::to_owned).collect();
        let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(Code::UPGRADE_REQUIRED)?;
        Ok(Handshake { upgrade, accept, offered })
    }

    pub fn offers(&self, protocol: &str) -> bool {
        self.offered.iter().any(|offered| offered == protocol)
    }

    /// The 101 answer, and the socket that comes to be once it was sent.
    pub fn accept(self, protocol: Option<&'static str>, config: WebSocketConfig) -> (Response, Opening) {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(protocol) = protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        (response, Opening { upgrade: self.upgrade, config })
    }
}

/// An accepted handshake on its way to a socket.
pub struct Opening {
    upgrade: OnUpgrade,
    config: WebSocketConfig,
}

impl Opening {
    pub async fn socket(self) -> io::Result<Socket> {
        let upgraded = self.upgrade.await.map_err(io::Error::other)?;
        let parts = upgraded
            .downcast::<TokioIo<Stalling>>()
            .map_err(|_| io::Error::other("the connection is not one of this server"))?;
        let stream = parts.io.into_inner().into_inner();
        Ok(Socket::from_partially_read(stream, parts.read_buf.into(), Role::Server, Some(self.config)).await)
    }
}

/// The close code for what a peer did, `None` if the connection is simply gone.
pub fn close_code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// Ends the stream after the close frame. Unread input would make the kernel answer with a reset, which can overtake the
/// close frame; so what still comes is read and thrown away for a moment.
pub async fn linger(mut stream: TcpStream) {
    let deadline = Instant::now() + LINGER;
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut waste = vec![0; 4096];
    let mut left = LINGER_BYTES;
    while let Ok(Ok(n)) = timeout_at(deadline, stream.read(&mut waste)).await {
        if n == 0 || n > left {
            return;
        }
        left -= n;
    }
}

fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

fn lists(headers: &HeaderMap, name: &HeaderName, item: &str) -> bool {
    items(headers, name).any(|found| found.eq_ignore_ascii_case(item))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value.trim()),
        _ => Err(Code::MALFORMED.because(format!("{name} must be there exactly once."))),
    }
}

fn is_key(key: &[u8]) -> bool {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_base64)
}
