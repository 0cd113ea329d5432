//! The way into a browser IDE from the API's origin, and what stands behind the tunnel: the doorkeeper and the registry.
use super::{
    Gateway,
    tunnel::access::{Admitted, Cookie, Doors, Pass, Target},
};
use crate::{
    actors::{
        doorkeeper::{Doorkeeper, Issued},
        statuses::Statuses,
    },
    http::{
        Response,
        problem::{Code, Problem},
    },
    model::{
        gateway::{IdePass, Server},
        ids::Vmid,
    },
};
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, Request, header},
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Time an agent has to accept the start of its IDE.
const START_WITHIN: Duration = Duration::from_secs(5);

/// Checks a single-use token, sets the IDE's cookie and leads to the IDE. Where the IDE has another host name than the
/// API, the token is checked there: a cookie is for the host that sets it.
#[utoipa::path(get, path = "/api/dev/{id}/ide", tag = "ide", params(("id" = u32, Path,), ("token" = String, Query,)),
    responses((status = 302), (status = 401, body = Problem)))]
pub async fn bootstrap(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let vmid = super::door::vmid(&id).ok_or(Code::IDE_TOKEN)?;
    let query = query.unwrap_or_default();
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token=")).ok_or(Code::IDE_TOKEN)?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).ok_or(Code::HOST_MISSING)?;
    gateway.tunnel.bootstrap_elsewhere(vmid, token, host).await
}

/// The gateway as the tunnel sees it.
pub struct IdeDoors {
    doorkeeper: Doorkeeper,
    statuses: Statuses,
    agents: Client<HttpConnector, Empty<Bytes>>,
}

impl IdeDoors {
    pub fn new(doorkeeper: Doorkeeper, statuses: Statuses) -> IdeDoors {
        IdeDoors { doorkeeper, statuses, agents: Client::builder(TokioExecutor::new()).build(HttpConnector::new()) }
    }

    fn server(&self, vmid: Vmid) -> Option<Arc<Server>> {
        self.doorkeeper.directory().servers().one(vmid).cloned()
    }
}

struct Entered {
    doorkeeper: Doorkeeper,
    pass: Arc<IdePass>,
}

impl Pass for Entered {
    fn over(self: Arc<Self>) -> BoxFuture<'static, ()> {
        async move { self.doorkeeper.until_ide_over(&self.pass).await }.boxed()
    }
}

impl From<Issued> for Cookie {
    fn from(issued: Issued) -> Cookie {
        Cookie { value: issued.text, life: issued.lifetime }
    }
}

impl Doors for IdeDoors {
    fn target(&self, vmid: Vmid) -> Option<Target> {
        let server = self.server(vmid)?;
        Some(Target { ide: SocketAddr::from((server.address, server.ide_port)), agent_port: server.agent_port })
    }

    fn admit(&self, vmid: Vmid, cookie: &str) -> Option<Admitted> {
        let pass = self.doorkeeper.check_ide_cookie(cookie, vmid).ok()?;
        let renewed = self.doorkeeper.renewed_ide_cookie(&pass).map(Cookie::from);
        Some(Admitted { pass: Arc::new(Entered { doorkeeper: self.doorkeeper.clone(), pass }), renewed })
    }

    fn redeem(&self, vmid: Vmid, token: &str) -> BoxFuture<'static, Option<Cookie>> {
        let (doorkeeper, token) = (self.doorkeeper.clone(), token.to_owned());
        async move {
            let pass = doorkeeper.redeem_ide_token(&token, vmid).await;
            let pass = pass.inspect_err(|why| tracing::debug!(?why, vmid = vmid.0, "an IDE token opened nothing"));
            doorkeeper.ide_cookie(&pass.ok()?).ok().map(Cookie::from)
        }
        .boxed()
    }

    fn start(&self, vmid: Vmid) -> BoxFuture<'static, Result<(), String>> {
        let (server, agents) = (self.server(vmid), self.agents.clone());
        async move {
            let server = server.ok_or("The container is not registered any more.")?;
            let agent = SocketAddr::from((server.address, server.agent_port));
            let mut request = Request::post(format!("http://{agent}/dev/codeserver/start"));
            if let Some(token) = &server.agent_token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.0));
            }
            let request = request.body(Empty::new()).map_err(|e| format!("The agent cannot be asked: {e}"))?;
            match timeout(START_WITHIN, agents.request(request)).await {
                Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
                Ok(Ok(answer)) => Err(format!("The container's agent refused to start the IDE ({}).", answer.status())),
                Ok(Err(_)) => Err("The container's agent cannot be reached: is the container running?".into()),
                Err(_) => Err("The container's agent did not answer in time.".into()),
            }
        }
        .boxed()
    }

    fn condition(&self, vmid: Vmid) -> Option<String> {
        let cached = self.statuses.read(vmid)?;
        let status: Condition = serde_json::from_slice(&cached.shown()).ok()?;
        let registered = self.server(vmid).map(|server| server.ide_port);
        Some(match status {
            Condition { host_online: false, .. } => "The container itself does not answer: start it first.".into(),
            Condition { code_server_installed: Some(false), .. } => "No IDE is installed in this container.".into(),
            Condition { code_server_running: Some(false), .. } => "The container is up, its IDE is stopped.".into(),
            Condition { code_server_port: Some(port), .. } if registered.is_some_and(|known| known != port) => format!(
                "The container is up and its agent says that the IDE runs, at port {port} there. The registry's idePort is \
                 another: unless something maps one to the other, one of them is wrong."
            ),
            Condition { .. } => {
                "The container is up and its agent says that the IDE runs; it may still be starting.".into()
            }
        })
    }
}

/// What of a cached status tells why an IDE does not answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    host_online: bool,
    code_server_installed: Option<bool>,
    code_server_port: Option<u16>,
    code_server_running: Option<bool>,
}
