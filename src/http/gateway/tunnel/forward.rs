//! A request and its answer through the pool of kept connections, neither of them ever held whole.
use super::{
    Passage, Response,
    access::{Admitted, Target},
    headers::{self, Way},
    patience::Patience,
};
use crate::{
    host::connection_pool::{Answer, Answered, Asking, Failure, Pool},
    http::problem::{Code, Problem},
    model::gateway::settings,
};
use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, Request, header},
};
use futures_util::future::BoxFuture;
use hyper::body::{Frame, Incoming, SizeHint};
use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::sleep;

/// An answer of at most so many bytes is over before anybody could want to end it.
const SHORT: u64 = 64 << 10;

pub(super) fn is_short(answer: &Answer) -> bool {
    answer.size_hint().upper().is_some_and(|bytes| bytes <= SHORT)
}
/// Within this time most requests are answered.
const QUICK: Duration = Duration::from_millis(500);

/// Sends the request on, and gives its answer as the browser may have it.
pub(super) async fn carry(
    settings: &settings::Tunnel,
    pool: &Pool,
    asking: Asking,
    body: Option<Incoming>,
    passage: &Passage,
    way: &Way<'_>,
    patience: &mut Patience,
) -> Result<Answered, Problem> {
    let Passage { target, admitted, .. } = passage;
    let mut asked = pin!(pool.send(target.ide, &asking, body));
    // Only a slow request is worth watching whether its pass still stands.
    let answer = match patience.during(settings.response_timeout.min(QUICK), &mut asked).await {
        Some(answer) => answer,
        None => tokio::select! {
            biased;
            answer = asked => answer,
            () = admitted.pass.clone().over() => return Err(Code::IDE_LOGIN.into()),
            () = sleep(settings.response_timeout.saturating_sub(QUICK)) => return Err(Code::IDE_TIMEOUT.into()),
        },
    };
    let mut answer = answer.map_err(|failure| failed(target, &failure))?;
    if answer.status().is_informational() {
        return Err(Code::IDE_BROKE.because("The workspace switched protocols without being asked."));
    }
    headers::for_browser(answer.headers_mut(), way, None);
    Ok(answer)
}

/// The request's head as the workspace may have it: path and query as they came, and no address.
pub(super) fn asking<B>(
    request: &Request<B>,
    passage: &Passage,
    way: &Way<'_>,
    upgrade: Option<&HeaderValue>,
) -> Result<Asking, Problem> {
    let mut asking = Asking::new(request.method(), &passage.place.rest).ok_or(Code::MALFORMED)?;
    headers::for_workspace(request.headers(), way, upgrade, &mut asking);
    Ok(asking)
}

/// A long answer ends with the pass it was given to.
pub(super) fn finish(answer: Answered, admitted: &Admitted) -> Response {
    answer.map(|body| {
        if is_short(&body) {
            return Body::new(body);
        }
        Body::new(Standing { body, over: admitted.pass.clone().over() })
    })
}

pub(super) fn failed(target: &Target, failure: &Failure) -> Problem {
    match failure {
        Failure::Unreachable(error) => {
            Code::IDE_UNREACHABLE.because(format!("Nothing answers at {}: {error}", target.ide))
        }
        Failure::Broke(broken) => Code::IDE_BROKE.because(format!("{} broke off: {broken}", target.ide)),
    }
}

/// A body that is given only as long as its pass stands.
struct Standing {
    body: Answer,
    over: BoxFuture<'static, ()>,
}

impl HttpBody for Standing {
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
