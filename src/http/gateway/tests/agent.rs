//! A small agent: echoes what it was sent, or behaves as the path says.
use crate::{
    http::{
        Response,
        server::{
            self, Traffic,
            connection::{Answer, Connection, Face},
        },
    },
    model::settings::Limits,
};
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

pub const CHUNK: usize = 64 << 10;

pub struct FakeAgent {
    pub at: SocketAddr,
    pub state: Arc<Counts>,
    server: JoinHandle<usize>,
}

#[derive(Default)]
pub struct Counts {
    pub requests: AtomicU64,
    /// Chunks of the endless answer that somebody took.
    pub chunks: AtomicU64,
    pub consoles: AtomicU64,
}

impl FakeAgent {
    pub async fn start() -> FakeAgent {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (at, state) = (listener.local_addr().unwrap(), Arc::new(Counts::default()));
        let face = Echo(state.clone());
        let server = tokio::spawn(async move {
            server::serve(listener, face, &Limits::default(), Arc::<Traffic>::default(), std::future::pending()).await
        });
        FakeAgent { at, state, server }
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct Echo(Arc<Counts>);

impl Face for Echo {
    fn answer(&self, _: &Arc<Connection>, request: Request<Incoming>) -> Answer {
        Answer::Later(Box::pin(respond(self.0.clone(), request)))
    }
}

async fn respond(counts: Arc<Counts>, mut request: Request<Incoming>) -> Response {
    counts.requests.fetch_add(1, SeqCst);
    let query = request.uri().query().unwrap_or_default().to_owned();
    match request.uri().path() {
        "/console/stream" if request.headers().contains_key(header::UPGRADE) => return console(counts, &mut request),
        "/game/files/endless" => return endless(counts),
        "/game/files/silent" => return std::future::pending().await,
        "/game/files/evil" => return evil(),
        _ => {}
    }
    if let Some(status) = query.strip_prefix("status=").and_then(|s| StatusCode::from_bytes(s.as_bytes()).ok()) {
        let problem = json!({"code": "of_the_agent", "status": status.as_u16()}).to_string();
        return (status, [(header::CONTENT_TYPE, "application/problem+json")], problem).into_response();
    }
    echo(request).await
}

async fn echo(request: Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let name = |(name, value): (&header::HeaderName, &HeaderValue)| {
        (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())))
    };
    let headers: serde_json::Map<String, serde_json::Value> = parts.headers.iter().map(name).collect();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let said = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "headers": headers,
        "length": body.len(),
        "body": String::from_utf8_lossy(&body[..body.len().min(1000)]),
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::LOCATION, "/operations/op-1"),
        (header::SET_COOKIE, "a=1"),
        (header::HeaderName::from_static("operation-id"), "op-1"),
    ];
    (StatusCode::OK, headers, said.to_string()).into_response()
}

/// What a hostile container would like to do to the portal's origin.
fn evil() -> Response {
    let headers = [
        ("content-type", "text/html"),
        ("set-cookie", "zlh_session=stolen"),
        ("location", "//evil.example/"),
        ("access-control-allow-origin", "*"),
        ("content-security-policy", "default-src *"),
        ("connection", "x-secret-hop"),
        ("x-secret-hop", "1"),
        ("refresh", "0; url=//evil.example/"),
        ("x-kept", "yes"),
    ];
    (StatusCode::CREATED, headers, "<script>alert(1)</script>").into_response()
}

fn endless(counts: Arc<Counts>) -> Response {
    let chunks = futures_util::stream::repeat_with(move || {
        counts.chunks.fetch_add(1, SeqCst);
        Ok::<Bytes, Infallible>(Bytes::from_static(&[7; CHUNK]))
    });
    Response::new(Body::from_stream(chunks))
}

/// Answers the handshake with the key itself, so that a test sees it came through; then echoes bytes.
fn console(counts: Arc<Counts>, request: &mut Request<Incoming>) -> Response {
    let upgrade = hyper::upgrade::on(&mut *request);
    let headers = request.headers();
    let pass = |name| headers.get(name).cloned().unwrap_or(HeaderValue::from_static("missing"));
    let (key, protocol) = (pass("sec-websocket-key"), pass("sec-websocket-protocol"));
    let authorized = headers.get(header::AUTHORIZATION).is_some_and(|a| a == "Bearer the-agents-own-secret");
    let leaks = headers.contains_key(header::COOKIE) || headers.contains_key(header::ORIGIN);
    if !authorized || leaks {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        counts.consoles.fetch_add(1, SeqCst);
        let (mut read, mut write) = tokio::io::split(TokioIo::new(stream));
        let mut buffer = [0; 1024];
        while let Ok(n) = read.read(&mut buffer).await {
            if n == 0 || write.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
        counts.consoles.fetch_sub(1, SeqCst);
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    response.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
    response.headers_mut().insert("sec-websocket-accept", key);
    response.headers_mut().insert("sec-websocket-protocol", protocol);
    response
}
