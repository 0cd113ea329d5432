//! The hops of a browser's way into an IDE, each with what cures it.
use crate::{
    actors::doorkeeper::Admitted,
    http::gateway::Gateway,
    model::gateway::{ContainerType, Server},
};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    future::{BoxFuture, FutureExt},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

const HOP_WITHIN: Duration = Duration::from_secs(10);
/// The workbench page is some 30 KB, a script a few MB.
const PAGE_BYTES: usize = 32 << 20;
const REDIRECTS: usize = 5;
/// What the editor says first (VS Code's `PersistentProtocol`): a control message that asks for the server's signature.
const GREETING: &str = r#"{"type":"auth","auth":"00000000000000000000","data":""}"#;

const RESTART: &str = "Restart the IDE (POST /api/dev/<id>/codeserver/restart) and look at its log in the container.";
const START: &str =
    "Start the IDE (POST /api/dev/<id>/codeserver/start); if that fails, look at the container's status.";
const BEFORE: &str =
    "The gateway's own listener refuses: look into its log, and whether ide_public_url is what browsers use.";

pub struct Fault {
    pub detail: String,
    pub cure: &'static str,
}

type Outcome = Result<String, Fault>;

fn fault(detail: impl Into<String>, cure: &'static str) -> Fault {
    Fault { detail: detail.into(), cure }
}

