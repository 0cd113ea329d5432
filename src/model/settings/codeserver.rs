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
}

impl Default for Codeserver {
    fn default() -> Codeserver {
        Codeserver {
            port: 8080,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ready_within: Duration::from_secs(60),
            settle: Duration::from_secs(2),
            abs_proxy_base_path: None,
        }
    }
}
