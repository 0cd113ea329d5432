//! The way of most requests: a GET or HEAD without a body that passes every check goes from the browser's connection to a
//! workspace's and back with nothing between them.
//!
//! A server library makes of each request a task's worth of machinery: a map, a body of channels, boxes to carry both. A
//! page of the IDE is a thousand such requests, and none of them needs it (ADR 28). Here a head is parsed where it was
//! received, decided on by the same rules ([`Tunnel::decide`]), and its answer is written where it arrived; a large one is
//! moved from socket to socket by the system. A WebSocket's handshake is such a GET. The first request that is anything
//! else (a body, a token, a refusal) hands its connection to hyper, with that request unread, and for good: nothing is said
//! twice about what is rare.
mod head;

use super::{
    Passage, Step, TunnelFace, Turned, forward, page,
    patience::Patience,
    stream::{self, Stream},
};
use crate::{
    host::{
        connection_pool::{Answer, Answered},
        wire::{Inbox, Pipe, Sending},
    },
    http::server::{
        connection::{Ahead, Connection},
        stalling::Stalling,
    },
};
use axum::http::{Method, Response};
use bytes::{Bytes, BytesMut};
use head::Plain;
use hyper::body::Body;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

/// So much a browser may send ahead of its answers.
const MOST_AHEAD: usize = 64 << 10;
/// A body of more bytes than this is worth a pipe.
const LARGE: u64 = 256 << 10;

/// One browser's connection, until it asks for something that is not served here.
pub(super) struct FastPath<'a> {
    pub face: &'a TunnelFace,
    pub connection: &'a Arc<Connection>,
    pub limits: &'a Ahead,
    pub browser: Browser,
}

/// The browser's side.
pub(super) struct Browser {
    stream: Stalling,
    inbox: Inbox,
}

/// A request of the kind that is served here.
struct Asked {
    plain: Plain,
    passage: Passage,
}

/// What an answer says of its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Keep,
    Close,
}

/// What follows an answer.
enum Next {
    Request,
    End,
    /// The workspace's side of a WebSocket.
    Stream(Answer),
}

/// The connection is of no more use.
struct Gone;

impl From<Stalling> for Browser {
    fn from(stream: Stalling) -> Browser {
        Browser { stream, inbox: Inbox::default() }
    }
}

impl FastPath<'_> {
    /// Serves until the connection ends (`None`), or comes to a request that is not of this kind.
    pub async fn serve(mut self) -> Option<Stalling> {
        let mut draining = pin!(self.connection.draining());
        let mut patience = Patience::new();
        loop {
            patience.last_for(self.limits.header_timeout);
            let head = self.browser.head(self.limits, draining.as_mut(), &mut patience).await.ok()?;
            let Some(asked) = head.as_ref().and_then(|head| self.judge(head)) else {
                return Some(self.browser.hand_over(head));
            };
            self.connection.count_request();
            match self.answer(&asked, &mut patience).await.ok()? {
                Next::Request => {}
                Next::End => return None,
                Next::Stream(workspace) => {
                    let (pass, connection) = (asked.passage.admitted.pass, self.connection.clone());
                    let Browser { stream, inbox } = self.browser;
                    Stream { workspace, pass, connection }.start(stream.into_inner(), inbox.bytes);
                    return None;
                }
            }
        }
    }

    /// `None`: it is not for us.
    fn judge(&self, head: &Bytes) -> Option<Asked> {
        let plain = head::plain(head, self.limits.headers)?;
        match self.face.tunnel.decide(&plain.request) {
            Ok(Step::Through(passage)) => Some(Asked { plain, passage }),
            Ok(Step::Ours(_)) | Err(_) => None,
        }
    }

    async fn answer(&mut self, asked: &Asked, patience: &mut Patience) -> Result<Next, Gone> {
        let Asked { plain: Plain { request, is_last }, passage } = asked;
        let TunnelFace { tunnel, pool } = self.face;
        let peer = self.connection.peer.ip();
        let led = tokio::select! {
            biased;
            led = tunnel.lead(pool, peer, request, None, passage, patience) => led,
            gone = poll_fn(|cx| self.browser.poll_gone(cx)) => return Err(gone),
        };
        let to_head = request.method() == Method::HEAD;
        let then = if *is_last || self.connection.is_draining() { Then::Close } else { Then::Keep };
        match led {
            Ok(answer) if stream::has_switched(&answer) => {
                let (head, workspace) = (head::written(&answer, false, Then::Keep).0, answer.into_body());
                self.browser.send(Sending::<Answer>::new(head, None, false)).await?;
                return Ok(Next::Stream(workspace));
            }
            Ok(answer) => self.browser.pass(answer, passage, to_head, then).await?,
            Err(problem) => {
                let turned = Turned { problem, place: Some(passage.place.clone()) };
                self.browser.say(tunnel.turn(page::Asks::of(request), turned), to_head, then).await?;
            }
        }
        Ok(if then == Then::Close { Next::End } else { Next::Request })
    }
}

