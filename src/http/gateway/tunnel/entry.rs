//! How a browser gets its cookie: a single-use token in a URL becomes a cookie, and the URL is gone with a redirect.
//!
//! Nothing of the token stays: the redirect leaves no entry in the history, `Referrer-Policy` lets it leave no trace on
//! the page that follows, and paths are logged without their query.
use super::{Response, Tunnel, empty};
use crate::{
    http::{
        hosts::host_of,
        problem::{Code, Problem},
    },
    model::{gateway::settings::GatewaySettings, ids::Vmid},
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
    /// `:8443`, or empty for the scheme's own; known where the host is.
    port: String,
}

impl Origin {
    /// `port`: the IDE listener's own, which browsers use where no URL says otherwise.
    pub fn new(settings: &GatewaySettings, port: u16) -> Origin {
        let suffix = settings.ide_host_suffix.as_deref().map(|suffix| suffix.trim_matches('.').to_ascii_lowercase());
        let base = settings.ide_public_url.as_deref().unwrap_or_default().trim_end_matches('/').to_owned();
        // Hosts of their own come through the same proxy as the portal, unless they are said to have another.
        let portal = settings.public_url.as_deref().filter(|_| suffix.is_some()).unwrap_or_default();
        let https = if base.is_empty() { portal } else { &base }.starts_with("https://");
        let port = match (base.is_empty(), https) {
            (false, _) => port_of(&base).unwrap_or_default().to_owned(),
            (true, true) => String::new(),
            (true, false) => format!(":{port}"),
        };
        Origin { base, https, suffix, port }
    }

    pub fn https(&self) -> bool {
        self.https
    }

    pub(super) fn suffix(&self) -> Option<&str> {
        self.suffix.as_deref()
    }

    /// A workspace's front door, and the prefix its cookie is bound to. `name`: the host name under which the browser
    /// knows this gateway, for where no setting says one.
    pub fn front_door(&self, vmid: Vmid, name: &str) -> (String, String) {
        let scheme = if self.https { "https" } else { "http" };
        if let Some(suffix) = &self.suffix {
            return (format!("{scheme}://dev-{vmid}.{suffix}{}/", self.port), String::new());
        }
        let prefix = format!("/__ide/{vmid}");
        if !self.base.is_empty() {
            return (format!("{}{prefix}/", self.base), prefix);
        }
        let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        (format!("http://{name}{}{prefix}/", self.port), prefix)
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
        let (door, prefix) = self.origin.front_door(vmid, host.to_str().ok().and_then(host_of).unwrap_or_default());
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
        let cookie = self.doors.redeem(vmid, token).await.ok_or(Code::IDE_TOKEN)?;
        let mut response = redirect(method, to);
        self.jar().put(&mut response, prefix, &cookie);
        Ok(response)
    }

    /// The same for the API's origin, whose `Host` is `host`. A browser keeps cookies by host name whatever the port, so in
    /// path mode one that is set there opens the IDE here, if both share the name; else the token is checked here.
    pub async fn bootstrap_elsewhere(&self, vmid: Vmid, token: &str, host: &str) -> Result<Response, Problem> {
        let name = host_of(host).ok_or(Code::HOST_MISSING)?;
        let (door, prefix) = self.origin.front_door(vmid, name);
        if prefix.is_empty() || !name_of(&door).is_some_and(|own| own.eq_ignore_ascii_case(name)) {
            return Ok(redirect(&Method::GET, &format!("{door}?token={token}")));
        }
        self.enter(vmid, token, &prefix, &door, &Method::GET).await
    }
}

/// The host name in a URL.
fn name_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    host_of(rest.split('/').next()?)
}

fn is_at(door: &str, host: &HeaderValue) -> bool {
    let host = host.to_str().ok().and_then(host_of);
    host.is_some_and(|host| name_of(door).is_some_and(|own| own.eq_ignore_ascii_case(host)))
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
