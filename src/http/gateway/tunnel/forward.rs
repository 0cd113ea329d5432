//! A request and its answer through the pool of kept connections, neither of them ever held whole.
use super::{
    Passage, Response,
    access::{Admitted, Target},
    headers::{self, Way},
};
use crate::{
    host::connection_pool::{Failure, Pool},
    http::problem::{Code, Problem},
    model::gateway::settings,
};
use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Request, Version, header},
};
use futures_util::future::BoxFuture;
use hyper::body::{Frame, Incoming, SizeHint};
use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// An answer of at most so many bytes is over before anybody could want to end it.
const SHORT: u64 = 64 << 10;
/// Within this time most requests are answered.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends the request on, and gives its answer as the browser may have it.
pub(super) async fn carry(
    settings: &settings::Tunnel,
    pool: &Pool,
    mut request: Request<Incoming>,
    passage: &Passage,
    way: &Way<'_>,
) -> Result<Response, Problem> {
    let Passage { place, target, admitted, .. } = passage;
    *request.uri_mut() = headers::target(&place.rest).ok_or(Code::MALFORMED)?;
    *request.version_mut() = Version::HTTP_11;
    headers::for_workspace(request.headers_mut(), way, None);
    let mut asked = pin!(pool.send(target.ide, request));
    // One timer for most requests; only a slow one is worth watching whether its pass still stands.
    let answer = match timeout(settings.response_timeout.min(PATIENCE), &mut asked).await {
        Ok(answer) => answer,
        Err(_) => tokio::select! {
            biased;
            answer = asked => answer,
            () = admitted.pass.clone().over() => return Err(Code::IDE_LOGIN.into()),
            () = sleep(settings.response_timeout.saturating_sub(PATIENCE)) => return Err(Code::IDE_TIMEOUT.into()),
        },
    };
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(Failure::Unreachable(error)) => return Err(unreachable(target, &error)),
        Err(Failure::Broke(error)) => {
            return Err(Code::IDE_BROKE.because(format!("{} broke off: {}", target.ide, causes(&error))));
        }
    };
    if answer.status().is_informational() {
        return Err(Code::IDE_BROKE.because("The workspace switched protocols without being asked."));
    }
    headers::for_browser(answer.headers_mut(), way, None);
    Ok(finish(answer, admitted))
}

/// A long answer ends with the pass it was given to.
pub(super) fn finish<B>(answer: axum::http::Response<B>, admitted: &Admitted) -> Response
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    answer.map(|body| {
        if body.size_hint().upper().is_some_and(|bytes| bytes <= SHORT) {
            return Body::new(body);
        }
        Body::new(Standing { body, over: admitted.pass.clone().over() })
    })
}

pub(super) fn unreachable(target: &Target, error: &(dyn std::error::Error + 'static)) -> Problem {
    Code::IDE_UNREACHABLE.because(format!("Nothing answers at {}: {}", target.ide, causes(error)))
}

/// The innermost cause is what a person can act on.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// A body that is given only as long as its pass stands.
struct Standing<B> {
    body: B,
    over: BoxFuture<'static, ()>,
}

impl<B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin> HttpBody for Standing<B> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(io::Error::other("the session was revoked")))));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(axum::Error::new)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Does it announce a body? A handshake must not: what followed would be read as another protocol.
pub(super) fn has_body<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        || headers.contains_key(header::TRANSFER_ENCODING)
}
