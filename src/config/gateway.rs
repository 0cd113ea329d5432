//! Settings of the gateway: the same sources and rules as the agent's; its file is `gateway.toml` in the data folder,
//! its variables begin with `ZLH_GATEWAY_`.
use super::{
    Fault, Origins, Setting, Sources,
    loading::{Entry, Loading, Rules, flag_entries},
    table::settings,
    value::Slot,
};
use crate::model::gateway::settings::GatewaySettings;
use std::time::Duration;

const DEFAULT_DATA: &str = "/var/lib/zlh-gateway";

/// All sources together, or everything that is wrong with them.
pub fn load(sources: &Sources) -> Result<(GatewaySettings, Origins), Vec<Fault>> {
    let mut loading = Loading::new(Rules { table: TABLE, prefix: "ZLH_GATEWAY_", names: &[] });
    let env = loading.environment(&sources.env);
    let set = loading.set_flags(&sources.set);
    let late: Vec<Entry> = env.into_iter().chain(set).chain(flag_entries(&sources.flags)).collect();
    let file = loading.file(sources.file.as_deref(), &late, ("data", DEFAULT_DATA, "gateway.toml"));
    for entry in file.iter().chain(&late) {
        loading.apply(entry);
    }
    check_together(&mut loading);
    if loading.faults.is_empty() { Ok((loading.settings, loading.origins)) } else { Err(loading.faults) }
}

fn check_together(loading: &mut Loading<GatewaySettings>) {
    let s = &loading.settings;
    let mut faults = Vec::new();
    let mut fault = |key: &str, problem: &str| faults.push(Fault::new(loading.origins.of(key), key, problem));
    if s.listen == s.ide_listen && s.listen.port() != 0 {
        fault("ide_listen", "the same as listen: the IDE needs an origin of its own");
    }
    if s.ide_public_url.is_some() && s.ide_public_url == s.public_url {
        fault("ide_public_url", "the same as public_url: a workspace's page must not share the portal's origin");
    }
    if s.velocity.url.is_some() != s.velocity.secret_file.is_some() {
        fault("velocity.url", "needs velocity.secret_file, and that needs it");
    }
    loading.faults.append(&mut faults);
}

/// All rows, in the order they are shown.
pub fn table() -> &'static [Setting<GatewaySettings>] {
    TABLE
}

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}
const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
const DAY: Duration = s(86_400);
const HOUR: Duration = s(3_600);