impl Browser {
    /// The next head, whole; `None` if it is too long for one, or has two readings.
    async fn head(
        &mut self,
        limits: &Ahead,
        mut draining: Pin<&mut impl Future<Output = ()>>,
        patience: &mut Patience,
    ) -> Result<Option<Bytes>, Gone> {
        poll_fn(|cx| {
            loop {
                if limits.ambiguity.is_found() {
                    return Poll::Ready(Ok(None));
                }
                match self.inbox.split_head(limits.header_bytes) {
                    Ok(None) => {}
                    Ok(Some(head)) if head.len() <= limits.header_bytes => return Poll::Ready(Ok(Some(head))),
                    Ok(Some(head)) => {
                        self.restore(head);
                        return Poll::Ready(Ok(None));
                    }
                    Err(_) => return Poll::Ready(Ok(None)),
                }
                match self.stream.poll_receive(&mut self.inbox, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Gone)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            let is_idle = self.inbox.is_empty();
            if (is_idle && draining.as_mut().poll(cx).is_ready()) || patience.poll_over(cx).is_ready() {
                return Poll::Ready(Err(Gone));
            }
            Poll::Pending
        })
        .await
    }

    /// Ready when the browser has left. What it sends meanwhile is kept, as far as it is a head's worth.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        while self.inbox.bytes.len() < MOST_AHEAD {
            if let Ok(0) | Err(_) = ready!(self.stream.poll_receive(&mut self.inbox, cx)) {
                return Poll::Ready(Gone);
            }
        }
        Poll::Pending
    }

    /// For whoever serves it from here on, with this head before all else.
    fn hand_over(mut self, head: Option<Bytes>) -> Stalling {
        if let Some(head) = head {
            self.restore(head);
        }
        self.stream.put_back(self.inbox.bytes);
        self.stream
    }

    fn restore(&mut self, head: Bytes) {
        let mut all = BytesMut::with_capacity(head.len() + self.inbox.bytes.len());
        all.extend_from_slice(&head);
        all.extend_from_slice(&self.inbox.bytes);
        self.inbox.bytes = all;
    }

    /// An answer of the workspace's. A long one ends with the pass it was given to.
    async fn pass(&mut self, answer: Answered, passage: &Passage, to_head: bool, then: Then) -> Result<(), Gone> {
        if forward::is_short(answer.body()) {
            return self.say(answer, to_head, then).await;
        }
        let over = passage.admitted.pass.clone().over();
        tokio::select! {
            biased;
            () = over => Err(Gone),
            passed = self.pass_long(answer, to_head, then) => passed,
        }
    }

    async fn pass_long(&mut self, answer: Answered, to_head: bool, then: Then) -> Result<(), Gone> {
        let is_large = answer.body().size_hint().exact().is_some_and(|bytes| bytes > LARGE);
        match is_large.then(Pipe::new) {
            Some(Ok(pipe)) => self.pour(answer, pipe, then).await,
            Some(Err(why)) => {
                tracing::debug!(%why, "there is no pipe for a large answer");
                self.say(answer, to_head, then).await
            }
            None => self.say(answer, to_head, then).await,
        }
    }

    /// A head, and a body of known length moved from socket to socket.
    async fn pour(&mut self, answer: Answered, mut pipe: Pipe, then: Then) -> Result<(), Gone> {
        let (head, _) = head::written(&answer, false, then);
        self.send(Sending::<Answer>::new(head, None, false)).await?;
        let mut body = answer.into_body();
        loop {
            let moved = poll_fn(|cx| {
                while !pipe.is_empty() {
                    ready!(self.stream.poll_drain(&mut pipe, cx)).map_err(|_| Gone)?;
                }
                match body.poll_splice(&mut pipe, cx) {
                    Poll::Ready(moved) => Poll::Ready(moved.transpose().map_err(|_| Gone)),
                    Poll::Pending => self.poll_gone(cx).map(Err),
                }
            });
            if moved.await?.is_some() {
                continue;
            }
            // What came with the head, or the end.
            let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { return Ok(()) };
            let data = frame.map_err(|_| Gone)?.into_data().unwrap_or_default();
            self.send(Sending::<Answer>::new(data.into(), None, false)).await?;
        }
    }

    /// An answer from memory or as it comes.
    async fn say<B>(&mut self, answer: Response<B>, to_head: bool, then: Then) -> Result<(), Gone>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, is_chunked) = head::written(&answer, to_head, then);
        let body = Some(answer.into_body()).filter(|body| !to_head && !body.is_end_stream());
        self.send(Sending::new(head, body, is_chunked)).await
    }

    /// All of it, unless the browser leaves. A body that breaks off ends the connection: nobody takes it for whole.
    async fn send<B: Body<Data = Bytes> + Unpin>(&mut self, mut sending: Sending<B>) -> Result<(), Gone> {
        poll_fn(|cx| match sending.poll(&mut self.stream, cx) {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(|_| Gone)),
            Poll::Pending => self.poll_gone(cx).map(Err),
        })
        .await
    }
}
