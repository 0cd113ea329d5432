//! Which container a URL means, and what of it goes upstream.
//!
//! Two forms lead to the same tunnel: the path `/__ide/<vmid>/…`, and, where a suffix is set, the host
//! `dev-<vmid>.<suffix>`, which gives each workspace an origin of its own. A number has one spelling: decimal, without
//! sign, zero in front or percent-encoding.
use crate::{http::hosts::host_of, model::ids::Vmid};
use axum::http::{Uri, header::HeaderValue};
use std::borrow::Cow;

const MOUNT: &str = "/__ide/";
/// First segment below a workspace that the gateway answers itself.
pub const OWN: &str = "/__zlh/";
/// code-server's two doors to ports inside the container.
const PORT_DOORS: [&str; 2] = ["proxy", "absproxy"];
/// Ports that nobody needs root for.
const USER_PORTS: std::ops::RangeInclusive<u16> = 1024..=u16::MAX;

/// One workspace as a URL named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub vmid: Vmid,
    /// `/__ide/<vmid>`, or empty in host mode: what is taken off on the way in and put back on the way out.
    pub prefix: String,
    /// Path and query below the prefix, byte for byte; begins with `/`.
    pub rest: String,
}

/// What a URL on the IDE's origin means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Inside(Place),
    /// `/__ide/<vmid>` without the slash that relative links need; the right target.
    Slashless(String),
    /// `/api/dev/<vmid>/ide`: a token is to be turned into a cookie.
    Bootstrap(Vmid),
    Nowhere,
}

/// `host`: the value of `Host`.
pub fn find(suffix: Option<&str>, host: &HeaderValue, uri: &Uri) -> Found {
    let path = uri.path();
    if let Some(vmid) = bootstrap(path) {
        return Found::Bootstrap(vmid);
    }
    let whole = uri.path_and_query().map_or("/", |p| p.as_str());
    let named = suffix.and_then(|suffix| in_host(suffix, host.to_str().ok()?));
    if let Some(vmid) = named {
        return Found::Inside(Place { vmid, prefix: String::new(), rest: whole.to_owned() });
    }
    let Some(below) = path.strip_prefix(MOUNT) else { return Found::Nowhere };
    let digits = below.split('/').next().unwrap_or_default();
    let Some(vmid) = number(digits) else { return Found::Nowhere };
    let cut = MOUNT.len() + digits.len();
    let (prefix, rest) = (&whole[..cut], &whole[cut..]);
    if rest.starts_with('/') {
        Found::Inside(Place { vmid, prefix: prefix.to_owned(), rest: rest.to_owned() })
    } else {
        Found::Slashless(format!("{prefix}/{rest}"))
    }
}

fn bootstrap(path: &str) -> Option<Vmid> {
    number(path.strip_prefix("/api/dev/")?.strip_suffix("/ide")?)
}

fn in_host(suffix: &str, host: &str) -> Option<Vmid> {
    let name = host_of(host)?.to_ascii_lowercase();
    number(name.strip_suffix(suffix)?.strip_suffix('.')?.strip_prefix("dev-")?)
}

fn number(digits: &str) -> Option<Vmid> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') && digits.len() <= 9;
    plain.then(|| digits.parse().ok().map(Vmid))?
}

impl Place {
    /// Without the query.
    pub fn path(&self) -> &str {
        self.rest.split('?').next().unwrap_or_default()
    }

    /// The value of `?token=` on the workspace's front door, the only place where it means the gateway's own token.
    pub fn token(&self) -> Option<&str> {
        let query = self.rest.strip_prefix("/?")?;
        query.split('&').find_map(|pair| pair.strip_prefix("token="))
    }

    /// The front door without its `token`, as the browser is to see it.
    pub fn without_token(&self) -> String {
        let query = self.rest.strip_prefix("/?").unwrap_or_default();
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("token=") && !pair.is_empty()).collect();
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        format!("{}/{query}", self.prefix)
    }

    /// Refuses what a server behind could read as another path than we do, and ports that are nobody's to open:
    /// `agent` is the agent's own, which answers on loopback to whoever is inside the container.
    pub fn check(&self, agent: u16) -> Result<(), Forbidden> {
        // `\` is a slash to some servers, and `%2e` a dot to all.
        let decoded: Cow<[u8]> = percent_encoding::percent_decode_str(self.path()).into();
        let mut steps = decoded.split(|b| matches!(b, b'/' | b'\\')).filter(|s| !s.is_empty() && *s != b".");
        if steps.clone().any(|step| step == b"..") {
            return Err(Forbidden::Climbing);
        }
        let first = steps.next().unwrap_or_default();
        if !PORT_DOORS.iter().any(|door| first.eq_ignore_ascii_case(door.as_bytes())) {
            return Ok(());
        }
        let port = steps.next().and_then(|step| std::str::from_utf8(step).ok()).and_then(port);
        match port {
            Some(port) if port == agent => Err(Forbidden::AgentPort),
            Some(_) => Ok(()),
            None => Err(Forbidden::NoPort),
        }
    }
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok())?.filter(|port| USER_PORTS.contains(port))
}

/// Why a path below a workspace is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    Climbing,
    AgentPort,
    NoPort,
}

impl Forbidden {
    pub fn sentence(self) -> &'static str {
        match self {
            Forbidden::Climbing => "The path has a step upwards.",
            Forbidden::AgentPort => "This port is the agent's own and is not open to the workspace.",
            Forbidden::NoPort => "After /proxy/ comes a port, 1024 to 65535, in plain digits.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, uri: &str) -> Found {
        find(Some("ide.test"), &HeaderValue::from_str(host).unwrap(), &uri.parse().unwrap())
    }

