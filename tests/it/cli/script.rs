//! An agent on the wire, every answer of which a test decides.
use crate::support::eventually_now;
use axum::{
    Router,
    body::Body,
    extract::{Path, Query, Request, State, WebSocketUpgrade, ws},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpSocket, sync::watch, task::JoinHandle};

pub const TOKEN: &str = "t0ken-of-the-test";

/// What the agent says and what it has heard.
#[derive(Default)]
pub struct Facts {
    pub status: Value,
    pub ready: Value,
    pub operations: BTreeMap<String, Value>,
    pub crashes: Vec<Value>,
    /// Answers of POST requests by path.
    pub orders: HashMap<String, Reply>,
    /// Every POST as `path body`.
    pub heard: Vec<String>,
    /// Bytes kept of the console: absolute `log_start..`.
    pub log: Vec<u8>,
    pub log_start: u64,
    pub epoch: u64,
    /// Where a viewer without `from` begins, counted from the end.
    pub replay: u64,
    /// Every frame viewers sent, and the queries they connected with.
    pub frames: Vec<Value>,
    pub viewers: Vec<String>,
    /// Text frames to be sent to viewers: each viewer sends those it has not sent yet.
    pub notes: Vec<Value>,
    /// Answers every upgrade instead of a console.
    pub refuse_console: Option<(u16, Value)>,
    /// Viewers are closed with this code.
    pub close_with: Option<(u16, String)>,
}

/// What a POST is answered.
pub struct Reply {
    pub status: u16,
    /// Value of the `Operation-Id` header.
    pub operation: Option<String>,
    pub body: String,
}

impl Reply {
    pub fn new(status: u16, body: impl ToString) -> Reply {
        Reply { status, operation: None, body: body.to_string() }
    }
}

impl Facts {
    fn log_end(&self) -> u64 {
        self.log_start + self.log.len() as u64
    }

    /// Kept bytes from an absolute offset on.
    fn from(&self, offset: u64) -> &[u8] {
        &self.log[usize::try_from(offset.saturating_sub(self.log_start)).unwrap().min(self.log.len())..]
    }
}

#[derive(Clone)]
struct Shared {
    facts: Arc<Mutex<Facts>>,
    /// Moves whenever facts change; `false` once this life of the agent is over.
    alive: watch::Sender<bool>,
}

/// The played agent; it can go away and come back on the same port.
pub struct Script {
    pub address: SocketAddr,
    /// Bound and never listening: while the agent is away nobody else gets its port, least of all a client that
    /// connects to itself because the kernel chose the very port it is trying to reach.
    _reserved: TcpSocket,
    shared: Shared,
    serving: Option<JoinHandle<()>>,
}

impl Script {
    pub async fn start() -> Script {
        let facts =
            Facts { status: json!({"revision": 1, "state": "idle", "containerType": "game"}), ..Facts::default() };
        let shared = Shared { facts: Arc::new(Mutex::new(facts)), alive: watch::Sender::new(true) };
        let reserved = bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut script = Script { address: reserved.local_addr().unwrap(), _reserved: reserved, shared, serving: None };
        script.serve();
        script
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the facts; long polls and viewers notice.
    pub fn set(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.shared.facts.lock().unwrap());
        self.shared.alive.send_modify(|_| ());
    }

