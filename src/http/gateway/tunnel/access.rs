//! What the tunnel asks of the gateway behind it, and whom it lets through.
//!
//! Every request and every handshake is asked anew: a cookie is good for one container, as long as the login it came from
//! stands. What is already flowing ends when that changes.
use super::{cookies::Jar, place::Place};
use crate::{
    http::{
        hosts,
        problem::{Code, Problem},
    },
    model::ids::Vmid,
};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use futures_util::future::BoxFuture;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Where a workspace is, as the registry says: the only address a request can go to.
#[derive(Clone, Debug)]
pub struct Target {
    pub ide: SocketAddr,
    /// The agent's own port in that container, which no one reaches through the workspace.
    pub agent_port: u16,
}

/// Who came in.
pub trait Pass: Send + Sync + 'static {
    /// Resolves when the login, the right to this container or the key is no more.
    fn over(self: Arc<Self>) -> BoxFuture<'static, ()>;
}

/// What the browser is to keep.
#[derive(Clone, Debug)]
pub struct Cookie {
    pub value: String,
    pub life: Duration,
}

/// A cookie that was found good.
pub struct Admitted {
    pub pass: Arc<dyn Pass>,
    /// One with a whole life before it, once some of the old one's is used up.
    pub renewed: Option<Cookie>,
}

/// The gateway behind the tunnel. Nothing here waits but what returns a future.
pub trait Doors: Send + Sync + 'static {
    /// `None`: no such container.
    fn target(&self, vmid: Vmid) -> Option<Target>;
    /// Judges a cookie's value for this container.
    fn admit(&self, vmid: Vmid, cookie: &str) -> Option<Admitted>;
    /// Turns a single-use token into a cookie; `None` if it is used, expired, or for somebody or something else.
    fn redeem(&self, vmid: Vmid, token: &str) -> BoxFuture<'static, Option<Cookie>>;
    /// Asks the container's agent to start the IDE; the error is a sentence for a person.
    fn start(&self, vmid: Vmid) -> BoxFuture<'static, Result<(), String>>;
    /// What the last known status says about a workspace that does not answer: a sentence for a person.
    fn condition(&self, vmid: Vmid) -> Option<String>;
}

/// The pass of the first good cookie among those sent.
pub fn admit(doors: &dyn Doors, jar: Jar, place: &Place, headers: &HeaderMap) -> Option<Admitted> {
    jar.values(headers, &place.prefix).find_map(|value| doors.admit(place.vmid, value))
}

/// A page of another origin may neither change anything nor open a stream. A handshake must say where it comes from
/// (every browser does): a container's own check lets one pass that does not.
pub fn check_origin(
    method: &Method,
    headers: &HeaderMap,
    host: &HeaderValue,
    https: bool,
    upgrades: bool,
) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) if upgrades => Err(Code::FOREIGN_ORIGIN.because("A WebSocket handshake needs an Origin header.")),
        (None, _) => Ok(()),
        (Some(_), None) if !upgrades && matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) => Ok(()),
        (Some(origin), None) if is_own(origin, host, https) => Ok(()),
        (Some(_), _) => Err(Code::FOREIGN_ORIGIN.into()),
    }
}

fn is_own(origin: &HeaderValue, host: &HeaderValue, https: bool) -> bool {
    let (Ok(origin), Ok(host)) = (origin.to_str(), host.to_str()) else { return false };
    let scheme = if https { "https://" } else { "http://" };
    origin.starts_with(scheme) && hosts::is_of(origin, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: Method, host: &'static str, origins: &[&'static str], https: bool, upgrades: bool) -> bool {
        let mut headers = HeaderMap::new();
        origins.iter().for_each(|o| _ = headers.append(header::ORIGIN, HeaderValue::from_static(o)));
        check_origin(&method, &headers, &HeaderValue::from_static(host), https, upgrades).is_ok()
    }

    #[test]
    fn only_the_workspaces_own_pages_open_streams() {
        for (host, origin, https) in [
            ("ide.test", "http://ide.test", false),
            ("ide.test:80", "http://ide.test", false),
            ("ide.test", "http://IDE.test", false),
            ("ide.test:8443", "https://ide.test:8443", true),
            ("127.0.0.1:8081", "http://127.0.0.1:8081", false),
            ("[::1]:8081", "http://[::1]:8081", false),
        ] {
            assert!(verdict(Method::GET, host, &[origin], https, true), "{origin} at {host}");
        }
        for origin in [
            "null",
            "",
            "http://evil-ide.test",
            "http://ide.test.evil",
            "http://ide.test:81",
            "https://ide.test",
            "ws://ide.test",
            "http://ide.test/",
            "http://x@ide.test",
            "ide.test",
            "http://",
            "http://ide.test http://x",
        ] {
            assert!(!verdict(Method::GET, "ide.test", &[origin], false, true), "{origin}");
        }
        assert!(!verdict(Method::GET, "ide.test", &[], false, true), "none at all");
        assert!(!verdict(Method::GET, "ide.test", &["http://ide.test", "http://ide.test"], false, true), "two");
        assert!(
            !verdict(Method::GET, "ide.test", &["http://ide.test"], true, true),
            "plain http where https is spoken"
        );
    }

    #[test]
    fn foreign_pages_change_nothing() {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert!(!verdict(method.clone(), "ide.test", &["http://evil.test"], false, false), "{method}");
            assert!(verdict(method.clone(), "ide.test", &["http://ide.test"], false, false), "{method}");
            assert!(verdict(method.clone(), "ide.test", &[], false, false), "{method} of no page");
        }
        assert!(
            verdict(Method::GET, "ide.test", &["http://evil.test"], false, false),
            "reading is the browser's to guard"
        );
    }
}
