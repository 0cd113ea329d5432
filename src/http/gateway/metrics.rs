//! For monitoring: `/metrics` of the gateway itself, and `/exporters`, which tells Prometheus where the agents' are.
use super::Gateway;
use crate::http::{
    Response,
    agent::metrics::{CONTENT_TYPE, Sheet},
    problem::{Code, Problem},
    server::Traffic,
};
use crate::model::gateway::Server;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use utoipa::ToSchema;

#[utoipa::path(get, path = "/metrics", tag = "monitoring", responses((status = 200, content_type = "application/openmetrics-text", body = String), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn metrics(State(gateway): State<Arc<Gateway>>) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("zlh_gateway");
    registry.register_collector(Box::new(Scrape { gateway }));
    let mut exposition = String::new();
    text::encode(&mut exposition, &registry).map_err(|e| Code::INTERNAL.because(e.to_string()))?;
    let mut response = Response::new(exposition.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

struct Scrape {
    gateway: Arc<Gateway>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        let build = &self.gateway.build;
        let labels = [("version", build.version.as_str()), ("commit", &build.commit)];
        sheet.metric("build", "Which gateway this is", MetricType::Info)?.encode_info(&labels)?;
        let directory = self.gateway.doorkeeper.directory();
        let (people, servers) = (directory.people(), directory.servers());
        let known = servers.by_vmid.keys().filter(|vmid| self.gateway.statuses.read(**vmid).is_some()).count();
        sheet.gauge("users", "People who may log in", people.users.len() as u64)?;
        sheet.gauge("credentials", "Sessions and tokens that hold", people.by_id.len() as u64)?;
        sheet.gauge("servers", "Servers in the registry", servers.by_vmid.len() as u64)?;
        sheet.gauge("servers_known", "Servers whose status is known", known as u64)?;
        let ide = self.gateway.tunnel.traffic();
        let faces = [("api", &self.gateway.traffic), ("ide", &ide)];
        let mut open = sheet.metric("connections", "Open connections", MetricType::Gauge)?;
        for (name, traffic) in faces {
            open.encode_family(&[("listener", name)])?.encode_gauge(&traffic.open.load(Relaxed))?;
        }
        self.totals(&mut sheet, faces)
    }
}

/// Name, meaning and place of a counter of the server.
type Total = (&'static str, &'static str, fn(&Traffic) -> u64);

impl Scrape {
    fn totals(&self, sheet: &mut Sheet<'_>, faces: [(&str, &Arc<Traffic>); 2]) -> fmt::Result {
        let totals: [Total; 4] = [
            ("connections_accepted", "Connections accepted", |t| t.accepted.load(Relaxed)),
            ("connections_refused", "Connections past the limit", |t| t.refused.load(Relaxed)),
            ("accept_errors", "Failures to accept a connection", |t| t.accept_errors.load(Relaxed)),
            ("requests", "Requests received", |t| t.requests.load(Relaxed)),
        ];
        for (name, meaning, read) in totals {
            let mut total = sheet.metric(name, meaning, MetricType::Counter)?;
            for (listener, traffic) in faces {
                let labels = [("listener", listener)];
                let mut one = total.encode_family(&labels)?;
                one.encode_counter::<NoLabelSet, _, u64>(&read(traffic), None)?;
            }
        }
        Ok(())
    }
}

/// One target of Prometheus' http_sd.
#[derive(Serialize, ToSchema)]
pub struct Group {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

/// Every agent as a scrape target (Prometheus `http_sd_configs`); an empty list is a list.
#[utoipa::path(get, path = "/exporters", tag = "monitoring", responses((status = 200, body = Vec<Group>), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn exporters(State(gateway): State<Arc<Gateway>>) -> Json<Vec<Group>> {
    let directory = gateway.doorkeeper.directory();
    let (people, servers) = (directory.people(), directory.servers());
    let group = |server: &Arc<Server>| {
        let target = SocketAddr::new(server.address, server.agent_port).to_string();
        let owner = people.users.get(&server.owner).map_or_else(String::new, |user| user.name.clone());
        let labels = BTreeMap::from([
            ("job", "zlh-agent".to_owned()),
            ("vmid", server.vmid.to_string()),
            ("instance", server.vmid.to_string()),
            ("container_type", server.container_type.to_string()),
            ("name", server.name.clone()),
            ("owner", owner),
        ]);
        Group { targets: [target], labels }
    };
    Json(servers.by_vmid.values().map(group).collect())
}
