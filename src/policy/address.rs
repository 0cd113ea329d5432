//! Where an agent may be. The registry is the only source of targets; this keeps the registry from naming the gateway's
//! own machine, a cloud's metadata service, or everybody at once.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub loopback: bool,
    pub link_local: bool,
}

/// Only IP addresses: a name could mean another address at each look (DNS rebinding). The error says why not.
pub fn parse(text: &str, rules: Rules) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| "not an IP address; names are not resolved")?;
    check(address, rules)
}

/// An IPv4 address in IPv6 clothes counts as what it is.
pub fn check(address: IpAddr, rules: Rules) -> Result<IpAddr, &'static str> {
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || is_broadcast(address) {
        return Err("not the address of one machine");
    }
    if address.is_loopback() && !rules.loopback {
        return Err("this is the gateway's own machine; agents.allow_loopback would allow it");
    }
    if is_link_local(address) && !rules.link_local {
        return Err("a link-local address; agents.allow_link_local would allow it");
    }
    if embeds_ipv4(address) {
        return Err("an IPv6 address that stands for an IPv4 address; write that one");
    }
    Ok(address)
}

fn is_broadcast(address: IpAddr) -> bool {
    // 0.0.0.0/8 is "this network": Linux connects it to itself.
    matches!(address, IpAddr::V4(v4) if v4 == Ipv4Addr::BROADCAST || v4.octets()[0] == 0)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380) and IPv4-compatible addresses lead to an IPv4 address unseen.
fn embeds_ipv4(address: IpAddr) -> bool {
    let IpAddr::V6(v6) = address else { return false };
    let s = v6.segments();
    let compatible = s[..6] == [0; 6] && v6 != Ipv6Addr::LOCALHOST && !v6.is_unspecified();
    compatible || (s[0] == 0x64 && s[1] == 0xff9b) || s[0] == 0x2002 || (s[0] == 0x2001 && s[1] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules = Rules { loopback: false, link_local: false };

    #[test]
    fn only_single_machines_elsewhere_pass() {
        for good in ["10.60.0.7", "192.168.1.2", "172.16.0.1", "100.64.0.1", "8.8.8.8", "fd00::1", "2a00::1"] {
            assert!(parse(good, STRICT).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:1::1",
            "localhost",
            "agent.internal",
            "",
            "127.1",
            "0x7f000001",
            "2130706433",
            "10.0.0.1:80",
            "http://10.0.0.1",
            "10.0.0.1 ",
            "[::1]",
            "fe80::1%eth0",
        ] {
            assert!(parse(bad, STRICT).is_err(), "{bad}");
        }
    }

    #[test]
    fn exceptions_open_one_kind_each() {
        let loopback = Rules { loopback: true, link_local: false };
        assert_eq!(parse("::ffff:127.0.0.1", loopback), Ok("127.0.0.1".parse().unwrap()));
        assert!(parse("::1", loopback).is_ok() && parse("169.254.169.254", loopback).is_err());
        let link_local = Rules { loopback: false, link_local: true };
        assert!(parse("169.254.1.1", link_local).is_ok() && parse("127.0.0.1", link_local).is_err());
        assert!(parse("0.0.0.0", Rules { loopback: true, link_local: true }).is_err());
    }
}
