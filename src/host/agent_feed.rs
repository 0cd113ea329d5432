//! What an agent says of itself, over HTTP: its event stream, or, if it has none, its status on request.
//!
//! Plain connections without a pool: a gateway holds one for each of thousands of agents. Everything an agent may send is
//! bounded in size and time.
use super::driven::{Driven, Reading};
use crate::model::settings::Secret;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use std::{future::poll_fn, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

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
    driven: Driven<Empty<Bytes>>,
}

impl Line {
    async fn open(agent: &Agent) -> Result<Line, Silence> {
        let failed = |what: String| Silence::Failed(agent.address, what);
        let stream = match timeout(ANSWERS_WITHIN, TcpStream::connect(agent.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(failed(format!("cannot be reached: {e}"))),
            Err(_) => return Err(failed(format!("did not accept a connection within {ANSWERS_WITHIN:?}"))),
        };
        let mut http = http1::Builder::new();
        http.max_buf_size(16 << 10);
        let driven = Driven::over(stream, &http).await.map_err(|e| failed(format!("broke off: {e}")))?;
        Ok(Line { agent: agent.clone(), driven })
    }

    async fn ask(&mut self, path: &str, accept: &str) -> Result<Response<Incoming>, Silence> {
        let address = self.agent.address;
        let failed = |what: String| Silence::Failed(address, what);
        let mut request = Request::get(path).header(header::HOST, address.to_string()).header(header::ACCEPT, accept);
        if let Some(token) = &self.agent.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.0));
        }
        let request = request.body(Empty::new()).map_err(|e| failed(format!("cannot be asked: {e}")))?;
        let answered = async {
            self.driven.settled().await;
            self.driven.exchange(request).await
        };
        match timeout(ANSWERS_WITHIN, answered).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => Err(failed(format!("broke off: {}", e.error()))),
            Err(_) => Err(failed(format!("did not answer {path} within {ANSWERS_WITHIN:?}"))),
        }
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
        let status = response.status();
        let body = Reading { body: response.into_body(), on: &mut self.driven };
        match timeout(ANSWERS_WITHIN, Limited::new(body, MOST).collect()).await {
            Ok(Ok(body)) => Ok((status, body.to_bytes())),
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
    body: Incoming,
    events: Events,
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
            StatusCode::OK if streams => Ok(Feed { line, body: response.into_body(), events: Events::default() }),
            StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Err(Silence::NoStream)
            }
            status => Err(Silence::Failed(agent.address, format!("answered /events with {status}"))),
        }
    }

    /// The next status, as JSON.
    pub async fn next(&mut self) -> Result<Vec<u8>, Silence> {
        let address = self.line.agent.address;
        let failed = |what: String| Silence::Failed(address, what);
        loop {
            if let Some(status) = self.events.next() {
                return Ok(status);
            }
            let frame = poll_fn(|cx| self.line.driven.poll_frame(&mut self.body, cx));
            match timeout(SILENT_FOR, frame).await {
                Ok(Some(Ok(frame))) => {
                    let room = frame.data_ref().is_none_or(|data| self.events.push(data));
                    if !room {
                        return Err(failed(format!("sent an event of more than {MOST} bytes")));
                    }
                }
                Ok(Some(Err(e))) => return Err(failed(format!("broke off its event stream: {e}"))),
                Ok(None) => return Err(failed("ended its event stream".into())),
                Err(_) => return Err(failed(format!("was silent for {SILENT_FOR:?}"))),
            }
        }
    }
}

/// Server-sent events (WHATWG HTML §9.2.6), as far as an agent sends them: the data of those called `status`.
#[derive(Default)]
struct Events {
    held: Vec<u8>,
    /// Bytes of `held` that were looked at.
    done: usize,
    is_status: bool,
    data: Vec<u8>,
}

impl Events {
    /// False when an event grows past all bounds.
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.held.extend_from_slice(bytes);
        self.held.len() - self.done + self.data.len() <= MOST
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(length) = self.held[self.done..].iter().position(|b| *b == b'\n') {
            let line = &self.held[self.done..self.done + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let field = |name: &[u8]| line.strip_prefix(name).map(|value| value.strip_prefix(b" ").unwrap_or(value));
            let is_end = line.is_empty();
            if let Some(name) = field(b"event:") {
                self.is_status = name == b"status";
            } else if let Some(data) = field(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data);
            }
            self.done += length + 1;
            if is_end {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.is_status) && !data.is_empty() {
                    return Some(data);
                }
            }
        }
        self.held.drain(..self.done);
        self.done = 0;
        None
    }
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
            assert_eq!(found, [b"{\"a\":1}".to_vec(), b"{\"a\":\n2}".to_vec()], "pieces of {size}");
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
