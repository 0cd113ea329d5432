//! From a bound listener to requests: HTTP/1.1 with upgrades, everything a peer can make grow bounded.
//!
//! - A peer has `limits.header_timeout` for a request head of `limits.header_bytes`, and a client that takes no byte for
//!   `limits.stall` is cut off ([`stalling`]).
//! - A head that two servers could read in two ways is answered with 400, and its connection ends ([`heads`]).
//! - Past `limits.connections` a peer is told so with 503 and closed; `/health` still answers there. Past a small reserve
//!   of such connections it is closed without a word.
//! - When accepting fails for want of descriptors or memory it is tried again after a growing pause, and counted.
//! - On shutdown nothing new is accepted; open connections finish what they are at, streams and viewers say goodbye,
//!   and what is left after `limits.drain` is dropped.
pub mod connection;
pub mod heads;
pub mod stalling;

use super::{
    Response,
    problem::{Code, Problem},
};
use crate::model::settings::Limits;
use axum::{http::HeaderValue, http::header, response::IntoResponse};
use connection::{Answer, Closing, Connection, Face};
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

/// Most headers of a request if hyper is not told otherwise; told, it fills a list of that length for each request.
const HYPERS_OWN: usize = 100;
/// Connections past the limit that are still told why they are refused.
const RESERVE: usize = 32;
/// Time such a connection has in all.
const RESERVE_TIME: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What the server counts, for `/metrics`.
#[derive(Debug, Default)]
pub struct Traffic {
    pub open: AtomicU64,
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub accept_errors: AtomicU64,
    pub requests: AtomicU64,
}

/// Serves `face` on `listener` until `shutdown` resolves and the drain is over. Returns how many connections had to be
/// dropped.
pub async fn serve<F: Face>(
    listener: TcpListener,
    face: F,
    limits: &Limits,
    traffic: Arc<Traffic>,
    shutdown: impl Future<Output = ()>,
) -> usize {
    serve_within(listener, face, limits, &Places::of(limits), traffic, shutdown).await
}

/// The same for one of several servers that share their places.
pub async fn serve_within<F: Face>(
    listener: TcpListener,
    face: F,
    limits: &Limits,
    places: &Places,
    traffic: Arc<Traffic>,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let server = Server::new(face, limits, places, traffic);
    tokio::pin!(shutdown);
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                server.admit(stream, peer);
            }
            Err(error) if is_about_one_peer(&error) => server.count_failure(&error),
            Err(error) => {
                server.count_failure(&error);
                let stop = tokio::select! { () = &mut shutdown => true, () = sleep(pause) => false };
                if stop {
                    break;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    drop(listener);
    server.drain().await
}

/// The peer was gone before we took it: nothing is wrong here, and the next one may be waiting.
fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// How many connections there may be; clones share them.
#[derive(Clone)]
pub struct Places {
    slots: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
}

impl Places {
    pub fn of(limits: &Limits) -> Places {
        Places { slots: Arc::new(Semaphore::new(limits.connections)), reserve: Arc::new(Semaphore::new(RESERVE)) }
    }
}

struct Server<F> {
    face: F,
    http: http1::Builder,
    limits: Limits,
    traffic: Arc<Traffic>,
    places: Places,
    closing: watch::Sender<Closing>,
}

impl<F: Face> Server<F> {
    fn new(face: F, limits: &Limits, places: &Places, traffic: Arc<Traffic>) -> Server<F> {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes.max(16 << 10));
        if limits.headers != HYPERS_OWN {
            http.max_headers(limits.headers);
        }
        Server {
            face,
            http,
            limits: limits.clone(),
            traffic,
            places: places.clone(),
            closing: watch::Sender::new(Closing::Open),
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        self.traffic.accepted.fetch_add(1, Relaxed);
        if let Ok(slot) = self.places.slots.clone().try_acquire_owned() {
            if let Some(connection) = self.connection(&stream, peer, slot) {
                tokio::spawn(connection.run(stream, self.http.clone(), self.face.clone(), self.limits.clone()));
            }
            return;
        }
        self.traffic.refused.fetch_add(1, Relaxed);
        let Ok(slot) = self.places.reserve.clone().try_acquire_owned() else { return };
        if let Some(connection) = self.connection(&stream, peer, slot) {
            let mut http = self.http.clone();
            http.keep_alive(false);
            let limits = Limits { stall: RESERVE_TIME, ..self.limits.clone() };
            let told = connection.run(stream, http, Crowded(self.face.clone()), limits);
            tokio::spawn(timeout(RESERVE_TIME, told));
        }
    }

    /// `None` when the peer is gone already.
    fn connection(&self, stream: &TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) -> Option<Connection> {
        let local = stream.local_addr().ok()?;
        Some(Connection::new(local, peer, slot, self.closing.subscribe(), self.traffic.clone()))
    }

    fn count_failure(&self, error: &io::Error) {
        let failures = self.traffic.accept_errors.fetch_add(1, Relaxed) + 1;
        tracing::debug!(%error, failures, "accepting a connection failed");
    }

    async fn drain(self) -> usize {
        self.closing.send_replace(Closing::Draining);
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let left = match timeout(self.limits.drain, self.places.slots.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => self.traffic.open.load(Relaxed) as usize,
        };
        self.closing.send_replace(Closing::Over);
        left
    }
}

/// Answers a connection past the limit.
#[derive(Clone)]
struct Crowded<F>(F);

impl<F: Face> Face for Crowded<F> {
    fn answer(&self, connection: &Arc<Connection>, request: hyper::Request<hyper::body::Incoming>) -> Answer {
        if request.uri().path() == "/health" {
            return self.0.answer(connection, request);
        }
        let problem = Problem::from(Code::TOO_MANY_CONNECTIONS).retry_after(Duration::from_secs(1));
        let mut response: Response = problem.into_response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Answer::now(response)
    }
}

#[cfg(test)]
mod tests;
