//! A TCP stream whose peer may not stop taking bytes for ever: a slow-read client is cut off, whatever it asked for. What
//! it sends is looked at on its way in.
use super::heads::Heads;
use crate::host::wire::{Inbox, Pipe};
use bytes::BytesMut;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// Fails a write with `TimedOut` after `limit` without progress. Costs nothing while the peer keeps up: the timer is
/// made by the first write that has to wait.
pub struct Stalling {
    stream: TcpStream,
    /// Was read before, and is to be read again.
    unread: BytesMut,
    heads: Heads,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Stalling {
    pub fn new(stream: TcpStream, heads: Heads, limit: Duration) -> Stalling {
        Stalling { stream, unread: BytesMut::new(), heads, limit, deadline: None }
    }

    /// The bare stream, for a protocol with a patience of its own.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Reads what comes into `inbox`; 0 at the end.
    pub fn poll_receive(&mut self, inbox: &mut Inbox, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let received = ready!(inbox.poll_receive(&mut self.stream, |most| most, cx))?;
        self.heads.see(&inbox.bytes[inbox.bytes.len() - received..]);
        Poll::Ready(Ok(received))
    }

    /// Puts back what was received and not served: it is the next to be read.
    pub fn put_back(&mut self, received: BytesMut) {
        self.unread = received;
    }

    /// Passes on what is in `pipe`, as much as the peer takes.
    pub fn poll_drain(&mut self, pipe: &mut Pipe, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let drained = pipe.poll_drain(&self.stream, cx);
        self.watch(cx, drained)
    }

    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer stopped reading")))
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let here = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(here));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.heads.see(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
