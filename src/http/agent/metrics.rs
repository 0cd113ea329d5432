//! `/metrics`: OpenMetrics text, formed from the newest snapshot and the server's counters at each scrape.
use super::Agent;
use crate::{
    actors::status::Published,
    http::{
        Response,
        problem::{Code, Problem},
    },
    model::{
        crash::Classification,
        phase::State as Phase,
        snapshot::{Snapshot, Usage},
    },
};
use axum::{
    extract::State,
    http::{HeaderValue, header},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub(in crate::http) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[utoipa::path(get, path = "/metrics", tag = "agent", responses((status = 200, content_type = "application/openmetrics-text", body = String), (status = 401, body = Problem)))]
pub async fn metrics(State(agent): State<Arc<Agent>>) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("zlh");
    registry.register_collector(Box::new(Scrape { published: agent.status.current(), agent }));
    let mut exposition = String::new();
    text::encode(&mut exposition, &registry).map_err(|e| Code::INTERNAL.because(e.to_string()))?;
    let mut response = Response::new(exposition.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

struct Scrape {
    published: Arc<Published>,
    agent: Arc<Agent>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("revision", &self.published.snapshot.revision).finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        let snapshot = &self.published.snapshot;
        self.identity(&mut sheet)?;
        workload(&mut sheet, snapshot)?;
        self.crashes(&mut sheet)?;
        usage(&mut sheet, &snapshot.usage)?;
        self.agent(&mut sheet)
    }
}

impl Scrape {
    fn identity(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let vmid = self.published.snapshot.vmid.to_string();
        let build = &self.agent.build;
        let labels = [("version", build.version.as_str()), ("commit", &build.commit), ("vmid", &vmid)];
        sheet.metric("agent", "Which agent this is", MetricType::Info)?.encode_info(&labels)
    }

    /// Classes of the reports still kept; the running total is `zlh_crashes_total`.
    fn crashes(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let mut kept = sheet.metric("crash_reports", "Crash reports kept, by class", MetricType::Gauge)?;
        for (class, name) in CLASSES {
            let count = self.published.crashes.iter().filter(|crash| crash.verdict.classification == class).count();
            kept.encode_family(&[("classification", name)])?.encode_gauge(&(count as u64))?;
        }
        Ok(())
    }

    fn agent(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let traffic = &self.agent.traffic;
        sheet.gauge("console_viewers", "Viewers of the console", self.agent.viewers.load(Relaxed))?;
        sheet.counter("console_missed_bytes", "Console bytes that slow viewers missed", &self.agent.missed_bytes)?;
        sheet.gauge("http_connections", "Open connections", traffic.open.load(Relaxed))?;
        sheet.counter("http_connections_accepted", "Connections accepted", &traffic.accepted)?;
        sheet.counter("http_connections_refused", "Connections past the limit", &traffic.refused)?;
        sheet.counter("http_accept_errors", "Failures to accept a connection", &traffic.accept_errors)?;
        sheet.counter("http_requests", "Requests received", &traffic.requests)
    }
}

const CLASSES: [(Classification, &str); 5] = [
    (Classification::Oom, "oom"),
    (Classification::MissingDependency, "missing_dependency"),
    (Classification::ModOrPluginError, "mod_or_plugin_error"),
    (Classification::NonzeroExit, "nonzero_exit"),
    (Classification::UnexpectedExit, "unexpected_exit"),
];

fn workload(sheet: &mut Sheet<'_>, snapshot: &Snapshot) -> fmt::Result {
    let mut states = sheet.metric("state", "1 for the state the workload is in", MetricType::Gauge)?;
    for state in Phase::ALL {
        let is = u64::from(state == snapshot.state);
        states.encode_family(&[("state", state.as_str())])?.encode_gauge(&is)?;
    }
    sheet.gauge("ready", "1 when players can join", u64::from(snapshot.ready))?;
    sheet.gauge("uptime_seconds", "Age of the running process", snapshot.uptime_seconds)?;
    sheet.gauge("restart_attempt", "Restarts in the current row of crashes", u64::from(snapshot.restart_attempt))?;
    sheet.counter("crashes", "Unexpected exits", &AtomicU64::new(snapshot.crash_count))?;
    if let Some(players) = &snapshot.players {
        sheet.gauge("players_online", "Players on the server", u64::from(players.online))?;
        sheet.gauge("players_max", "Places on the server", u64::from(players.max))?;
    }
    Ok(())
}

fn usage(sheet: &mut Sheet<'_>, usage: &Usage) -> fmt::Result {
    sheet.gauge("cpu_percent", "Processor time of the workload, 100 = one core", usage.cpu_percent)?;
    sheet.gauge("memory_bytes", "Memory of the workload", usage.memory_bytes)?;
    sheet.gauge("memory_limit_bytes", "Memory the workload may use, 0 = unlimited", usage.memory_limit_bytes)?;
    sheet.gauge("disk_used_bytes", "Disk used", usage.disk_used_bytes)?;
    sheet.gauge("disk_free_bytes", "Disk free", usage.disk_free_bytes)?;
    sheet.gauge("network_received_bytes", "Bytes received", usage.rx_bytes)?;
    sheet.gauge("network_sent_bytes", "Bytes sent", usage.tx_bytes)
}

/// Writes metrics by the line.
pub(in crate::http) struct Sheet<'a>(pub DescriptorEncoder<'a>);

impl Sheet<'_> {
    pub fn metric<'s>(
        &'s mut self,
        name: &'s str,
        help: &'s str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.metric(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) -> fmt::Result {
        self.metric(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value.load(Relaxed), None)
    }
}
