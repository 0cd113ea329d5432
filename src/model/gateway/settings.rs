//! Every limit, timeout and path of `zlh gateway` as plain values. Field paths are the dotted keys.
use crate::model::{
    network::Network,
    settings::{Limits, Secret},
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Settings of `zlh gateway`.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewaySettings {
    /// Database, key and what else the gateway keeps.
    pub data: PathBuf,
    /// API and portal.
    pub listen: SocketAddr,
    /// Browser IDEs, an origin of their own.
    pub ide_listen: SocketAddr,
    /// `postgres://…`; SQLite in `data` if there is none.
    pub database: Option<Secret>,
    /// `redis://…`; statuses stay in memory if there is none.
    pub redis: Option<Secret>,
    pub artifacts_url: Option<String>,
    /// How browsers reach the API; `https` makes cookies Secure.
    pub public_url: Option<String>,
    pub ide_public_url: Option<String>,
    /// Proxies before this gateway: only what they say of a request's sender (`X-Forwarded-For`) is believed.
    pub trusted_proxies: Vec<Network>,
    /// Host mode: `dev-<vmid>.<suffix>`.
    pub ide_host_suffix: Option<String>,
    /// Keys that encrypt agent tokens and sign IDE tokens; `gateway.key` in `data` if not named.
    pub key_file: Option<PathBuf>,
    /// How soon what another process wrote into the database is noticed.
    pub refresh: Duration,
    pub sessions: Sessions,
    pub login: Login,
    pub ide: Ide,
    pub tunnel: Tunnel,
    pub requests: Requests,
    pub forward: Forward,
    pub agents: Agents,
    pub audit: Audit,
    pub velocity: Velocity,
    pub limits: ServerLimits,
    pub runtime: Runtime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    pub lifetime: Duration,
    /// Sessions of one person; one more ends the oldest.
    pub per_user: usize,
    /// API tokens of one person.
    pub tokens_per_user: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// Tries of one name from one address before they are slowed down.
    pub burst: u32,
    /// Time after which one more try is granted.
    pub refill: Duration,
    /// Passwords checked at a time; each takes memory.
    pub parallel: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ide {
    /// Life of the token that opens the IDE once.
    pub token_lifetime: Duration,
    /// Life of the cookie; use renews it. An editor that is only typed in sends no request, so a shorter one would lock
    /// it out when the gateway restarts; the cookie ends with its login in any case.
    pub cookie_lifetime: Duration,
}

/// The way into browser IDEs.
#[derive(Clone, Debug, PartialEq)]
pub struct Tunnel {
    /// Time to reach a workspace.
    pub connect_timeout: Duration,
    /// Time until the head of a workspace's answer.
    pub response_timeout: Duration,
    /// A connection to a workspace is kept this long without use. Less than the 5 s after which Node.js closes it, so
    /// that no request meets a closing one, and so that an idle editor is not kept awake.
    pub upstream_idle: Duration,
    /// Unused connections kept to one workspace by each of the threads.
    pub upstream_connections: usize,
    /// Threads that carry the traffic; a connection stays on the one that accepted it.
    pub threads: usize,
}

impl Default for Tunnel {
    fn default() -> Tunnel {
        let s = Duration::from_secs;
        Tunnel {
            connect_timeout: s(5),
            response_timeout: s(300),
            upstream_idle: s(4),
            upstream_connections: 64,
            threads: 2,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// Requests of one person a second, averaged.
    pub per_second: u32,
    pub burst: u32,
    /// How long an Idempotency-Key is remembered.
    pub idempotency: Duration,
    /// Streams (events, consoles) of one person at a time.
    pub streams_per_user: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Time to reach an agent.
    pub connect: Duration,
    /// Time without a byte either way until an agent counts as gone.
    pub idle: Duration,
    /// Connections to one agent kept for the next request.
    pub keep: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Agents {
    /// `None`: only if the gateway itself listens on loopback alone.
    pub allow_loopback: Option<bool>,
    pub allow_link_local: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Entries kept.
    pub keep: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Velocity {
    /// Where the bridge plugin of the proxy listens; nothing is registered if there is none.
    pub url: Option<String>,
    /// File with the secret shared with it.
    pub secret_file: Option<PathBuf>,
    /// How often the proxy's list is compared with ours.
    pub interval: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServerLimits {
    pub body_bytes: usize,
    pub header_bytes: usize,
    pub headers: usize,
    pub connections: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub stall: Duration,
    pub drain: Duration,
}

impl ServerLimits {
    /// As the HTTP server shared with the agent takes them.
    pub fn for_server(&self) -> Limits {
        Limits {
            body_bytes: self.body_bytes,
            header_bytes: self.header_bytes,
            headers: self.headers,
            connections: self.connections,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            stall: self.stall,
            drain: self.drain,
            ..Limits::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    pub worker_threads: usize,
}

impl Default for GatewaySettings {
    fn default() -> GatewaySettings {
        let s = Duration::from_secs;
        GatewaySettings {
            data: PathBuf::from("/var/lib/zlh-gateway"),
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            ide_listen: SocketAddr::from(([0, 0, 0, 0], 8081)),
            database: None,
            redis: None,
            artifacts_url: None,
            public_url: None,
            ide_public_url: None,
            trusted_proxies: Vec::new(),
            ide_host_suffix: None,
            key_file: None,
            refresh: Duration::from_millis(300),
            sessions: Sessions { lifetime: s(12 * 3600), per_user: 50, tokens_per_user: 50 },
            login: Login { burst: 5, refill: s(12), parallel: 2 },
            ide: Ide { token_lifetime: s(300), cookie_lifetime: s(8 * 3600) },
            tunnel: Tunnel::default(),
            requests: Requests { per_second: 50, burst: 500, idempotency: s(86_400), streams_per_user: 100 },
            forward: Forward { connect: s(2), idle: s(60), keep: 8 },
            agents: Agents { allow_loopback: None, allow_link_local: false },
            audit: Audit { keep: 1_000_000 },
            velocity: Velocity { url: None, secret_file: None, interval: s(10) },
            limits: ServerLimits::default(),
            runtime: Runtime { worker_threads: 2 },
        }
    }
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        let s = Duration::from_secs;
        ServerLimits {
            body_bytes: 1 << 20,
            header_bytes: 32 << 10,
            headers: 100,
            connections: 10_000,
            header_timeout: s(10),
            body_timeout: s(30),
            stall: s(60),
            drain: s(5),
        }
    }
}
