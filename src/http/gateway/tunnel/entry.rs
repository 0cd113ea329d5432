//! How a browser gets its cookie: a single-use token in a URL becomes a cookie, and the URL is gone with a redirect.
//!
//! Nothing of the token stays: the redirect leaves no entry in the history, `Referrer-Policy` lets it leave no trace on
//! the page that follows, and paths are logged without their query.
use super::{Response, Tunnel, empty};
use crate::{
    http::problem::{Code, Problem},
    model::ids::Vmid,
};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};

/// Where browsers reach the IDE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `https://ide.example:8443`, without a slash at the end; empty where a request's own `Host` says it.
    base: String,
    https: bool,
    /// `dev-<vmid>.<suffix>` is a workspace's own host; lower case.
    suffix: Option<String>,
}

impl Origin {
    /// `public_url`: `ide_public_url`, if set. `suffix`: `ide_host_suffix`, perhaps with a port (`ide.example:8443`).
    pub fn new(public_url: Option<&str>, suffix: Option<&str>) -> Origin {
        let base = public_url.unwrap_or_default().trim_end_matches('/').to_owned();
        let suffix = suffix.map(|suffix| suffix.trim_matches('.').to_ascii_lowercase());
        Origin { https: base.starts_with("https://"), base, suffix }
    }

    pub fn https(&self) -> bool {
        self.https
    }

    /// Without port.
    pub(super) fn suffix(&self) -> Option<&str> {
        self.suffix.as_deref().map(|suffix| suffix.split(':').next().unwrap_or_default())
    }

    /// A workspace's front door, and the prefix its cookie is bound to. `host`: the browser's, port included.
    pub fn front_door(&self, vmid: Vmid, host: &str) -> (String, String) {
        let scheme = if self.https { "https" } else { "http" };
        if let Some(suffix) = &self.suffix {
            let known = if self.base.is_empty() { host } else { &self.base };
            let port = if suffix.contains(':') { "" } else { port_of(known).unwrap_or_default() };
            return (format!("{scheme}://dev-{vmid}.{suffix}{port}/"), String::new());
        }
        let base = if self.base.is_empty() { format!("{scheme}://{host}") } else { self.base.clone() };
        let prefix = format!("/__ide/{vmid}");
        (format!("{base}{prefix}/"), prefix)
    }
}

/// `:8443` of `https://ide.example:8443` or `ide.example:8443`.
fn port_of(authority: &str) -> Option<&str> {
    let at = authority.rfind(':')?;
    let port = &authority[at..];
    (port.len() > 1 && port[1..].bytes().all(|b| b.is_ascii_digit())).then_some(port)
}

impl Tunnel {
    /// `GET /api/dev/<vmid>/ide?token=…` on the IDE's own origin.
    pub(super) async fn bootstrap(
        &self,
        vmid: Vmid,
        host: &HeaderValue,
        uri: &Uri,
        method: &Method,
    ) -> Result<Response, Problem> {
        let query = uri.query().unwrap_or_default();
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token=")).ok_or(Code::IDE_TOKEN)?;
        let (door, prefix) = self.origin.front_door(vmid, host.to_str().unwrap_or_default());
        // A cookie is for the host that sets it: a workspace's own host has to see the token itself.
        if prefix.is_empty() && !is_at(&door, host) {
            return Ok(redirect(method, &format!("{door}?token={token}")));
        }
        self.enter(vmid, token, &prefix, &format!("{prefix}/"), method).await
    }

    /// Turns the token into a cookie and sends the browser to `to`. Only GET does: nothing else is a person's visit.
    pub(super) async fn enter(
        &self,
        vmid: Vmid,
        token: &str,
        prefix: &str,
        to: &str,
        method: &Method,
    ) -> Result<Response, Problem> {
        if method != Method::GET {
            return Err(Code::METHOD_NOT_ALLOWED.into());
        }
        let value = self.doors.redeem(vmid, token).await.ok_or(Code::IDE_TOKEN)?;
        let mut response = redirect(method, to);
        set_cookie(&mut response, &self.jar().set(prefix, &value, self.settings.cookie_life.as_secs()));
        Ok(response)
    }

    /// The same for the API's origin: `host` is the API's, `port` the IDE listener's. A browser keeps cookies by host
    /// name whatever the port, so in path mode one that is set here opens the IDE there, if both share the name.
    pub async fn bootstrap_elsewhere(
        &self,
        vmid: Vmid,
        token: &str,
        host: &str,
        port: u16,
    ) -> Result<Response, Problem> {
        let name = crate::http::hosts::host_of(host).ok_or(Code::HOST_MISSING)?;
        let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        let (door, prefix) = self.origin.front_door(vmid, &format!("{name}:{port}"));
        let same_name = door.split_once("://").is_some_and(|(_, rest)| {
            let authority = rest.split('/').next().unwrap_or_default();
            crate::http::hosts::host_of(authority) == crate::http::hosts::host_of(host)
        });
        if prefix.is_empty() || !same_name {
            return Ok(redirect(&Method::GET, &format!("{door}?token={token}")));
        }
        self.enter(vmid, token, &prefix, &door, &Method::GET).await
    }
}

fn is_at(door: &str, host: &HeaderValue) -> bool {
    let authority = door.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    let name = crate::http::hosts::host_of;
    host.to_str().is_ok_and(|host| {
        name(host).is_some_and(|host| name(authority).is_some_and(|own| own.eq_ignore_ascii_case(host)))
    })
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// To another place of ours; a method that is no visit is repeated there.
pub(super) fn redirect(method: &Method, to: &str) -> Response {
    let visits = matches!(*method, Method::GET | Method::HEAD);
    let mut response = empty(if visits { StatusCode::FOUND } else { StatusCode::TEMPORARY_REDIRECT });
    send_to(&mut response, to);
    response
}

pub(super) fn send_to(response: &mut Response, to: &str) {
    let headers = response.headers_mut();
    if let Ok(to) = HeaderValue::from_str(to) {
        headers.insert(header::LOCATION, to);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
