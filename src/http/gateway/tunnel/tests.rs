//! The tunnel as browsers, attackers and workspaces see it: a real socket before it, a raw one behind it.
mod fast_path;
mod hostile;
mod login;
mod messages;
mod streams;

use super::{
    Origin, Tunnel, TunnelFace,
    access::{Admitted, Cookie, Doors, Pass, Target},
};
use crate::{
    http::{server, tests::DEADLINE},
    model::{gateway::settings::GatewaySettings, ids::Vmid, settings::Limits},
};
use futures_util::future::BoxFuture;
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// A cookie of the fixture: `good-<vmid>` opens that container.
fn cookie(vmid: u32) -> String {
    format!("Cookie: zlh_dev_ide_token=good-{vmid}\r\n")
}

/// Of a gateway whose IDE listener is on port 8081.
fn origin(public: Option<&str>, suffix: Option<&str>) -> Origin {
    let settings = GatewaySettings {
        ide_public_url: public.map(str::to_owned),
        ide_host_suffix: suffix.map(str::to_owned),
        ..GatewaySettings::default()
    };
    Origin::new(&settings, 8081)
}

fn fresh(vmid: Vmid) -> Cookie {
    Cookie { value: format!("good-{vmid}"), life: Duration::from_secs(28_800) }
}

/// The gateway behind the tunnel, as a test wants it.
struct Scripted {
    target: watch::Sender<Option<Target>>,
    tokens: Mutex<HashSet<String>>,
    revoked: watch::Sender<u64>,
    renews: bool,
    starts: AtomicU32,
}

struct Epoch(watch::Receiver<u64>);

impl Pass for Epoch {
    fn over(self: Arc<Self>) -> BoxFuture<'static, ()> {
        let mut epoch = self.0.clone();
        Box::pin(async move { _ = epoch.wait_for(|epoch| *epoch > 0).await })
    }
}

impl Doors for Scripted {
    fn target(&self, _: Vmid) -> Option<Target> {
        self.target.borrow().clone()
    }
    fn admit(&self, vmid: Vmid, cookie: &str) -> Option<Admitted> {
        let good = cookie == format!("good-{vmid}") && *self.revoked.borrow() == 0;
        let renewed = self.renews.then(|| fresh(vmid));
        good.then(|| Admitted { pass: Arc::new(Epoch(self.revoked.subscribe())), renewed })
    }
    fn redeem(&self, vmid: Vmid, token: &str) -> BoxFuture<'static, Option<Cookie>> {
        let good = self.tokens.lock().unwrap().remove(&format!("{vmid}:{token}"));
        Box::pin(async move { good.then(|| fresh(vmid)) })
    }
    fn start(&self, _: Vmid) -> BoxFuture<'static, Result<(), String>> {
        self.starts.fetch_add(1, SeqCst);
        Box::pin(async { Ok(()) })
    }
    fn condition(&self, _: Vmid) -> Option<String> {
        Some("The container is <stopped>.".into())
    }
}

struct Fixture {
    addr: SocketAddr,
    doors: Arc<Scripted>,
    _shutdown: oneshot::Sender<()>,
}

impl Fixture {
    /// Before `upstream`, at plain `http://127.0.0.1:port`.
    async fn before(upstream: SocketAddr) -> Fixture {
        Fixture::with(upstream, origin(None, None), false, |_| {}).await
    }

    async fn with(
        upstream: SocketAddr,
        origin: Origin,
        renews: bool,
        adjust: impl FnOnce(&mut GatewaySettings),
    ) -> Fixture {
        let target = Target { ide: upstream, agent_port: 18888 };
        let doors = Arc::new(Scripted {
            target: watch::Sender::new(Some(target)),
            tokens: Mutex::new(["7:fresh".to_owned()].into()),
            revoked: watch::Sender::new(0),
            renews,
            starts: AtomicU32::new(0),
        });
        let mut settings = GatewaySettings::default();
        adjust(&mut settings);
        let face = TunnelFace::new(&Arc::new(Tunnel::new(doors.clone(), &settings, origin)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (shutdown, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let traffic = face.tunnel.traffic();
            let limits = Limits::default();
            server::serve(listener, face, &limits, traffic, async move { drop(stopped.await) }).await
        });
        Fixture { addr, doors, _shutdown: shutdown }
    }

    fn host(&self) -> String {
        format!("Host: {}\r\n", self.addr)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends these bytes and reads until the gateway closes, which the request should ask for.
    async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        all(&mut stream).await
    }

    /// A plain GET with the cookie of container 7 and more header lines.
    async fn fetch(&self, path: &str, more: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\n{}{}{more}Connection: close\r\n\r\n", self.host(), cookie(7))).await
    }

    fn revoke(&self) {
        self.doors.revoked.send_modify(|epoch| *epoch += 1);
    }
}

/// Everything until the other side closes; a reset is as good as an end.
async fn all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the gateway closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Lines of a head, in lower case.
fn has(reply: &str, line: &str) -> bool {
    let head = reply.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    head.lines().any(|l| l == line.to_ascii_lowercase())
}

/// The body, put together again if it came in chunks.
fn body(reply: &str) -> String {
    let (head, mut rest) = reply.split_once("\r\n\r\n").unwrap_or_default();
    if !has(head, "transfer-encoding: chunked") {
        return rest.to_owned();
    }
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &after[..size];
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

/// A workspace that records what it is sent, byte for byte, and answers each connection's first head with `answer`.
struct Workspace {
    addr: SocketAddr,
    seen: mpsc::UnboundedReceiver<String>,
}

impl Workspace {
    /// Answers each connection once and closes it.
    async fn answering(answer: impl Into<Vec<u8>>) -> Workspace {
        let answer: Vec<u8> = answer.into();
        Workspace::doing(move |mut stream, _| {
            let answer = answer.clone();
            async move {
                stream.write_all(&answer).await.unwrap();
            }
        })
        .await
    }

    /// `script` gets each connection and its first head.
    async fn doing<F, Fut>(script: F) -> Workspace
    where
        F: Fn(TcpStream, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (record, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let script = Arc::new(script);
            while let Ok((mut stream, _)) = listener.accept().await {
                let (record, script) = (record.clone(), script.clone());
                tokio::spawn(async move {
                    let head = head(&mut stream).await;
                    _ = record.send(head.clone());
                    script(stream, head).await;
                });
            }
        });
        Workspace { addr, seen }
    }

    async fn saw(&mut self) -> String {
        timeout(DEADLINE, self.seen.recv()).await.expect("a request reaches the workspace").unwrap()
    }

    fn saw_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

/// Bytes up to and with the empty line, and not one more.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match timeout(DEADLINE, stream.read_u8()).await {
            Ok(Ok(byte)) => bytes.push(byte),
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// An address where nobody listens: tcpmux, which is never given to whoever asks for any port.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A wait that must not be reached by what is being proven absent.
const MOMENT: Duration = Duration::from_millis(100);
