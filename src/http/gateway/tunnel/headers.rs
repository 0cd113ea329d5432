//! What happens to headers on their way through the tunnel: pure translation of one list into another.
//!
//! Each rule stands for a failure that people met. code-server compares `Origin` with the first of `Forwarded`,
//! `X-Forwarded-Host` and `Host`, textually, port included, and answers a handshake with 403 when they differ, which a
//! browser shows as close code 1006: so `Host` and `Origin` pass byte for byte, and what a client says about forwarding is
//! replaced by what we know. Whatever opens the gateway stays on this side of it.
use super::cookies;
use crate::host::connection_pool::Asking;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::{IpAddr, SocketAddr};

/// Meant for one hop (RFC 9110 §7.6.1), besides what `Connection` names. `Trailer` is not among them: it announces
/// fields that go all the way.
const ONE_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::UPGRADE,
];
/// What `Connection: <name>` cannot take away: without these a message means something else to the next reader.
const NEEDED: [HeaderName; 6] = [
    header::HOST,
    header::ORIGIN,
    header::COOKIE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
];
/// Of these the workspace gets what the gateway says, if anything.
const SAID_ANEW: [HeaderName; 4] = [header::TE, header::AUTHORIZATION, header::COOKIE, header::TRANSFER_ENCODING];
/// Spoken by a page for its whole origin; in path mode that origin is not the workspace's alone.
const FOR_THE_ORIGIN: [HeaderName; 4] = [
    header::STRICT_TRANSPORT_SECURITY,
    header::ALT_SVC,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("public-key-pins"),
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const WORKER_SCOPE: HeaderName = HeaderName::from_static("service-worker-allowed");
/// What an answer says about places in the workspace.
const OF_A_PLACE: [HeaderName; 4] = [header::LOCATION, header::CONTENT_LOCATION, header::SET_COOKIE, WORKER_SCOPE];

/// What the tunnel knows of a request's way.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    pub sender: IpAddr,
    pub https: bool,
    /// `/__ide/<vmid>`, or empty in host mode.
    pub prefix: &'a str,
    /// The browser's `Host`.
    pub host: &'a HeaderValue,
    /// Where the workspace is.
    pub upstream: SocketAddr,
}

/// `Upgrade: websocket`, alone and with a `Connection` that says so.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let alone = headers.get_all(header::UPGRADE).iter().nth(1).is_none();
    let asks = items(headers, &header::CONNECTION).any(|item| item.eq_ignore_ascii_case(b"upgrade"));
    (alone && asks && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")).then(|| protocol.clone())
}

/// Writes the browser's headers as the workspace may have them.
pub fn for_workspace(headers: &HeaderMap, way: &Way, upgrade: Option<&HeaderValue>, asking: &mut Asking) {
    let named = named_by_connection(headers);
    let passes = |name: &HeaderName| {
        !(ONE_HOP.contains(name) || SAID_ANEW.contains(name) || named.contains(name) || is_claim(name))
    };
    for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
        asking.field(name, value);
    }
    if let Some(cookies) = cookies::theirs(headers) {
        asking.field(&header::COOKIE, &cookies);
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        asking.field(&header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked")); // once, whatever was sent
    }
    if items(headers, &header::TE).any(|item| item.eq_ignore_ascii_case(b"trailers")) {
        asking.field(&header::TE, &HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        asking.field(&header::CONNECTION, &HeaderValue::from_static("upgrade"));
        asking.field(&header::UPGRADE, protocol);
    }
    asking.field(&FORWARDED_PROTO, &HeaderValue::from_static(if way.https { "https" } else { "http" }));
    asking.field(&FORWARDED_HOST, way.host);
    if let Ok(sender) = HeaderValue::from_str(&way.sender.to_canonical().to_string()) {
        asking.field(&FORWARDED_FOR, &sender);
    }
}

/// Makes the workspace's headers fit for the browser.
pub fn for_browser(headers: &mut HeaderMap, way: &Way, upgrade: Option<HeaderValue>) {
    // Most answers have none of these: one look at each name, and not at the map for each rule.
    let is_sorted_out =
        |name: &HeaderName| ONE_HOP.contains(name) || (!way.prefix.is_empty() && FOR_THE_ORIGIN.contains(name));
    let mut gone: Vec<HeaderName> = headers.keys().filter(|name| is_sorted_out(name)).cloned().collect();
    if gone.contains(&header::CONNECTION) {
        gone.extend(named_by_connection(headers));
    }
    gone.iter().for_each(|name| _ = headers.remove(name));
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    if headers.keys().any(|name| OF_A_PLACE.contains(name)) {
        keep_in_place(headers, way);
    }
}

/// Redirects, cookies and workers of the workspace lead and belong to where the browser has it.
fn keep_in_place(headers: &mut HeaderMap, way: &Way) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        if let Some(mapped) = headers.get(&name).and_then(|place| mapped(place, way)) {
            headers.insert(name, mapped);
        }
    }
    keep_cookies_in_place(headers, way.prefix);
    if !way.prefix.is_empty()
        && headers.contains_key(WORKER_SCOPE)
        && let Ok(scope) = HeaderValue::from_str(&format!("{}/", way.prefix))
    {
        headers.insert(WORKER_SCOPE, scope);
    }
}

/// What `Connection` says is meant for one hop, as far as it may.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = items(headers, &header::CONNECTION).filter_map(|item| HeaderName::from_bytes(item).ok());
    named.filter(|name| !NEEDED.contains(name) && !name.as_str().starts_with("sec-")).collect()
}

/// What a client says about the way it came, or about the address it meant: ours is the only word on that.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == "forwarded"
        || name.strip_prefix("x-").is_some_and(|name| {
            ["forwarded", "original-", "rewrite-", "real-ip", "host"].iter().any(|claim| name.starts_with(claim))
        })
}

fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().flat_map(|v| v.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

/// A place within the workspace as the browser reaches it; `None` when it stays as it is: relative, or elsewhere.
fn mapped(place: &HeaderValue, way: &Way) -> Option<HeaderValue> {
    let text = place.to_str().ok()?;
    let path = if text.starts_with('/') && !text.starts_with("//") {
        text
    } else {
        let (_, after) = text.split_once("//").filter(|(scheme, _)| matches!(*scheme, "" | "http:" | "https:"))?;
        let (authority, path) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        let is_here =
            authority.as_bytes().eq_ignore_ascii_case(way.host.as_bytes()) || authority.parse() == Ok(way.upstream);
        is_here.then_some(path)?
    };
    let prefix = if cookies::is_below(path.as_bytes(), way.prefix.as_bytes()) { "" } else { way.prefix };
    let slash = if path.starts_with('/') { "" } else { "/" };
    HeaderValue::from_str(&format!("{prefix}{slash}{path}")).ok()
}

fn keep_cookies_in_place(headers: &mut HeaderMap, prefix: &str) {
    if !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let set: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in set.iter().filter_map(|cookie| cookies::kept_in_place(cookie, prefix)) {
        headers.append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests;
