//! One accepted connection, and what a face has to offer to be served on it.
use super::{
    Traffic,
    heads::{Ambiguity, Heads},
    stalling::Stalling,
};
use crate::http::{Response, problem::Code};
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

    pub(super) async fn run<F: Face>(self, stream: TcpStream, http: http1::Builder, face: F, stall: Duration) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before its first request");
            return;
        }
        let connection = Arc::new(self);
        let ambiguity = Ambiguity::default();
        let heads = Heads::new(ambiguity.clone());
        let service = service_fn({
            let connection = connection.clone();
            move |request| {
                connection.traffic.requests.fetch_add(1, Relaxed);
                if ambiguity.is_found() { Answer::now(ambiguous()) } else { face.answer(&connection, request) }
            }
        });
        let io = TokioIo::new(Stalling::new(stream, heads, stall));
        let mut served = pin!(http.serve_connection(io, service).with_upgrades());
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
