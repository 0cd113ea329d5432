//! By which names this agent may be called, and which pages may make a browser call it.
//!
//! DNS rebinding lets a foreign page reach us under its own name, so an unknown name in `Host` is refused. A foreign
//! `Origin` is refused wherever something changes and on WebSocket handshakes, which browsers send across origins
//! without asking. There is no CORS.
use super::problem::{Code, Problem};
use axum::http::{HeaderMap, Method, Request, Version, header, uri::Authority};
use std::net::IpAddr;

/// Names and addresses that pass besides loopback and the address a connection came in on.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Hosts {
    /// `names`: this machine's host name and `allowed_hosts`, without port; an IP address among them is understood as such.
    pub fn new(names: impl IntoIterator<Item = String>, addresses: impl IntoIterator<Item = IpAddr>) -> Hosts {
        let mut hosts = Hosts { names: Vec::new(), addresses: addresses.into_iter().collect() };
        for name in names {
            match name.parse() {
                Ok(address) => hosts.addresses.push(address),
                Err(_) => hosts.names.push(name.trim_end_matches('.').to_ascii_lowercase()),
            }
        }
        hosts
    }

    /// `local`: the address this connection was accepted on, always one of our own.
    pub fn admit<B>(&self, request: &Request<B>, local: IpAddr) -> Result<(), Problem> {
        let host = host_header(request.headers())?;
        match host {
            Some(host) => self.check(host, local)?,
            // Only HTTP/1.0 may leave it out, and no browser speaks that.
            None if request.version() == Version::HTTP_10 => {}
            None => return Err(Code::HOST_MISSING.into()),
        }
        // An absolute-form target overrides Host (RFC 9112 §3.2.2), so it has to pass as well.
        if let Some(authority) = request.uri().authority() {
            self.check(authority.as_str(), local)?;
        }
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        if safe { Ok(()) } else { same_origin(request.headers()) }
    }

    fn check(&self, authority: &str, local: IpAddr) -> Result<(), Problem> {
        match host_of(authority) {
            Some(host) if self.knows(host, local) => Ok(()),
            Some(_) => Err(Code::HOST_NOT_ALLOWED.into()),
            None => Err(Code::MALFORMED.because("The Host header is not a host name with an optional port.")),
        }
    }

    fn knows(&self, host: &str, local: IpAddr) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback() || address == local.to_canonical() || self.addresses.contains(&address);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        host.eq_ignore_ascii_case("localhost") || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Refuses a request that a browser sent for another site's page.
pub fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let ours = host_header(headers)?.unwrap_or_default();
    let same = origin.to_str().is_ok_and(|origin| is_of(origin, ours));
    if same && origins.next().is_none() { Ok(()) } else { Err(Code::FOREIGN_ORIGIN.into()) }
}

/// The name in `Host`, without port and brackets.
pub fn host_name(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let host = host_header(headers)?;
    let name = host.map(|host| host_of(host).ok_or(Code::MALFORMED)).transpose();
    name.map_err(Problem::from)
}

fn host_header(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => match host.to_str() {
            Ok(host) => Ok(Some(host)),
            Err(_) => Err(Code::MALFORMED.because("The Host header has bytes that no host name has.")),
        },
        (Some(_), Some(_)) => Err(Code::HOST_MISSING.into()),
    }
}

/// Host without port and brackets; `None` for anything that is more or less than that (user info, a path, nothing).
pub(crate) fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_is_fine = port.is_empty() || port.strip_prefix(':')?.bytes().all(|b| b.is_ascii_digit());
    let host_is_fine = !host.is_empty() && !host.contains(['@', '/', '?', '#', ' ']);
    (port_is_fine && host_is_fine).then_some(host)
}

/// Compared as parsed authorities, never by prefix: `http://agent.evil.example` is not `http://agent`.
pub(crate) fn is_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let parse = |text: &str| {
        let authority: Authority = text.parse().ok()?;
        host_of(text)?;
        Some((authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(default)))
    };
    matches!((parse(authority), parse(host)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 60, 0, 7));

    fn hosts() -> Hosts {
        Hosts::new(["Game-5072".into(), "agent.internal".into()], [IpAddr::from([192, 168, 1, 5])])
    }

    fn verdict(host: &str) -> Result<(), &'static str> {
        let request = Request::builder().header(header::HOST, host).body(()).unwrap();
        hosts().admit(&request, LOCAL).map_err(|p| p.code)
    }

    #[test]
    fn own_names_and_addresses_pass() {
        for host in [
            "localhost",
            "LOCALHOST:18888",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:18888",
            "10.60.0.7:18888",
            "game-5072",
            "agent.internal.",
            "AGENT.internal:80",
            "192.168.1.5",
            "[::ffff:10.60.0.7]:1",
        ] {
            assert_eq!(verdict(host), Ok(()), "{host}");
        }
    }

    #[test]
    fn rebound_and_odd_names_do_not() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "agent.internal.evil.example",
            "8.8.8.8",
            "0.0.0.0",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "[::2]",
            "agent",
        ] {
            assert_eq!(verdict(host), Err("host_not_allowed"), "{host}");
        }
        for host in ["", ":80", "a@localhost", "localhost:80x", "localhost/x", "[::1", "[::1]x"] {
            assert_eq!(verdict(host), Err("malformed"), "{host}");
        }
    }

    #[test]
    fn host_may_be_missing_in_http_1_0_only_and_never_be_there_twice() {
        let mut request = Request::new(());
        assert_eq!(hosts().admit(&request, LOCAL).unwrap_err().code, "host_missing");
        *request.version_mut() = Version::HTTP_10;
        assert!(hosts().admit(&request, LOCAL).is_ok());
        let twice = Request::builder().header(header::HOST, "localhost").header(header::HOST, "evil").body(()).unwrap();
        assert_eq!(hosts().admit(&twice, LOCAL).unwrap_err().code, "host_missing");
    }

    #[test]
    fn an_absolute_target_cannot_smuggle_a_name() {
        let request = Request::builder().uri("http://evil.example/status").header(header::HOST, "localhost");
        assert_eq!(hosts().admit(&request.body(()).unwrap(), LOCAL).unwrap_err().code, "host_not_allowed");
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        let post = |origin: &str| {
            let request = Request::post("/kill").header(header::HOST, "localhost:18888").header(header::ORIGIN, origin);
            hosts().admit(&request.body(()).unwrap(), LOCAL).is_ok()
        };
        assert!(post("http://localhost:18888") && post("http://LOCALHOST:18888"));
        for foreign in [
            "null",
            "",
            "http://localhost",
            "http://localhost:8123",
            "http://localhost:18888.evil.example",
            "http://evil.example",
            "http://localhost:18888/",
            "http://a@localhost:18888",
            "file://localhost:18888",
        ] {
            assert!(!post(foreign), "{foreign}");
        }
    }
}