/// A hop's name and what it does.
pub type Step = (&'static str, for<'a> fn(&'a mut Visit) -> BoxFuture<'a, Outcome>);

/// In the order of a browser.
pub const ALL: [Step; 7] = [
    ("container", |visit| async { visit.container() }.boxed()),
    ("token", |visit| async { visit.issue() }.boxed()),
    ("cookie", |visit| visit.enter().boxed()),
    ("page", |visit| visit.page().boxed()),
    ("asset", |visit| visit.asset().boxed()),
    ("handshake", |visit| visit.handshake().boxed()),
    ("first frame", |visit| visit.first_frame().boxed()),
];

/// What a browser would have in hand.
pub struct Visit {
    gateway: Arc<Gateway>,
    admitted: Admitted,
    server: Arc<Server>,
    /// Of the front door, as the browser writes them.
    host: String,
    origin: String,
    prefix: String,
    token: String,
    cookie: String,
    html: String,
    socket: Option<WebSocketStream<TcpStream>>,
}

impl Visit {
    pub fn new(gateway: Arc<Gateway>, admitted: Admitted, server: Arc<Server>, url: &str, prefix: String) -> Visit {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let origin = format!("{scheme}://{host}");
        let (token, cookie, html) = Default::default();
        Visit { gateway, admitted, server, host, origin, prefix, token, cookie, html, socket: None }
    }

    fn container(&self) -> Outcome {
        if self.server.container_type != ContainerType::Dev {
            return Err(fault("It is a game server, which has no IDE.", "Open the IDE of a dev container."));
        }
        let at = format!("{} at {}, IDE on port {}", self.server.name, self.server.address, self.server.ide_port);
        match self.gateway.tunnel.condition(self.server.vmid) {
            Some(condition) => Ok(format!("{at}. {condition}")),
            None => Ok(format!("{at}. Its agent was not heard yet.")),
        }
    }

    fn issue(&mut self) -> Outcome {
        let principal = self.admitted.principal.as_ref().ok_or_else(|| fault("Nobody is logged in.", "Log in."))?;
        let issued = self.gateway.doorkeeper.issue_ide_token(principal, self.server.vmid);
        let issued = issued.map_err(|why| {
            fault(
                format!("No token is given: {why:?}."),
                "Only the owner of a dev container may open its IDE: ask as the owner.",
            )
        })?;
        self.token = issued.text;
        Ok(format!("A token for {} s.", issued.lifetime.as_secs()))
    }

    async fn enter(&mut self) -> Outcome {
        let path = format!("/api/dev/{}/ide?token={}", self.server.vmid, self.token);
        let (head, _) = self.fetch(&path).await.map_err(|why| fault(why, BEFORE))?;
        let set = head.headers().get(header::SET_COOKIE).and_then(|set| set.to_str().ok());
        let cookie = set.and_then(|set| set.split(';').next()).filter(|_| head.status() == StatusCode::FOUND);
        let cookie = cookie.ok_or_else(|| fault(format!("The token was answered with {}.", head.status()), BEFORE))?;
        self.cookie = cookie.to_owned();
        Ok(format!("A cookie, and on to {}.", shown(head.headers().get(header::LOCATION))))
    }

    async fn page(&mut self) -> Outcome {
        let mut path = format!("{}/", self.prefix);
        for _ in 0..REDIRECTS {
            let (head, body) = self.fetch(&path).await.map_err(|why| fault(why, START))?;
            match head.status() {
                StatusCode::OK => {
                    self.html = String::from_utf8_lossy(&body).into_owned();
                    return Ok(format!("{} bytes at {path}.", body.len()));
                }
                status if status.is_redirection() => {
                    let to = shown(head.headers().get(header::LOCATION));
                    path = joined(&path, &to).ok_or_else(|| {
                        fault(
                            format!("The page leads away, to {to}."),
                            "The workspace redirects elsewhere: is it code-server that listens on the IDE's port?",
                        )
                    })?;
                }
                StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                    return Err(fault(detail_of(&body), START));
                }
                status => {
                    return Err(fault(format!("{path} was answered with {status}. {}", detail_of(&body)), RESTART));
                }
            }
        }
        Err(fault(format!("More than {REDIRECTS} redirects."), RESTART))
    }

    async fn asset(&mut self) -> Outcome {
        let asset = asset_in(&self.html).ok_or_else(|| {
            fault("The page names no script or style.", "Is it code-server that listens on the IDE's port?")
        })?;
        let path = joined(&format!("{}/", self.prefix), &asset)
            .ok_or_else(|| fault(format!("The page's asset {asset} is elsewhere."), RESTART))?;
        let (head, body) = self.fetch(&path).await.map_err(|why| fault(why, RESTART))?;
        match head.status() {
            StatusCode::OK => Ok(format!("{} bytes at {path}.", body.len())),
            status => Err(fault(format!("{path} was answered with {status}."), RESTART)),
        }
    }

    async fn handshake(&mut self) -> Outcome {
        const HOSTS: &str = "The workspace saw another Host than Origin: whatever stands before the gateway must pass Host with its port (nginx: $http_host).";
        let commit = self.html.split("stable-").nth(1).and_then(|rest| rest.split(['/', '"', '\\', '&']).next());
        let commit = commit.map_or(String::new(), |commit| format!("stable-{commit}"));
        let reconnection = uuid::Uuid::new_v4();
        let path = format!(
            "{}/{commit}?reconnectionToken={reconnection}&reconnection=false&skipWebSocketFrames=false",
            self.prefix
        );
        let broken = |why: String| fault(why, RESTART);
        let mut request =
            format!("ws://{}{path}", self.host).into_client_request().map_err(|e| broken(e.to_string()))?;
        for (name, value) in [(header::ORIGIN, &self.origin), (header::COOKIE, &self.cookie)] {
            request.headers_mut().insert(name, HeaderValue::from_str(value).map_err(|e| broken(e.to_string()))?);
        }
        let stream = TcpStream::connect(self.door()).await.map_err(|e| fault(e.to_string(), BEFORE))?;
        match timeout(HOP_WITHIN, client_async(request, stream)).await {
            Ok(Ok((socket, _))) => {
                self.socket = Some(socket);
                Ok("101 Switching Protocols.".into())
            }
            Ok(Err(Error::Http(answer))) if answer.status() == StatusCode::FORBIDDEN => Err(fault(
                "403: the handshake's Origin was not accepted (a browser shows this as close code 1006).",
                HOSTS,
            )),
            Ok(Err(Error::Http(answer))) => {
                Err(broken(format!("The handshake was answered with {}.", answer.status())))
            }
            Ok(Err(error)) => Err(broken(format!("The handshake broke off: {error}."))),
            Err(_) => Err(broken(format!("No answer to the handshake within {HOP_WITHIN:?}."))),
        }
    }

    async fn first_frame(&mut self) -> Outcome {
        let broken = |why: String| fault(why, RESTART);
        let socket = self.socket.as_mut().ok_or_else(|| broken("There is no connection.".into()))?;
        let mut greeting = vec![2, 0, 0, 0, 0, 0, 0, 0, 0]; // control; ids of this message and of the last one seen
        greeting.extend_from_slice(&(GREETING.len() as u32).to_be_bytes());
        greeting.extend_from_slice(GREETING.as_bytes());
        socket.send(Message::binary(greeting)).await.map_err(|e| broken(format!("The stream broke off: {e}.")))?;
        let heard = timeout(HOP_WITHIN, socket.next()).await;
        let outcome = match heard {
            Ok(Some(Ok(message))) if message.is_binary() || message.is_text() => {
                Ok(format!("{} bytes from the editor's server.", message.len()))
            }
            Ok(Some(Ok(message))) => Err(broken(format!("Instead of a greeting came {message:?}."))),
            Ok(Some(Err(error))) => Err(broken(format!("The stream broke off: {error}."))),
            Ok(None) => Err(broken("The stream ended without a word.".into())),
            Err(_) => Err(broken(format!("The editor's server said nothing within {HOP_WITHIN:?}."))),
        };
        self.socket = None;
        outcome
    }

    /// Where the IDE listener answers on this machine.
    fn door(&self) -> SocketAddr {
        let at = self.gateway.ide_at;
        if at.ip().is_unspecified() { (IpAddr::V4(Ipv4Addr::LOCALHOST), at.port()).into() } else { at }
    }

    async fn fetch(&self, path: &str) -> Result<(Response<()>, Bytes), String> {
        let asked = timeout(HOP_WITHIN, self.ask(path)).await;
        asked.unwrap_or_else(|_| Err(format!("No answer within {HOP_WITHIN:?}.")))
    }

    async fn ask(&self, path: &str) -> Result<(Response<()>, Bytes), String> {
        let told = |e: &dyn std::fmt::Display| format!("The way to the gateway's own IDE listener broke off: {e}.");
        let stream = TcpStream::connect(self.door()).await.map_err(|e| told(&e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| told(&e))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the doctor's connection ended");
            }
        });
        let request = Request::get(path)
            .header(header::HOST, &self.host)
            .header(header::COOKIE, &self.cookie)
            .body(Empty::<Bytes>::new())
            .map_err(|e| told(&e))?;
        let (parts, body) = sender.send_request(request).await.map_err(|e| told(&e))?.into_parts();
        let body = Limited::new(body, PAGE_BYTES).collect().await.map_err(|e| told(&e))?.to_bytes();
        Ok((Response::from_parts(parts, ()), body))
    }
}

