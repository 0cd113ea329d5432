//! HTTP/1.1 from the asking side over one connection that has no task: whoever waits for its answer, or reads it, drives it.
//!
//! A client library's connection is a future of its own that has to be polled for anything to move, and carries each
//! message through lists and channels on its way. Here bytes go from the socket to whoever reads them: a head is parsed
//! where it was received, a body is passed on as it came, an idle connection owns no buffer (ADR 26).
mod answer;
mod asking;
mod framing;
mod inbox;
mod sending;
mod splice;

pub use asking::{Asking, write_field};
pub use inbox::Inbox;
pub use sending::{Sending, Unsent};
pub use splice::Pipe;

use bytes::{Bytes, BytesMut};
use framing::{Framing, Piece};
use hyper::{
    Response, StatusCode,
    body::{Frame, Incoming, SizeHint},
};
use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// Why an exchange came to no good end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Connection(#[from] io::Error),
    #[error("the server said something that it was not asked")]
    Unasked,
    #[error("the connection was closed before an answer")]
    Unanswered,
    #[error("the connection was closed in the middle of an answer")]
    Cut,
    #[error("the head of its answer is malformed: {0}")]
    Head(#[from] httparse::Error),
    #[error("the head of its answer is longer than {} bytes", answer::MOST_HEAD)]
    HeadTooLong,
    #[error("its answer can be read in two ways: more than one length, or a coding other than chunked")]
    Ambiguous,
    #[error("a chunk of its answer is malformed")]
    Chunk,
    #[error("the request's body broke off: {0}")]
    Request(hyper::Error),
}

/// One connection. Dropped, it is closed.
pub struct Wire {
    stream: TcpStream,
    inbox: Inbox,
    sending: Sending<Incoming>,
    /// What is still to come of the present answer.
    framing: Framing,
    /// Does the server keep the connection after the present answer?
    is_kept: bool,
}

impl Wire {
    /// Connects, within this time.
    pub async fn open(to: SocketAddr, within: Duration) -> io::Result<Wire> {
        let connected = timeout(within, TcpStream::connect(to)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        let (inbox, sending) = (Inbox::default(), Sending::default());
        Ok(Wire { stream, inbox, sending, framing: Framing::NOTHING, is_kept: true })
    }

    /// Can it take a request? False when the server has closed it, or has said something unasked.
    pub fn is_free(&self) -> bool {
        self.is_whole() && matches!(self.stream.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Has the present answer come to its end?
    pub fn is_answered(&self) -> bool {
        self.framing.is_over()
    }

    /// Is the present exchange over, and the connection good for another?
    pub fn is_whole(&self) -> bool {
        self.is_answered() && self.is_kept && self.inbox.is_empty() && self.sending.is_over()
    }

    /// Sends a request and resolves with the head of its answer. Interim answers are passed over, but for 101, after
    /// which the connection speaks another protocol. Fails when the exchange before it is not over.
    pub async fn exchange(&mut self, asking: &Asking, body: Option<Incoming>) -> Result<Response<()>, Broken> {
        if !self.is_whole() {
            return Err(Broken::Unasked);
        }
        self.sending = Sending::new(asking.head(), body, asking.is_chunked());
        let mut failed = None;
        poll_fn(|cx| {
            match self.sending.poll(&mut self.stream, cx) {
                // A server may answer and close before it was told everything: what it said counts.
                Poll::Ready(Err(Unsent::Connection(error))) => {
                    self.sending.give_up();
                    failed = Some(error);
                }
                Poll::Ready(Err(Unsent::Body(error))) => return Poll::Ready(Err(Broken::Request(error))),
                _ => {}
            }
            let head = ready!(self.poll_head(asking.is_head(), cx));
            Poll::Ready(match (head, failed.take()) {
                (Err(Broken::Unanswered), Some(error)) => Err(Broken::Connection(error)),
                (head, _) => head,
            })
        })
        .await
    }

    fn poll_head(&mut self, to_head: bool, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Broken>> {
        loop {
            if let Some(bytes) = self.inbox.split_head(answer::MOST_HEAD).map_err(|_| Broken::HeadTooLong)? {
                let head = answer::parse(&bytes, to_head)?;
                let status = head.response.status();
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    continue;
                }
                (self.framing, self.is_kept) = (head.framing, head.is_kept);
                return Poll::Ready(Ok(head.response));
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(if self.inbox.is_empty() { Broken::Unanswered } else { Broken::Cut }));
            }
        }
    }

    /// The next piece of the present answer's body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Poll::Ready(Err(_)) = self.sending.poll(&mut self.stream, cx) {
            self.sending.give_up(); // the answer is under way, and says how it ends
        }
        loop {
            match self.framing.take(&mut self.inbox.bytes) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(fields)) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Ok(Piece::Over) => return Poll::Ready(None),
                Ok(Piece::NotYet) => {}
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            }
            match ready!(self.poll_receive(cx)) {
                Ok(0) if self.framing.ends_with_the_connection() => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(Broken::Cut))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// All of a body that was received with its head.
    pub fn received(&mut self) -> Option<Bytes> {
        self.framing.rest(&mut self.inbox.bytes)
    }

    /// The present answer's whole body; `None` if it has more than `most` bytes.
    pub async fn whole(&mut self, most: usize) -> Result<Option<Bytes>, Broken> {
        let mut whole = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| self.poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                if whole.len() + data.len() > most {
                    return Ok(None);
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(Some(whole.freeze()))
    }

    pub fn size_hint(&self) -> SizeHint {
        self.framing.size_hint()
    }

    /// The bare connection, and what was already received on it.
    pub fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.inbox.bytes)
    }

    /// Bytes received; 0 at the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.poll_receive(&mut self.stream, |most| self.framing.wanted(most), cx)
    }

    /// Moves more of the present body into `pipe`, past our memory. `None`: it is not of a kind that can be, or all of
    /// it is here already.
    pub fn poll_splice(&mut self, pipe: &mut Pipe, cx: &mut Context<'_>) -> Poll<Option<Result<(), Broken>>> {
        if !self.inbox.is_empty() || self.sending.poll(&mut self.stream, cx).is_pending() {
            return Poll::Ready(None);
        }
        let Some(left) = self.framing.plain_length() else { return Poll::Ready(None) };
        match ready!(pipe.poll_fill(&self.stream, left, cx)) {
            Ok(0) => Poll::Ready(Some(Err(Broken::Cut))),
            Ok(moved) => {
                self.framing = Framing::of_length(left - moved as u64);
                Poll::Ready(Some(Ok(())))
            }
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

#[cfg(test)]
mod tests;
