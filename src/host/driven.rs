//! An HTTP/1.1 connection without a task of its own: whoever waits for its answer, or reads it, drives it.
//!
//! hyper's connection is a future that has to be polled for anything to move. Spawned, as is usual, each answer and each
//! piece of a body changes tasks and often processors, and each idle connection keeps a task.
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::{
        TrySendError,
        http1::{Builder, Connection, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};
use tokio::net::TcpStream;

/// One connection, which sends requests with a body `B`. Dropped, it is closed.
pub struct Driven<B: Body + 'static> {
    sender: SendRequest<B>,
    /// `None` once it has ended: whoever waits for an answer on it learns so.
    connection: Option<Connection<TokioIo<TcpStream>, B>>,
}

impl<B> Driven<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub async fn over(stream: TcpStream, http: &Builder) -> hyper::Result<Driven<B>> {
        let (sender, connection) = http.handshake(TokioIo::new(stream)).await?;
        Ok(Driven { sender, connection: Some(connection) })
    }

    /// Reads and writes what can be. How it ended is told to whoever waits for an answer, so it is not said here.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if self.connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
            self.connection = None;
        }
    }

    /// Can it take a request? To be asked after it was driven: a close by the server shows only then.
    pub fn is_free(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Resolves when what came before is over: it can take a request, or has ended.
    pub async fn settled(&mut self) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.connection.is_none() || self.sender.is_ready() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    pub async fn exchange(&mut self, request: Request<B>) -> Result<Response<Incoming>, TrySendError<Request<B>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// The next piece of an answer's body.
    pub fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if frame.is_ready() {
            return frame;
        }
        self.drive(cx);
        Pin::new(body).poll_frame(cx)
    }
}

/// The body of an answer, read on the connection that it comes on.
pub struct Reading<'a, B: Body + 'static> {
    pub body: Incoming,
    pub on: &'a mut Driven<B>,
}

impl<B> Body for Reading<'_, B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        this.on.poll_frame(&mut this.body, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