fn shown(value: Option<&HeaderValue>) -> String {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The `detail` of a problem, if it is one.
fn detail_of(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    problem.and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned())).unwrap_or_default()
}

/// A reference as a browser resolves it from `base`, a path; `None` if it leads away from this origin.
fn joined(base: &str, reference: &str) -> Option<String> {
    let origin = url::Url::parse("http://here").ok()?;
    let to = origin.join(base).ok()?.join(reference).ok()?;
    (to.origin() == origin.origin()).then(|| to[url::Position::BeforePath..].to_owned())
}

/// The first script or style that a page loads from where it is.
fn asset_in(html: &str) -> Option<String> {
    let named = html.match_indices("src=\"").chain(html.match_indices("href=\""));
    let values = named.filter_map(|(at, name)| html[at + name.len()..].split('"').next());
    let is_asset = |value: &&str| {
        let path = value.split('?').next().unwrap_or_default();
        (path.ends_with(".js") || path.ends_with(".css")) && !value.contains("://")
    };
    values.filter(is_asset).map(|value| value.replace("&amp;", "&")).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_followed_as_browsers_do() {
        for (base, reference, to) in [
            ("/__ide/7/", "./?folder=/x", Some("/__ide/7/?folder=/x")),
            ("/__ide/7/?a", "stable-1/x.js", Some("/__ide/7/stable-1/x.js")),
            ("/__ide/7/", "/__ide/7/y", Some("/__ide/7/y")),
            ("/", "../x", Some("/x")),
            ("/__ide/7/", "https://elsewhere.test/", None),
            ("/__ide/7/", "//elsewhere.test/", None),
        ] {
            assert_eq!(joined(base, reference).as_deref(), to, "{base} {reference}");
        }
    }

    #[test]
    fn a_pages_first_asset_is_found() {
        let page = r#"<link href="https://cdn.test/a.css"><link rel="manifest" href="./manifest.json"><script src="./_static/a.js?x=1&amp;y"></script>"#;
        assert_eq!(asset_in(page).as_deref(), Some("./_static/a.js?x=1&y"));
        assert_eq!(asset_in("<p>hello"), None);
    }
}
