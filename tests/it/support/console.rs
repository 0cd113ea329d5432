//! A console viewer over WebSocket, with or without the `zlh.console.v1` subprotocol.
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::CloseFrame},
};

pub struct Console {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// All output so far.
    pub output: Vec<u8>,
    /// All JSON frames so far (`zlh.console.v1`); the hello is the first.
    pub frames: Vec<Value>,
    /// How the server closed, once it has.
    pub closed: Option<Option<CloseFrame>>,
    subprotocol: bool,
}

impl Console {
    pub async fn connect(address: &str, path: &str, protocol: Option<&'static str>, token: Option<&str>) -> Console {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
        }
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
            request.headers_mut().insert("Authorization", bearer);
        }
        let (socket, _) = connect_async(request).await.unwrap_or_else(|e| panic!("{path}: {e}"));
        Console { socket, output: Vec::new(), frames: Vec::new(), closed: None, subprotocol: protocol.is_some() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Types a line and Enter.
    pub async fn type_line(&mut self, line: &str) {
        let data = format!("{line}\r");
        let frame = if self.subprotocol { json!({"type": "input", "data": data}).to_string() } else { data };
        self.socket.send(Message::text(frame)).await.unwrap();
    }

    pub async fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Reads until `pattern` has appeared in the output; what was read before counts too.
    pub async fn until(&mut self, pattern: &str, within: Duration) {
        let seen = timeout(within, async { while !self.text().contains(pattern) && self.read().await {} });
        let passed = seen.await.is_err();
        assert!(self.text().contains(pattern), "{pattern:?} not seen (timeout: {passed}) in:\n{}", self.text());
    }

    /// Reads until a JSON frame of this type has come, and returns the newest one.
    pub async fn until_frame(&mut self, kind: &str, within: Duration) -> Value {
        let found = timeout(within, async {
            loop {
                let frame = self.frames.iter().rev().find(|f| f["type"] == kind);
                if frame.is_some() || !self.read().await {
                    return self.frames.iter().rev().find(|f| f["type"] == kind).cloned();
                }
            }
        });
        found.await.ok().flatten().unwrap_or_else(|| panic!("no frame {kind:?} among {:?}", self.frames))
    }

    /// Reads until the server closes the connection.
    pub async fn until_closed(&mut self, within: Duration) -> Option<CloseFrame> {
        let closed = timeout(within, async { while self.read().await {} });
        closed.await.unwrap_or_else(|_| panic!("still open after {within:?}"));
        self.closed.clone().flatten()
    }

    /// Takes one message; false once the connection has ended.
    pub async fn read(&mut self) -> bool {
        match self.socket.next().await {
            Some(Ok(Message::Binary(bytes))) => self.output.extend_from_slice(&bytes),
            Some(Ok(Message::Text(text))) if self.subprotocol => {
                self.frames.push(serde_json::from_str(&text).expect("text frames are JSON"));
            }
            Some(Ok(Message::Text(text))) => self.output.extend_from_slice(text.as_bytes()),
            Some(Ok(Message::Close(frame))) => self.closed = Some(frame),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(_)) | None => {
                self.closed.get_or_insert(None);
                return false;
            }
        }
        true
    }
}