#[rustfmt::skip]
static TABLE: &[Setting<GatewaySettings>] = settings! {
    "data", "Folder of the database, the keys, and gateway.toml.", |x| Slot::Folder(&mut x.data);
    "listen", "Where API and portal listen.", |x| Slot::Address(&mut x.listen);
    "ide_listen", "Where browser IDEs are served, an origin of their own.", |x| Slot::Address(&mut x.ide_listen);
    "database", "PostgreSQL by URL; without it SQLite in the data folder.", |x| Slot::StoreUrl(&mut x.database, &["postgres://", "postgresql://"]);
    "redis", "Redis by URL, for the status cache; without it memory.", |x| Slot::StoreUrl(&mut x.redis, &["redis://", "rediss://", "redis+unix://", "unix://"]);
    "artifacts_url", "Address of the artifact server.", |x| Slot::OptionalUrl(&mut x.artifacts_url);
    "public_url", "How browsers reach the API; https makes its cookies Secure.", |x| Slot::OptionalUrl(&mut x.public_url);
    "ide_public_url", "How browsers reach the IDE listener.", |x| Slot::OptionalUrl(&mut x.ide_public_url);
    "trusted_proxies", "Proxies before this gateway, whose X-Forwarded-For is believed; without any, none is.", |x| Slot::Networks(&mut x.trusted_proxies);
    "ide_host_suffix", "Host mode: each IDE at dev-<vmid>.<suffix>.", |x| Slot::HostName(&mut x.ide_host_suffix);
    "key_file", "Keys that encrypt agent tokens and sign IDE tokens; without it gateway.key in the data folder.", |x| Slot::OptionalFile(&mut x.key_file);
    "refresh", "How soon what another process wrote into the database is noticed.", |x| Slot::Time(&mut x.refresh, ms(10)..=s(60));

    "sessions.lifetime", "How long a login holds.", |x| Slot::Time(&mut x.sessions.lifetime, s(1)..=DAY * 90);
    "sessions.per_user", "Sessions of one person; one more ends the oldest.", |x| Slot::Count(&mut x.sessions.per_user, 1..=10_000);
    "sessions.tokens_per_user", "API tokens of one person; one more ends the oldest.", |x| Slot::Count(&mut x.sessions.tokens_per_user, 1..=10_000);
    "login.burst", "Tries of one name from one address before they are slowed down.", |x| Slot::Count(&mut x.login.burst, 1..=10_000);
    "login.refill", "After this time one more try is granted.", |x| Slot::Time(&mut x.login.refill, ms(1)..=HOUR);
    "login.parallel", "Passwords checked at a time; each takes 19 MiB.", |x| Slot::Count(&mut x.login.parallel, 1..=64);
    "ide.token_lifetime", "Life of the token that opens an IDE once.", |x| Slot::Time(&mut x.ide.token_lifetime, s(1)..=HOUR);
    "ide.cookie_lifetime", "Life of the IDE cookie; use renews it.", |x| Slot::Time(&mut x.ide.cookie_lifetime, s(1)..=DAY);
    "tunnel.connect_timeout", "Time to reach a workspace.", |x| Slot::Time(&mut x.tunnel.connect_timeout, ms(10)..=HOUR);
    "tunnel.response_timeout", "Time until a workspace begins to answer.", |x| Slot::Time(&mut x.tunnel.response_timeout, ms(10)..=HOUR);
    "tunnel.upstream_idle", "How long an unused connection to a workspace is kept; Node.js closes its own after 5 s.", |x| Slot::Time(&mut x.tunnel.upstream_idle, Duration::ZERO..=HOUR);
    "tunnel.upstream_connections", "Unused connections kept to one workspace by each of the threads.", |x| Slot::Count(&mut x.tunnel.upstream_connections, 0..=10_000);
    "tunnel.threads", "Threads that carry the IDE's traffic; a connection stays on the one that accepted it.", |x| Slot::Count(&mut x.tunnel.threads, 1..=64);
    "requests.per_second", "Requests of one person a second, averaged.", |x| Slot::Count(&mut x.requests.per_second, 1..=1_000_000);
    "requests.burst", "Requests of one person at once.", |x| Slot::Count(&mut x.requests.burst, 1..=1_000_000);
    "requests.idempotency", "How long an Idempotency-Key is remembered.", |x| Slot::Time(&mut x.requests.idempotency, s(1)..=DAY * 30);
    "requests.streams_per_user", "Event streams and consoles of one person at a time.", |x| Slot::Count(&mut x.requests.streams_per_user, 1..=100_000);
    "forward.connect", "Time to reach an agent.", |x| Slot::Time(&mut x.forward.connect, ms(10)..=s(60));
    "forward.idle", "Time without a byte either way until an agent counts as gone.", |x| Slot::Time(&mut x.forward.idle, ms(10)..=HOUR);
    "forward.keep", "Connections to one agent kept for the next request.", |x| Slot::Count(&mut x.forward.keep, 0..=1000);
    "agents.allow_loopback", "May agents be on this machine? auto: if the gateway itself listens on loopback alone.", |x| Slot::AutoFlag(&mut x.agents.allow_loopback);
    "agents.allow_link_local", "May agents have link-local addresses, where clouds keep their metadata?", |x| Slot::Flag(&mut x.agents.allow_link_local);
    "audit.keep", "Entries of the audit log kept.", |x| Slot::Count(&mut x.audit.keep, 1000..=1_000_000_000);
    "velocity.url", "Bridge plugin of a Velocity proxy that game servers are registered with.", |x| Slot::OptionalUrl(&mut x.velocity.url);
    "velocity.secret_file", "File with the secret shared with that plugin.", |x| Slot::OptionalFile(&mut x.velocity.secret_file);
    "velocity.interval", "How often the proxy's list is compared with ours.", |x| Slot::Time(&mut x.velocity.interval, ms(10)..=HOUR);

    "limits.body_bytes", "Largest JSON request body.", |x| Slot::Size(&mut x.limits.body_bytes, 1 << 10..=64 << 20);
    "limits.header_bytes", "Largest request head.", |x| Slot::Size(&mut x.limits.header_bytes, 8 << 10..=1 << 20);
    "limits.headers", "Most header lines of a request.", |x| Slot::Count(&mut x.limits.headers, 10..=1000);
    "limits.connections", "Connections at a time, to each listener.", |x| Slot::Count(&mut x.limits.connections, 8..=1_000_000);
    "limits.header_timeout", "Time for a whole request head to arrive.", |x| Slot::Time(&mut x.limits.header_timeout, ms(10)..=HOUR);
    "limits.body_timeout", "Time for a whole JSON request body to arrive.", |x| Slot::Time(&mut x.limits.body_timeout, ms(10)..=HOUR);
    "limits.stall", "A client that takes no byte of an answer for this long is cut off.", |x| Slot::Time(&mut x.limits.stall, ms(10)..=HOUR);
    "limits.drain", "Time open connections get to finish when the gateway goes down.", |x| Slot::Time(&mut x.limits.drain, Duration::ZERO..=HOUR);
    "runtime.worker_threads", "Threads that serve requests.", |x| Slot::Count(&mut x.runtime.worker_threads, 1..=64);
};

#[cfg(test)]
mod tests;
