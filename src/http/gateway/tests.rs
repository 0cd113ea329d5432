//! A gateway over real sockets, with its database, and a small agent behind it that says what it was sent.
mod agent;
mod door;
mod forward;
mod ide;
mod matrix;
mod routes;
mod streams;

use super::{Gateway, GatewayFace};
use crate::{
    actors::{
        directory::Directory,
        doorkeeper::{Doorkeeper, Made, TokenWish},
        registry::{Registry, Wish},
        runtime_catalog::RuntimeCatalog,
        statuses::Statuses,
    },
    host::database::Database,
    http::{agent::Build, server},
    model::{
        gateway::{Audience, ContainerType, Role, Scope, settings::GatewaySettings},
        ids::Vmid,
        settings::Secret,
    },
};
use agent::FakeAgent;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

/// Longer than anything takes that works.
const DEADLINE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse battery";
const AGENT_TOKEN: &str = "the-agents-own-secret";
const GAME: Vmid = Vmid(5001);
const DEV: Vmid = Vmid(6001);
/// A server whose agent is not there.
const DEAD: Vmid = Vmid(5009);

struct Fixture {
    gateway: Arc<Gateway>,
    at: SocketAddr,
    agent: FakeAgent,
    http: reqwest::Client,
    /// Sessions.
    root: Made,
    ann: Made,
    bob: Made,
    server: JoinHandle<usize>,
    _folder: TempDir,
}

impl Fixture {
    async fn new() -> Fixture {
        Fixture::with(|_| {}).await
    }

    /// Ann owns a game, a dev container and a dead server; bob nothing; root is an admin.
    async fn with(change: impl FnOnce(&mut GatewaySettings)) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = GatewaySettings::default();
        settings.login.burst = 100;
        settings.requests.burst = 100_000;
        change(&mut settings);
        let settings = Arc::new(settings);
        let database = Database::sqlite(&folder.path().join("gateway.sqlite")).await.unwrap();
        let directory = Directory::open(database, folder.path().join("gateway.key"), settings.refresh).await.unwrap();
        let registry = Registry::new(directory.clone(), true, false, Vec::new());
        let doorkeeper = Doorkeeper::new(directory, settings.clone());
        for (name, role) in [("root", Role::Admin), ("ann", Role::Owner), ("bob", Role::Owner)] {
            doorkeeper.add_user(name, role, PASSWORD.into()).await.unwrap();
        }
        let agent = FakeAgent::start().await;
        for (vmid, kind, port) in [
            (GAME, ContainerType::Game, agent.at.port()),
            (DEV, ContainerType::Dev, agent.at.port()),
            (DEAD, ContainerType::Game, 1),
        ] {
            registry.add(wish(vmid, kind, port)).await.unwrap();
        }
        let login = async |name| doorkeeper.login(name, PASSWORD.into(), [127, 0, 0, 1].into()).await.unwrap();
        let (root, ann, bob) = (login("root").await, login("ann").await, login("bob").await);
        let build = Build { version: "v0.0.0".into(), commit: "test".into() };
        let ide_at = SocketAddr::from(([127, 0, 0, 1], 8081));
        let (catalog, statuses) = (RuntimeCatalog::new(None), Statuses::default());
        let gateway = Arc::new(Gateway::new(doorkeeper, registry, catalog, statuses, settings, ide_at, build));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let (face, limits, traffic) = (GatewayFace::new(&gateway), gateway.limits.clone(), gateway.traffic.clone());
        let server =
            tokio::spawn(async move { server::serve(listener, face, &limits, traffic, std::future::pending()).await });
        // Another test may have been first.
        _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Fixture { gateway, at, agent, http, root, ann, bob, server, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).timeout(DEADLINE)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    async fn token(&self, of: &Made, scopes: &[Scope], audience: Audience) -> Made {
        let wish = TokenWish { name: "t".into(), scopes: scopes.to_vec(), audience, expires_at: None };
        self.gateway.doorkeeper.make_token(&of.user, wish).await.unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn wish(vmid: Vmid, container_type: ContainerType, agent_port: u16) -> Wish {
    Wish {
        vmid: vmid.0,
        name: format!("server {vmid}"),
        container_type,
        owner: "ann".into(),
        address: "127.0.0.1".into(),
        agent_port,
        ide_port: 9,
        agent_token: Some(Secret(AGENT_TOKEN.into())),
    }
}

trait As: Sized {
    fn by(self, who: &Made) -> Self;
}

impl As for RequestBuilder {
    fn by(self, who: &Made) -> Self {
        self.bearer_auth(&who.secret.0)
    }
}

/// Status and body, whatever it is.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Status and stable code of a problem.
async fn code(request: RequestBuilder) -> (u16, String) {
    let (status, body) = answer(request).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
