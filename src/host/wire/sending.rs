//! A message on its way out: its head, then its body as it comes, framed anew.
use super::asking::write_field;
use bytes::{Buf, Bytes};
use hyper::{HeaderMap, body::Body};
use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// Why a message was not sent whole.
#[derive(Debug)]
pub enum Unsent<E> {
    Connection(io::Error),
    /// Its body broke off.
    Body(E),
}

/// What is still to be sent of one message.
pub struct Sending<B> {
    /// Before `data`: the head, and what frames a chunk; sent up to `at`.
    front: Vec<u8>,
    at: usize,
    data: Bytes,
    body: Option<B>,
    is_chunked: bool,
    /// A chunk was begun whose line end is still to come.
    in_chunk: bool,
    is_given_up: bool,
}

impl<B> Default for Sending<B> {
    fn default() -> Sending<B> {
        let (front, data) = (Vec::new(), Bytes::new());
        Sending { front, at: 0, data, body: None, is_chunked: false, in_chunk: false, is_given_up: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// `front`: the head, with the empty line that ends it.
    pub fn new(front: Vec<u8>, body: Option<B>, is_chunked: bool) -> Sending<B> {
        let mut sending = Sending { front, body, is_chunked, ..Sending::default() };
        if sending.body.is_none() {
            sending.end(None);
        }
        sending
    }

    pub fn is_over(&self) -> bool {
        self.body.is_none() && !self.has_unsent() && !self.is_given_up
    }

    /// Nothing more will be sent, and the connection takes no other request.
    pub fn give_up(&mut self) {
        *self = Sending { is_given_up: true, ..Sending::default() };
    }

    /// Sends what can be; resolves when all was.
    pub fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsent<B::Error>>> {
        loop {
            let more = if self.data.is_empty() { self.poll_body(cx)? } else { Poll::Ready(()) };
            if !self.has_unsent() {
                return more.map(Ok);
            }
            let pieces = [IoSlice::new(&self.front[self.at..]), IoSlice::new(&self.data)];
            let sent = if pieces[1].is_empty() {
                Pin::new(&mut *stream).poll_write(cx, &pieces[0])
            } else {
                Pin::new(&mut *stream).poll_write_vectored(cx, &pieces)
            };
            self.advance(ready!(sent).map_err(Unsent::Connection)?);
        }
    }

    fn has_unsent(&self) -> bool {
        self.at < self.front.len() || !self.data.is_empty()
    }

    fn advance(&mut self, sent: usize) {
        let of_front = sent.min(self.front.len() - self.at);
        self.at += of_front;
        self.data.advance(sent - of_front);
        if self.at == self.front.len() {
            self.front.clear();
            self.at = 0;
        }
    }

    /// Puts the next piece of the body behind what is to be sent; ready once there is none.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Unsent<B::Error>> {
        while let Some(body) = &mut self.body {
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => self.end(None),
                Poll::Ready(Some(Err(error))) => return Err(Unsent::Body(error)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.put(data);
                        break;
                    }
                    Err(frame) => self.end(frame.into_trailers().ok()),
                },
            }
        }
        Ok(Poll::Ready(()))
    }

    fn put(&mut self, data: Bytes) {
        if self.is_chunked {
            self.end_chunk();
            self.in_chunk = true;
            _ = write!(self.front, "{:x}\r\n", data.len()); // a Vec takes everything
        }
        self.data = data;
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.body = None;
        if !self.is_chunked {
            return;
        }
        self.end_chunk();
        self.front.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().flatten() {
            write_field(&mut self.front, name, value);
        }
        self.front.extend_from_slice(b"\r\n");
    }

    fn end_chunk(&mut self) {
        if std::mem::take(&mut self.in_chunk) {
            self.front.extend_from_slice(b"\r\n");
        }
    }
}
