//! Connections to workspaces, kept for the next request and driven by whoever uses them.
//!
//! The task that serves a browser's request also reads and writes the connection it uses ([`Driven`]): nothing is handed
//! over, and who stops reading stops the workspace's sending.
use super::driven::Driven;
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// What a pool keeps, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for a new connection.
    pub connect: Duration,
    /// How long an unused one is kept: shorter than its server keeps it.
    pub idle: Duration,
    /// Unused ones kept to one address.
    pub most: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no connection: {0}")]
    Unreachable(io::Error),
    #[error("the connection broke off: {0}")]
    Broke(hyper::Error),
}

/// Clones share one pool.
#[derive(Clone)]
pub struct Pool {
    limits: Limits,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// Least recently used first.
    by_address: HashMap<SocketAddr, VecDeque<Unused>>,
    /// Somebody looks for those whose time is over.
    is_swept: bool,
}

struct Unused {
    line: Box<Line>,
    since: Instant,
}

impl Pool {
    pub fn new(limits: Limits) -> Pool {
        Pool { limits, kept: Arc::default() }
    }

    /// Sends `request` (its target in origin form) to `to`, on a kept connection if there is one. What was not sent at
    /// all because such a connection had just been closed is sent on another.
    pub async fn send(&self, to: SocketAddr, request: Request<Incoming>) -> Result<Response<Answer>, Failure> {
        let mut request = request;
        loop {
            let kept = self.take(to).await;
            let is_new = kept.is_none();
            let mut line = match kept {
                Some(line) => line,
                None => Line::open(to, self.limits.connect).await?,
            };
            match line.driven.exchange(request).await {
                Ok(response) => return Ok(self.answer(response, line).await),
                Err(mut failed) => match failed.take_message().filter(|_| !is_new) {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broke(failed.into_error())),
                },
            }
        }
    }

    /// An answer without a body is over at once.
    async fn answer(&self, response: Response<Incoming>, line: Box<Line>) -> Response<Answer> {
        let mut response = response.map(|body| Answer { body, line: Some(line), pool: self.clone(), broken: None });
        poll_fn(|cx| {
            response.body_mut().keep_if_over(cx);
            Poll::Ready(())
        })
        .await;
        response
    }

    /// The one used last that still serves: it is the least likely to be closed.
    async fn take(&self, to: SocketAddr) -> Option<Box<Line>> {
        loop {
            let unused = self.lock().by_address.get_mut(&to)?.pop_back()?;
            let mut line = unused.line;
            if unused.since.elapsed() < self.limits.idle && line.is_usable().await {
                return Some(line);
            }
        }
    }

    fn keep(&self, line: Box<Line>) {
        let mut kept = self.lock();
        let unused = kept.by_address.entry(line.to).or_default();
        unused.push_back(Unused { line, since: Instant::now() });
        if unused.len() > self.limits.most {
            unused.pop_front();
        }
        if !kept.is_swept {
            kept.is_swept = true;
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Closes what is unused for too long, until nothing is left.
    async fn sweep(self) {
        loop {
            sleep(self.limits.idle).await;
            let mut kept = self.lock();
            kept.by_address.retain(|_, unused| {
                unused.retain(|one| one.since.elapsed() < self.limits.idle);
                !unused.is_empty()
            });
            if kept.by_address.is_empty() {
                kept.is_swept = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
struct Line {
    to: SocketAddr,
    driven: Driven<Incoming>,
}

impl Line {
    async fn open(to: SocketAddr, within: Duration) -> Result<Box<Line>, Failure> {
        let connected = timeout(within, TcpStream::connect(to)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Failure::Unreachable)?;
        stream.set_nodelay(true).map_err(Failure::Unreachable)?;
        let driven = Driven::over(stream, &http1::Builder::new()).await.map_err(Failure::Broke)?;
        Ok(Box::new(Line { to, driven }))
    }

    /// False when the server has closed it meanwhile, or has said something unasked.
    async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| {
            self.driven.drive(cx);
            Poll::Ready(self.driven.is_free())
        })
        .await
    }
}

/// The body of an answer; its connection is kept once it was read to its end, and closed when it is dropped before.
pub struct Answer {
    body: Incoming,
    line: Option<Box<Line>>,
    pool: Pool,
    /// Told after what came before it has been passed on: a server drops what it holds when a body breaks.
    broken: Option<hyper::Error>,
}

impl Answer {
    fn keep_if_over(&mut self, cx: &mut Context<'_>) {
        if self.body.is_end_stream() {
            self.keep(cx);
        }
    }

    fn keep(&mut self, cx: &mut Context<'_>) {
        let Some(mut line) = self.line.take() else { return };
        line.driven.drive(cx);
        if line.driven.is_free() {
            self.pool.keep(line);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match &mut this.line {
            Some(line) => line.driven.poll_frame(&mut this.body, cx),
            None => Pin::new(&mut this.body).poll_frame(cx),
        };
        match frame {
            Poll::Ready(Some(Err(error))) => {
                this.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(None) => this.keep(cx),
            _ => this.keep_if_over(cx),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
