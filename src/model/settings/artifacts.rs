//! Every limit and timeout of `zlh artifacts serve` as plain values. Field paths are the dotted keys.
use super::Limits;
use std::time::Duration;

/// Settings of the artifact server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArtifactsSettings {
    pub limits: ReadLimits,
    pub runtime: Threads,
}

/// What a server that only reads has to bound; the words are those of [`Limits`].
#[derive(Clone, Debug, PartialEq)]
pub struct ReadLimits {
    pub header_bytes: usize,
    pub headers: usize,
    pub connections: usize,
    pub header_timeout: Duration,
    pub stall: Duration,
    pub drain: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Threads {
    /// Serve requests.
    pub worker_threads: usize,
    /// Wait for the disk.
    pub disk_threads: usize,
}

impl ReadLimits {
    /// As the HTTP server shared with the agent takes them.
    pub fn for_server(&self) -> Limits {
        Limits {
            header_bytes: self.header_bytes,
            headers: self.headers,
            connections: self.connections,
            header_timeout: self.header_timeout,
            stall: self.stall,
            drain: self.drain,
            ..Limits::default()
        }
    }
}

impl Default for ReadLimits {
    fn default() -> ReadLimits {
        let Limits { header_bytes, headers, connections, header_timeout, stall, drain, .. } = Limits::default();
        ReadLimits { header_bytes, headers, connections, header_timeout, stall, drain }
    }
}

impl Default for Threads {
    fn default() -> Threads {
        Threads { worker_threads: 2, disk_threads: 8 }
    }
}
