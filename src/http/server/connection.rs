//! One accepted connection, and what a face has to offer to be served on it.
use super::{
    Traffic,
    heads::{Ambiguity, Heads},
    stalling::Stalling,
};
use crate::{
    http::{Response, problem::Code},
    model::settings::Limits,
};
use axum::{
    http::{HeaderValue, header},
    response::IntoResponse,
};
use futures_util::future::BoxFuture;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
};

/// How far the server is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    Open,
    /// Finish what you are at; long answers say goodbye.
    Draining,
    /// Drop everything.
    Over,
}

/// Whoever turns requests into answers.
pub trait Face: Clone + Send + Sync + 'static {
    fn answer(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Answer;

    /// Serves of a fresh connection what it can by itself. What comes back is HTTP's to go on with, `None` is over.
    fn ahead(
        &self,
        _connection: &Arc<Connection>,
        stream: Stalling,
        _limits: &Ahead,
    ) -> impl Future<Output = Option<Stalling>> + Send {
        std::future::ready(Some(stream))
    }
}

/// What binds whoever serves ahead of HTTP's server.
#[derive(Clone, Debug)]
pub struct Ahead {
    pub header_bytes: usize,
    pub headers: usize,
    /// Time for a head, and between two.
    pub header_timeout: Duration,
    /// Is set once the connection's bytes can be read in two ways.
    pub ambiguity: Ambiguity,
}

/// An answer that is there already costs no allocation and cannot wait for anything.
pub enum Answer {
    Now(Option<Response>),
    Later(BoxFuture<'static, Response>),
}

impl Answer {
    pub fn now(response: Response) -> Answer {
        Answer::Now(Some(response))
    }
}

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answer::Now(response) => response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            Answer::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

/// What a handler may know of the connection. A viewer of an upgraded connection keeps it, and with it its slot.
pub struct Connection {
    /// Our own address, as the peer sees it.
    pub local: SocketAddr,
    pub peer: SocketAddr,
    closing: watch::Receiver<Closing>,
    traffic: Arc<Traffic>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    pub fn new(
        local: SocketAddr,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
        closing: watch::Receiver<Closing>,
        traffic: Arc<Traffic>,
    ) -> Connection {
        traffic.open.fetch_add(1, Relaxed);
        Connection { local, peer, closing, traffic, _slot: slot }
    }

    /// Resolves when the server drains: end what has no end of its own.
    pub async fn draining(&self) {
        reached(self.closing.clone(), Closing::Draining).await;
    }

    /// Resolves when the drain is over: drop everything.
    pub async fn over(&self) {
        reached(self.closing.clone(), Closing::Over).await;
    }

    pub fn count_request(&self) {
        self.traffic.requests.fetch_add(1, Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        *self.closing.borrow() >= Closing::Draining
    }

    pub(super) async fn run<F: Face>(self, stream: TcpStream, http: http1::Builder, face: F, limits: Limits) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before its first request");
            return;
        }
        let connection = Arc::new(self);
        let ambiguity = Ambiguity::default();
        let stream = Stalling::new(stream, Heads::new(ambiguity.clone()), limits.stall);
        let Limits { header_bytes, headers, header_timeout, .. } = limits;
        let ahead = Ahead { header_bytes, headers, header_timeout, ambiguity: ambiguity.clone() };
        let served = tokio::select! {
            biased;
            left = face.ahead(&connection, stream, &ahead) => left,
            () = connection.over() => None,
        };
        let Some(stream) = served else { return };
        let service = service_fn({
            let connection = connection.clone();
            move |request| {
                connection.count_request();
                if ambiguity.is_found() { Answer::now(ambiguous()) } else { face.answer(&connection, request) }
            }
        });
        let mut served = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let result = tokio::select! {
            biased;
            result = served.as_mut() => result,
            () = connection.draining() => {
                served.as_mut().graceful_shutdown();
                tokio::select! { result = served => result, () = connection.over() => return }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, peer = %connection.peer, "a connection ended badly");
        }
    }
}

/// A proxy before us may see another request in the same bytes, and somebody else's would be answered with ours.
fn ambiguous() -> Response {
    let why = "Its head can be read in two ways: more than one length, a coding other than chunked, or a line that ends oddly.";
    let mut response = Code::MALFORMED.because(why).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.traffic.open.fetch_sub(1, Relaxed);
    }
}

/// A server that is gone altogether counts as over.
async fn reached(mut closing: watch::Receiver<Closing>, stage: Closing) {
    if let Err(gone) = closing.wait_for(|now| *now >= stage).await {
        tracing::trace!(%gone, "the server is gone");
    }
}
