//! What an agent says of itself, over HTTP: its event stream, or, if it has none, its status on request.
//!
//! Plain connections without a pool: a gateway holds one for each of thousands of agents. Everything an agent may send is
//! bounded in size and time.
use super::wire::{Asking, Wire};
use crate::model::settings::Secret;
use bytes::{Buf, Bytes, BytesMut};
use hyper::{
    Method, Response, StatusCode,
    body::Frame,
    header::{self, HeaderValue},
};
use memchr::memchr;
use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Time for a connection, and for each answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// A stream has a heartbeat every 5 s; one that is silent for this long is dead.
const SILENT_FOR: Duration = Duration::from_secs(12);
/// Largest status.
const MOST: usize = 1 << 20;

/// Where an agent is, and what opens it.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    pub address: SocketAddr,
    pub token: Option<Secret>,
}

/// Why nothing (more) is heard.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    #[error("the agent has no event stream")]
    NoStream,
    #[error("the agent at {0} {1}")]
    Failed(SocketAddr, String),
}

/// One connection; it ends when this is dropped.
struct Line {
    agent: Agent,
    wire: Wire,
}

impl Line {
    async fn open(agent: &Agent) -> Result<Line, Silence> {
        let failed = |what: String| Silence::Failed(agent.address, what);
        match Wire::open(agent.address, ANSWERS_WITHIN).await {
            Ok(wire) => Ok(Line { agent: agent.clone(), wire }),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                Err(failed(format!("did not accept a connection within {ANSWERS_WITHIN:?}")))
            }
            Err(e) => Err(failed(format!("cannot be reached: {e}"))),
        }
    }

    async fn ask(&mut self, path: &str, accept: &'static str) -> Result<Response<()>, Silence> {
        let address = self.agent.address;
        let failed = |what: String| Silence::Failed(address, what);
        let asking = self.asking(path, accept).ok_or_else(|| failed(format!("cannot be asked for {path:?}")))?;
        match timeout(ANSWERS_WITHIN, self.wire.exchange(&asking, None)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => Err(failed(format!("broke off: {e}"))),
            Err(_) => Err(failed(format!("did not answer {path} within {ANSWERS_WITHIN:?}"))),
        }
    }

    /// `None` if its token is no text for a header.
    fn asking(&self, path: &str, accept: &'static str) -> Option<Asking> {
        let mut asking = Asking::new(&Method::GET, path)?;
        asking.field(&header::HOST, &HeaderValue::from_str(&self.agent.address.to_string()).ok()?);
        asking.field(&header::ACCEPT, &HeaderValue::from_static(accept));
        if let Some(token) = &self.agent.token {
            asking.field(&header::AUTHORIZATION, &HeaderValue::from_str(&format!("Bearer {}", token.0)).ok()?);
        }
        Some(asking)
    }

    async fn whole(&mut self, path: &str) -> Result<Bytes, Silence> {
        match self.answer(path).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(Silence::Failed(self.agent.address, format!("answered {path} with {status}"))),
        }
    }

    async fn answer(&mut self, path: &str) -> Result<(StatusCode, Bytes), Silence> {
        let response = self.ask(path, "application/json, text/plain").await?;
        let address = self.agent.address;
        let failed = |what: String| Silence::Failed(address, what);
        match timeout(ANSWERS_WITHIN, self.wire.whole(MOST)).await {
            Ok(Ok(Some(body))) => Ok((response.status(), body)),
            Ok(Ok(None)) => Err(failed(format!("answered {path} with more than {MOST} bytes"))),
            Ok(Err(e)) => Err(failed(format!("broke off its answer to {path}: {e}"))),
            Err(_) => Err(failed(format!("did not end its answer to {path} within {ANSWERS_WITHIN:?}"))),
        }
    }
}

/// What an agent said that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// As JSON.
    pub status: Bytes,
    pub ready: Ready,
}

/// An agent's answer to `/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    Yes,
    /// The reason it gave.
    No(String),
    /// An old agent has no such path.
    Unknown,
}

/// `/health` first: whoever does not answer that is not asked for more. Then `/ready` and `/status`.
pub async fn poll(agent: &Agent) -> Result<Polled, Silence> {
    let mut line = Line::open(agent).await?;
    line.whole("/health").await?;
    let ready = match line.answer("/ready").await? {
        (StatusCode::OK, _) => Ready::Yes,
        (StatusCode::SERVICE_UNAVAILABLE, body) => Ready::No(reason(&body)),
        _ => Ready::Unknown,
    };
    Ok(Polled { status: line.whole("/status").await?, ready })
}

fn reason(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        reason: String,
    }
    serde_json::from_slice(body).map_or("the agent does not say why".into(), |said: Said| said.reason)
}

/// An open event stream.
pub struct Feed {
    line: Line,
    events: Events,
    heard: Instant,
    /// When to look whether anything was heard. Not set anew by each event: that is seldom needed, and work for thousands.
    silence: Pin<Box<Sleep>>,
}

