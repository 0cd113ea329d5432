//! Whose request it is, where a proxy stands before the gateway.
//!
//! `X-Forwarded-For` is a list that each proxy appends the address to from which it got the request. Only the entries
//! that a trusted proxy appended can be believed: from the right, the first that is no trusted proxy itself is the
//! sender. What a client wrote is further left and is never reached.
use crate::model::network::Network;
use axum::http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// `peer`: who holds the connection.
pub fn sender(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut sender = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|b| *b == b','));
    while is_trusted(sender) {
        // What is no address ends the trail: the proxy that let it pass is as far as we see.
        let Some(before) = hops.next().and_then(address) else { break };
        sender = before;
    }
    sender
}

/// Some proxies append the port as well.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let found = bare.parse().ok().or_else(|| text.parse().ok().map(|at: SocketAddr| at.ip()));
    found.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_say_is_believed_by_table() {
        let trusted = ["127.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"].map(|network| network.parse().unwrap());
        for (peer, lines, wanted) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["6.6.6.6, 198.51.100.1,10.1.2.3"], "198.51.100.1"),
            ("127.0.0.1", &["10.1.0.7, 10.1.2.3"], "10.1.0.7"),
            ("127.0.0.1", &["6.6.6.6, unknown, 10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", &["127.0.0.1, \"6.6.6.6\""], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("2001:db8::1", &["[2001:db9::5]:443"], "2001:db9::5"),
            ("2001:db8::1", &["[2001:db9::5]"], "2001:db9::5"),
            ("127.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &[""], "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            lines.iter().for_each(|line| _ = headers.append(FORWARDED_FOR, line.parse().unwrap()));
            let found = sender(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, wanted.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
            let alone = sender(peer.parse().unwrap(), &headers, &[]);
            assert_eq!(alone, peer.parse::<IpAddr>().unwrap().to_canonical(), "nobody is trusted: {lines:?}");
        }
    }
}