    fn inside(vmid: u32, prefix: &str, rest: &str) -> Found {
        Found::Inside(Place { vmid: Vmid(vmid), prefix: prefix.into(), rest: rest.into() })
    }

    #[test]
    fn a_path_names_its_container_and_keeps_its_bytes() {
        for (uri, wanted) in [
            ("/__ide/7/", inside(7, "/__ide/7", "/")),
            ("/__ide/7/a%20b/..%2fc?x=1&y", inside(7, "/__ide/7", "/a%20b/..%2fc?x=1&y")),
            ("/__ide/7//x", inside(7, "/__ide/7", "//x")),
            ("/__ide/999999999/", inside(999_999_999, "/__ide/999999999", "/")),
            ("/__ide/7", Found::Slashless("/__ide/7/".into())),
            ("/__ide/7?folder=/x&a=b", Found::Slashless("/__ide/7/?folder=/x&a=b".into())),
            ("/api/dev/7/ide?token=t", Found::Bootstrap(Vmid(7))),
            ("/", Found::Nowhere),
            ("/__ide/", Found::Nowhere),
            ("/__ide/7x/", Found::Nowhere),
            ("/__ide/07/", Found::Nowhere),
            ("/__ide/0/", Found::Nowhere),
            ("/__ide/+7/", Found::Nowhere),
            ("/__ide/%37/", Found::Nowhere),
            ("/__ide/7%2f..%2f8/", Found::Nowhere),
            ("/__ide/1000000000/", Found::Nowhere),
            ("/x/__ide/7/", Found::Nowhere),
            ("/__IDE/7/", Found::Nowhere),
        ] {
            assert_eq!(found("127.0.0.1:8081", uri), wanted, "{uri}");
        }
    }

    #[test]
    fn a_host_names_its_container_exactly() {
        for host in ["dev-7.ide.test", "dev-7.ide.test:8443", "DEV-7.IDE.Test"] {
            assert_eq!(found(host, "/a?b"), inside(7, "", "/a?b"), "{host}");
        }
        for host in [
            "ide.test",
            "dev-7.ide.test.evil.example",
            "dev-7.evil-ide.test",
            "dev-7.xide.test",
            "x.dev-7.ide.test",
            "dev-07.ide.test",
            "dev-.ide.test",
            "dev-7",
            "evil@dev-7.ide.test",
        ] {
            assert_eq!(found(host, "/a?b"), Found::Nowhere, "{host}");
        }
        assert_eq!(find(None, &HeaderValue::from_static("dev-7.ide.test"), &"/".parse().unwrap()), Found::Nowhere);
    }

    fn verdict(rest: &str) -> Result<(), Forbidden> {
        Place { vmid: Vmid(7), prefix: String::new(), rest: rest.into() }.check(18888)
    }

    #[test]
    fn user_ports_are_plain_numbers_and_never_the_agents() {
        for fine in [
            "/",
            "/proxy/3000/",
            "/proxy/3000",
            "/absproxy/65535/x?y",
            "/proxyx/18888",
            "/a/proxy/18888",
            "/x?p=/../y",
            "//proxy/3000/",
            "/static/a..b/c",
        ] {
            assert_eq!(verdict(fine), Ok(()), "{fine}");
        }
        for agent in [
            "/proxy/18888/status",
            "/absproxy/18888",
            "/PROXY/18888/",
            "/%70roxy/18888/",
            "/proxy/%318888/",
            "//proxy/18888",
            "/./proxy/18888/",
            "/proxy//18888",
            "/proxy\\18888",
        ] {
            assert_eq!(verdict(agent), Err(Forbidden::AgentPort), "{agent}");
        }
        for bad in [
            "/proxy/",
            "/proxy",
            "/proxy/80@evil/",
            "/proxy/08080/",
            "/proxy/+8080/",
            "/proxy/8080;x/",
            "/proxy/80/",
            "/proxy/65536/",
            "/proxy/0/",
            "/proxy/-1/",
            "/proxy/localhost/",
            "/proxy/8080%00/",
            "/proxy/ 8080/",
            "/proxy/%EF%BC%98%EF%BC%90%EF%BC%98%EF%BC%90/",
        ] {
            assert_eq!(verdict(bad), Err(Forbidden::NoPort), "{bad}");
        }
        for climbing in ["/../x", "/x/..", "/%2e%2e/x", "/x/%2E./proxy/18888", "/x\\..\\y", "/x/..%2fproxy/18888"] {
            assert_eq!(verdict(climbing), Err(Forbidden::Climbing), "{climbing}");
        }
    }

    #[test]
    fn a_token_is_ours_on_the_front_door_only() {
        let place = |rest: &str| Place { vmid: Vmid(7), prefix: "/__ide/7".into(), rest: rest.into() };
        assert_eq!(place("/?folder=/x&token=a.b.c&z").token(), Some("a.b.c"));
        assert_eq!(place("/?folder=/x&token=a.b.c&z").without_token(), "/__ide/7/?folder=/x&z");
        assert_eq!(place("/?token=a").without_token(), "/__ide/7/");
        assert_eq!(place("/proxy/8888/?token=jupyter").token(), None);
        assert_eq!(place("/?mytoken=a").token(), None);
    }
}