impl Feed {
    pub async fn open(agent: &Agent) -> Result<Feed, Silence> {
        let mut line = Line::open(agent).await?;
        let response = line.ask("/events", "text/event-stream").await?;
        let streams = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|t| t.as_bytes().starts_with(b"text/event-stream"));
        match response.status() {
            StatusCode::OK if streams => Ok(Feed::of(line)),
            StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Err(Silence::NoStream)
            }
            status => Err(Silence::Failed(agent.address, format!("answered /events with {status}"))),
        }
    }

    fn of(line: Line) -> Feed {
        Feed { line, events: Events::default(), heard: Instant::now(), silence: Box::pin(sleep(SILENT_FOR)) }
    }

    /// The next status, as JSON.
    pub async fn next(&mut self) -> Result<Bytes, Silence> {
        loop {
            if let Some(status) = self.events.next() {
                return Ok(status);
            }
            let frame = poll_fn(|cx| self.poll_frame(cx)).await?;
            if frame.data_ref().is_some_and(|data| !self.events.push(data)) {
                return Err(self.failed(format!("sent an event of more than {MOST} bytes")));
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<Bytes>, Silence>> {
        if let Poll::Ready(frame) = self.line.wire.poll_frame(cx) {
            self.heard = Instant::now();
            return Poll::Ready(match frame {
                Some(Ok(frame)) => Ok(frame),
                Some(Err(e)) => Err(self.failed(format!("broke off its event stream: {e}"))),
                None => Err(self.failed("ended its event stream".into())),
            });
        }
        while self.silence.as_mut().poll(cx).is_ready() {
            let until = self.heard + SILENT_FOR;
            if until <= Instant::now() {
                return Poll::Ready(Err(self.failed(format!("was silent for {SILENT_FOR:?}"))));
            }
            self.silence.as_mut().reset(until);
        }
        Poll::Pending
    }

    fn failed(&self, what: String) -> Silence {
        Silence::Failed(self.line.agent.address, what)
    }
}

/// Server-sent events (WHATWG HTML §9.2.6), as far as an agent sends them: the data of those called `status`.
#[derive(Default)]
struct Events {
    /// Received, and not yet looked at from `searched` on.
    held: BytesMut,
    searched: usize,
    is_status: bool,
    data: BytesMut,
}

impl Events {
    /// False when an event grows past all bounds.
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.held.extend_from_slice(bytes);
        self.held.len() + self.data.len() <= MOST
    }

    fn next(&mut self) -> Option<Bytes> {
        while let Some(mut line) = self.line() {
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.is_status) && !data.is_empty() {
                    return Some(data.freeze());
                }
            } else if takes_off(&mut line, b"event:") {
                self.is_status = line == b"status"[..];
            } else if takes_off(&mut line, b"data:") {
                if self.data.is_empty() {
                    self.data = line;
                } else {
                    self.data.extend_from_slice(b"\n");
                    self.data.extend_from_slice(&line);
                }
            }
        }
        None
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Option<BytesMut> {
        let Some(end) = memchr(b'\n', &self.held[self.searched..]) else {
            self.searched = self.held.len();
            if self.held.is_empty() {
                self.held = BytesMut::new(); // thousands wait for their next event
            }
            return None;
        };
        let mut line = self.held.split_to(std::mem::take(&mut self.searched) + end);
        self.held.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }
}

/// Leaves the value of a line that begins with this name.
fn takes_off(line: &mut BytesMut, name: &[u8]) -> bool {
    let Some(value) = line.strip_prefix(name) else { return false };
    let space = usize::from(value.first() == Some(&b' '));
    line.advance(name.len() + space);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_found_however_the_stream_is_cut() {
        let stream =
            b"retry: 2000\n\nid: 1\nevent: status\ndata: {\"a\":1}\n\n: comment\nevent: operation\ndata: {\"x\":1}\n\n\
                       event: status\r\ndata: {\"a\":\r\ndata: 2}\r\n\r\nevent: status\n\ndata: {\"a\":3}\n\n";
        for size in 1..stream.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                assert!(events.push(piece));
                found.extend(std::iter::from_fn(|| events.next()));
            }
            assert_eq!(found, [&b"{\"a\":1}"[..], b"{\"a\":\n2}"], "pieces of {size}");
        }
    }

    /// An agent that answers each path as it is told.
    async fn agent(answers: &'static [(&'static str, u16, &'static str)]) -> Agent {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                    let path = text.split(' ').nth(1).unwrap();
                    let found = answers.iter().find(|(known, ..)| *known == path);
                    let (_, status, body) = found.unwrap_or(&("", 404, ""));
                    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Agent { address, token: None }
    }

    #[tokio::test]
    async fn a_poll_asks_for_health_readiness_and_status() {
        let old = agent(&[("/health", 200, "ok"), ("/status", 200, "{}")]).await;
        let polled = poll(&old).await.unwrap();
        assert_eq!((polled.ready, &polled.status[..]), (Ready::Unknown, &b"{}"[..]));
        let ready = agent(&[("/health", 200, "ok"), ("/ready", 200, "{}"), ("/status", 200, "{}")]).await;
        assert_eq!(poll(&ready).await.unwrap().ready, Ready::Yes);
        let not = agent(&[
            ("/health", 200, "ok"),
            ("/ready", 503, r#"{"ready":false,"reason":"it starts"}"#),
            ("/status", 200, "{}"),
        ])
        .await;
        assert_eq!(poll(&not).await.unwrap().ready, Ready::No("it starts".into()));
        let ill = agent(&[("/status", 200, "{}")]).await;
        assert!(poll(&ill).await.unwrap_err().to_string().contains("/health with 404"));
    }

    #[test]
    fn an_event_without_end_is_cut_off() {
        let mut events = Events::default();
        let long = vec![b'x'; MOST / 2];
        assert!(events.push(&long) && events.next().is_none());
        assert!(events.push(&long) && events.next().is_none());
        assert!(!events.push(b"x"));
    }
}
