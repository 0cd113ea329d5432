//! The editor in the browser.
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// The editor of a dev container.
#[derive(Clone, Debug, PartialEq)]
pub struct Codeserver {
    pub port: u16,
    /// Address it listens on; loopback answers on it, too.
    pub bind: IpAddr,
    /// Start deadline: until `/healthz` answers.
    pub ready_within: Duration,
    /// During the set-up: how long it must stay up before it counts.
    pub settle: Duration,
    /// What `/absproxy/<port>/` tells the program behind it; `{vmid}` is filled in.
    pub abs_proxy_base_path: Option<String>,
    /// Stopped when nobody has used it for so long; zero: never.
    pub idle_stop: Duration,
    /// Between two looks whether it is used.
    pub idle_sample: Duration,
    /// Bytes a minute that an open page sends by itself.
    pub idle_traffic: u64,
    /// Share of a core that it takes by itself.
    pub idle_cpu: f64,
}

impl Default for Codeserver {
    fn default() -> Codeserver {
        Codeserver {
            port: 8080,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ready_within: Duration::from_secs(60),
            settle: Duration::from_secs(2),
            abs_proxy_base_path: None,
            idle_stop: Duration::ZERO,
            idle_sample: Duration::from_secs(30),
            idle_traffic: 4 << 10,
            idle_cpu: 0.1,
        }
    }
}