    pub fn seen<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.shared.facts.lock().unwrap())
    }

    pub fn print(&self, text: &str) {
        self.set(|f| f.log.extend_from_slice(text.as_bytes()));
    }

    /// As `kill -9` would: the port closes and every connection breaks off.
    pub async fn go_away(&mut self) {
        self.shared.alive.send_replace(false);
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    pub fn come_back(&mut self) {
        self.shared.alive = watch::Sender::new(true);
        self.serve();
    }

    fn serve(&mut self) {
        // A process that another test is just forking holds a copy of the old listener until it execs.
        let listener = eventually_now(super::PATIENCE, || bound(self.address).and_then(|s| s.listen(64)).ok());
        let listener = listener.unwrap_or_else(|| panic!("{} stays in use", self.address));
        let app = routes().with_state(self.shared.clone()).layer(middleware::from_fn(authorise));
        self.serving = Some(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    }
}

fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn routes() -> Router<Shared> {
    Router::new()
        .route("/status", get(status))
        .route("/ready", get(ready))
        .route("/version", get(async || r#"{"version":"v9.8.7","commit":"abcdef0"}"#))
        .route(
            "/operations",
            get(async |State(s): State<Shared>| body(s.facts.lock().unwrap().operations.values().cloned().collect())),
        )
        .route("/operations/{id}", get(operation))
        .route("/crashes", get(async |State(s): State<Shared>| body(json!(s.facts.lock().unwrap().crashes))))
        .route("/crashes/{id}", get(crash))
        .route("/game/players", get(async || r#"{"online":3,"max":20,"players":["Alice","Bob"]}"#))
        .route("/console/log", get(console_log))
        .route("/console/stream", get(console_stream))
        .route("/console/command", post(order))
        .route("/dev/codeserver/{verb}", post(order))
        .route("/{verb}", post(order))
}

async fn authorise(request: Request, next: Next) -> Response {
    let open = ["/health", "/ready", "/version"].contains(&request.uri().path());
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    if open || given == Some(&format!("Bearer {TOKEN}")) {
        return next.run(request).await;
    }
    problem(401, json!({"title": "Unauthorized", "detail": "no or wrong token", "code": "unauthorized"}))
}

fn problem(status: u16, body: Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::from_u16(status).unwrap(), kind, body.to_string()).into_response()
}

fn body(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn status(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut changes = shared.alive.subscribe();
    let newest = || shared.facts.lock().unwrap().status.clone();
    if let (Some(wait), Some(since)) = (query.get("wait"), query.get("since")) {
        let wait = Duration::from_secs(wait.trim_end_matches('s').parse().unwrap());
        let since: u64 = since.parse().unwrap();
        let later = async {
            while newest()["revision"].as_u64().unwrap() <= since && *changes.borrow_and_update() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(wait, later).await;
    }
    body(newest())
}

async fn ready(State(shared): State<Shared>) -> Response {
    let ready = shared.facts.lock().unwrap().ready.clone();
    let code = if ready["ready"] == true { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, body(ready)).into_response()
}

async fn operation(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    match shared.facts.lock().unwrap().operations.get(&id) {
        Some(operation) => body(operation.clone()),
        None => problem(404, json!({"detail": format!("no operation {id}"), "code": "not_found"})),
    }
}

async fn crash(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    match shared.facts.lock().unwrap().crashes.iter().find(|c| c["id"] == id) {
        Some(crash) => body(crash.clone()),
        None => problem(404, json!({"detail": format!("no crash {id}"), "code": "not_found"})),
    }
}

async fn order(State(shared): State<Shared>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let said = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut facts = shared.facts.lock().unwrap();
    facts.heard.push(format!("{path} {}", String::from_utf8_lossy(&said)).trim_end().to_owned());
    let Some(Reply { status, operation, body }) = facts.orders.get(&path) else {
        return problem(404, json!({"detail": "no such path", "code": "not_found"}));
    };
    let kind = if *status >= 400 { "application/problem+json" } else { "application/json" };
    let mut response = Response::builder().status(*status).header(header::CONTENT_TYPE, kind);
    if let Some(id) = operation {
        response = response.header("Operation-Id", id);
    }
    response.body(Body::from(body.clone())).unwrap()
}

async fn console_log(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let facts = shared.facts.lock().unwrap();
    let from: i64 = query["from"].parse().unwrap();
    let limit: usize = query["limit"].parse().unwrap();
    let asked = if from < 0 { facts.log_end().saturating_sub(from.unsigned_abs()) } else { from.unsigned_abs() };
    let bytes = facts.from(asked);
    let mut headers = HeaderMap::new();
    for (name, value) in [("log-start", facts.log_start), ("log-end", facts.log_end()), ("log-epoch", facts.epoch)] {
        headers.insert(name, value.into());
    }
    (headers, bytes[..bytes.len().min(limit)].to_vec()).into_response()
}

async fn console_stream(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    request: axum::http::Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    let refused = {
        let mut facts = shared.facts.lock().unwrap();
        facts.viewers.push(request.query().unwrap_or_default().to_owned());
        facts.refuse_console.clone()
    };
    if let Some((status, why)) = refused {
        return problem(status, why);
    }
    upgrade.protocols(["zlh.console.v1"]).on_upgrade(async move |socket| view(shared, query, socket).await)
}

/// One viewer, as CONTRACT 1.6 has it.
async fn view(shared: Shared, query: HashMap<String, String>, mut socket: ws::WebSocket) {
    let mut changes = shared.alive.subscribe();
    let (hello, gap, mut at, mut notes) = greeting(&shared.facts.lock().unwrap(), &query);
    for note in std::iter::once(hello).chain(gap) {
        socket.send(ws::Message::text(note.to_string())).await.unwrap();
    }
    loop {
        let (bytes, new_notes, close) = {
            let facts = shared.facts.lock().unwrap();
            (facts.from(at).to_vec(), facts.notes[notes..].to_vec(), facts.close_with.clone())
        };
        at += bytes.len() as u64;
        notes += new_notes.len();
        let frames = bytes.chunks(1000).map(|c| ws::Message::binary(c.to_vec()));
        for frame in frames.chain(new_notes.iter().map(|n| ws::Message::text(n.to_string()))) {
            if socket.send(frame).await.is_err() {
                return;
            }
        }
        if let Some((code, reason)) = close {
            let _ = socket.send(ws::Message::Close(Some(ws::CloseFrame { code, reason: reason.into() }))).await;
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() || !*changes.borrow_and_update() { return },
            frame = socket.recv() => match frame {
                Some(Ok(ws::Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap();
                    shared.facts.lock().unwrap().frames.push(frame);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

fn greeting(facts: &Facts, query: &HashMap<String, String>) -> (Value, Option<Value>, u64, usize) {
    let number = |name: &str| query.get(name).map(|v| v.parse::<u64>().unwrap());
    let resumed = number("from").filter(|_| number("epoch") == Some(facts.epoch));
    let wanted = resumed.unwrap_or(facts.log_end() - facts.replay.min(facts.log.len() as u64));
    let at = wanted.max(facts.log_start);
    let gap = (at > wanted).then(|| json!({"type": "gap", "from": wanted, "to": at}));
    let hello = json!({"type": "hello", "epoch": facts.epoch, "offset": wanted, "start": facts.log_start,
                       "columns": 200, "rows": 24, "readOnly": false});
    (hello, gap, at, facts.notes.len())
}
