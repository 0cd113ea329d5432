//! Connections to workspaces, kept for the next request and driven by whoever uses them.
//!
//! The task that serves a browser's request also reads and writes the connection it uses ([`Wire`]): nothing is handed
//! over, and who stops reading stops the workspace's sending.
use super::wire::{Pipe, Wire};
use bytes::{Bytes, BytesMut};
use hyper::{
    Response,
    body::{Body, Frame, Incoming, SizeHint},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

pub use super::wire::{Asking, Broken};

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
    #[error(transparent)]
    Broke(#[from] Broken),
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

    /// Sends a request to `to`, on a kept connection if there is one. What may be sent twice is sent again when such a
    /// connection turns out to be closed.
    pub async fn send(&self, to: SocketAddr, asking: &Asking, body: Option<Incoming>) -> Result<Answered, Failure> {
        let may_repeat = asking.is_safe() && body.is_none();
        let mut body = body;
        while let Some(mut line) = self.take(to) {
            match line.wire.exchange(asking, body.take()).await {
                Err(Broken::Unanswered | Broken::Connection(_)) if may_repeat => {}
                head => return Ok(self.answered(head?, line)),
            }
        }
        let mut line = self.open(to).await?;
        let head = line.wire.exchange(asking, body).await?;
        Ok(self.answered(head, line))
    }

    /// Sends a request without a body on a connection that is nobody else's, now or later.
    pub async fn alone(&self, to: SocketAddr, asking: &Asking) -> Result<Answered, Failure> {
        let mut line = self.open(to).await?;
        let head = line.wire.exchange(asking, None).await?;
        Ok(head.map(|()| Answer { received: None, line: Some(line), pool: self.clone(), broken: None }))
    }

    async fn open(&self, to: SocketAddr) -> Result<Box<Line>, Failure> {
        let wire = Wire::open(to, self.limits.connect).await.map_err(Failure::Unreachable)?;
        Ok(Box::new(Line { to, wire }))
    }

    /// A short body came with its head; then its connection is free for others at once.
    fn answered(&self, head: Response<()>, mut line: Box<Line>) -> Answered {
        let received = line.wire.received();
        let line = self.keep_if_over(line);
        head.map(|()| Answer { received, line, pool: self.clone(), broken: None })
    }

    /// The one used last that still serves: it is the least likely to be closed.
    fn take(&self, to: SocketAddr) -> Option<Box<Line>> {
        loop {
            let unused = self.lock().by_address.get_mut(&to)?.pop_back()?;
            if unused.since.elapsed() < self.limits.idle && unused.line.wire.is_free() {
                return Some(unused.line);
            }
        }
    }

    /// Gives the connection back while more of its answer is to come.
    fn keep_if_over(&self, line: Box<Line>) -> Option<Box<Line>> {
        if !line.wire.is_answered() {
            return Some(line);
        }
        if !line.wire.is_whole() {
            return None;
        }
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
        None
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
    wire: Wire,
}

pub type Answered = Response<Answer>;

/// The body of an answer; its connection is kept once it was read to its end, and closed when it is dropped before.
pub struct Answer {
    /// All of it, if it came with its head.
    received: Option<Bytes>,
    line: Option<Box<Line>>,
    pool: Pool,
    /// Told after what came before it has been passed on: a server drops what it holds when a body breaks.
    broken: Option<Broken>,
}

impl Answer {
    /// The bare connection after a switch of protocols, and what was already received on it.
    pub fn into_connection(self) -> Option<(TcpStream, BytesMut)> {
        self.line.map(|line| line.wire.into_parts())
    }

    /// Moves more of it into `pipe`. `None`: it cannot be moved so, or not yet; then it is read as any body.
    pub fn poll_splice(&mut self, pipe: &mut Pipe, cx: &mut Context<'_>) -> Poll<Option<Result<(), Broken>>> {
        if self.received.is_some() || self.broken.is_some() {
            return Poll::Ready(None);
        }
        let Some(mut line) = self.line.take() else { return Poll::Ready(None) };
        let moved = line.wire.poll_splice(pipe, cx);
        self.line = self.pool.keep_if_over(line);
        moved
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(data) = self.received.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        let Some(mut line) = self.line.take() else { return Poll::Ready(None) };
        match line.wire.poll_frame(cx) {
            Poll::Ready(Some(Err(broken))) => {
                self.broken = Some(broken);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => {
                self.line = self.pool.keep_if_over(line);
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.received.is_none() && self.line.is_none() && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.received, &self.line) {
            (Some(data), _) => SizeHint::with_exact(data.len() as u64),
            (None, Some(line)) => line.wire.size_hint(),
            (None, None) if self.broken.is_none() => SizeHint::with_exact(0),
            (None, None) => SizeHint::default(),
        }
    }
}
