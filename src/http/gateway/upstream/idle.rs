//! Silence: a request is given up when nothing moved for too long, however long it takes while something moves.
use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// When something last moved in one request; clones share it.
#[derive(Clone)]
pub struct Idle {
    began: Instant,
    /// Milliseconds after `began`.
    moved: Arc<AtomicU64>,
    most: Duration,
}

impl Idle {
    pub fn new(most: Duration) -> Idle {
        Idle { began: Instant::now(), moved: Arc::default(), most }
    }

    fn touch(&self) {
        self.moved.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    fn deadline(&self) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Relaxed)) + self.most
    }

    /// `None` when nothing moved for too long before it was done.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                done = &mut work => {
                    self.touch();
                    return Some(done);
                }
                () = sleep_until(deadline) => if self.deadline() <= deadline { return None },
            }
        }
    }
}

/// A body whose movements are noted. One that comes from an agent ends with an error when the agent falls silent; one
/// that comes from a client does not, the server has its own limit for those.
pub struct Watched<B> {
    body: B,
    idle: Idle,
    /// Armed while an agent is waited for.
    silence: Option<Pin<Box<Sleep>>>,
    upstream: bool,
}

impl Watched<Body> {
    pub fn request(body: Body, idle: Idle) -> Watched<Body> {
        Watched { body, idle, silence: None, upstream: false }
    }
}

impl<B> Watched<B> {
    pub fn response(body: B, idle: Idle) -> Watched<B> {
        Watched { body, idle, silence: None, upstream: true }
    }
}

impl<B> HttpBody for Watched<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body.frame()).poll(cx) {
            this.idle.touch();
            this.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|e| io::Error::other(e.into()))));
        }
        if this.upstream {
            // The time begins when somebody waits: a reader that takes its time is no silence of the agent.
            let until = Instant::now() + this.idle.most;
            let silence = this.silence.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(silence.as_mut().poll(cx));
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the agent fell silent"))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
