//! One agent over HTTP: requests with the token, bounded answers, refusals as values.
use crate::cli::{
    failure::{Failure, Problem},
    target::Target,
};
use bytes::{Bytes, BytesMut};
use reqwest::{Method, Response, StatusCode, header};
use std::{error::Error, time::Duration};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

/// Longest answer a client command reads into memory.
const MAX_ANSWER: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an ordinary answer may take; long polls add their own wait.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The agent sends frames of at most a few hundred KiB.
const MAX_FRAME: usize = 4 << 20;

pub type Socket = WebSocketStream<reqwest::Upgraded>;

#[derive(Clone)]
pub struct Agent {
    http: reqwest::Client,
    target: Target,
}

/// What came back: 2xx, or a status the caller asked to see.
pub struct Answer {
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Agent {
    pub fn new(target: Target) -> Result<Agent, Failure> {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("zlh-cli/", env!("CARGO_PKG_VERSION")));
        let unreachable = |why| Failure::Unreachable { url: target.url.to_string(), why };
        let http = super::http::client(&target.url, builder).map_err(unreachable)?;
        Ok(Agent { http, target })
    }

    /// GET `path`; anything but 2xx is a failure.
    pub async fn read(&self, path: &str) -> Result<Answer, Failure> {
        self.read_or(path, &[], ANSWER_TIMEOUT).await
    }

    /// GET `path`, where the statuses in `also` are answers too.
    pub async fn read_or(&self, path: &str, also: &[StatusCode], timeout: Duration) -> Result<Answer, Failure> {
        let response = self.request(Method::GET, path, None, timeout).await?;
        self.answer(response, also).await
    }

    /// POST `path` with an optional JSON body.
    pub async fn order(&self, path: &str, body: Option<&serde_json::Value>) -> Result<Answer, Failure> {
        self.give(Method::POST, path, body).await
    }

    /// As [`Agent::order`], by any method.
    pub async fn give(&self, method: Method, path: &str, body: Option<&serde_json::Value>) -> Result<Answer, Failure> {
        let response = self.request(method, path, body, ANSWER_TIMEOUT).await?;
        self.answer(response, &[]).await
    }

    /// Opens a WebSocket; a refusal comes back as the agent's own problem, not as a failed handshake.
    pub async fn socket(&self, path: &str, protocol: &str) -> Result<Socket, Failure> {
        let key = generate_key();
        let request = self
            .prepare(Method::GET, path)?
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let shake = async {
            let response = request.send().await.map_err(|e| self.unreachable(&e))?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                self.answer(response, &[]).await?;
                return Err(self.foreign("the console is no WebSocket"));
            }
            self.check_handshake(&response, &key, protocol)?;
            response.upgrade().await.map_err(|e| self.unreachable(&e))
        };
        let stream = tokio::time::timeout(ANSWER_TIMEOUT, shake).await.map_err(|_| self.silent(ANSWER_TIMEOUT))??;
        let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
    }

    fn check_handshake(&self, response: &Response, key: &str, protocol: &str) -> Result<(), Failure> {
        let said = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        if said(header::SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_str()) {
            return Err(self.foreign("its WebSocket handshake is wrong"));
        }
        match said(header::SEC_WEBSOCKET_PROTOCOL) {
            Some(p) if p == protocol => Ok(()),
            other => Err(self.foreign(&format!("it speaks {} instead of {protocol}", other.unwrap_or("nothing")))),
        }
    }

    fn prepare(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, Failure> {
        let url = self.target.url.join(path).map_err(|e| Failure::Usage(format!("{path}: {e}")))?;
        let request = self.http.request(method, url);
        Ok(match &self.target.token {
            Some(token) => request.bearer_auth(&token.0),
            None => request,
        })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
        timeout: Duration,
    ) -> Result<Response, Failure> {
        let mut request = self.prepare(method, path)?.timeout(timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(|e| if e.is_timeout() { self.silent(timeout) } else { self.unreachable(&e) })
    }

    async fn answer(&self, response: Response, also: &[StatusCode]) -> Result<Answer, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await?;
        if status.is_success() || also.contains(&status) {
            return Ok(Answer { status, headers, body });
        }
        Err(self.refusal(status, &headers, &body))
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.foreign(&format!("an answer of more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn refusal(&self, status: StatusCode, headers: &header::HeaderMap, body: &[u8]) -> Failure {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut problem: Problem = match kind.starts_with("application/problem+json") {
            true => super::wire::parse(body).unwrap_or_default(),
            false => Problem::default(),
        };
        problem.status = status.as_u16();
        if problem.title.is_empty() {
            problem.title = status.canonical_reason().unwrap_or_default().into();
        }
        match status.as_u16() {
            404 if !problem.code.is_empty() => Failure::Answer(problem.detail),
            401 | 403 | 409 | 412 | 422 | 429 | 503 => Failure::Refused(problem),
            400..=499 if !problem.code.is_empty() => Failure::Refused(problem),
            _ => self.foreign(&format!("{} {}", status, problem.detail)),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable { url: self.address(), why: causes(error) }
    }

    fn silent(&self, after: Duration) -> Failure {
        Failure::Unreachable { url: self.address(), why: format!("no answer within {} s", after.as_secs()) }
    }

    /// An answer that is not the agent's protocol.
    pub fn foreign(&self, why: &str) -> Failure {
        Failure::Foreign { url: self.address(), why: why.trim().to_owned() }
    }

    fn address(&self) -> String {
        self.target.url.as_str().trim_end_matches('/').to_owned()
    }
}

/// The innermost cause says what a person needs ("Connection refused"); the layers above it repeat the address.
pub fn causes(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
