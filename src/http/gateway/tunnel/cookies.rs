//! Cookies on their way through the tunnel: ours stay on our side, a workspace's stay within its place.
use super::access::Cookie;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use memchr::memchr;

/// Under plain http, and wherever the path binds the cookie to one container.
const NAME: &str = "zlh_dev_ide_token";
/// In host mode over https: the browser itself refuses one that a sibling host or plain http tries to set.
const HOST_NAME: &str = "__Host-zlh_dev_ide_token";
/// Every cookie of the gateway's own begins so, behind a browser's prefix or not.
const OURS: &[u8] = b"zlh_";

/// How the gateway's own cookie looks on this origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jar {
    pub https: bool,
}

impl Jar {
    fn name(self, prefix: &str) -> &'static str {
        if self.https && prefix.is_empty() { HOST_NAME } else { NAME }
    }

    /// All values sent for our cookie, at most four: a stale one beside the right one must not lock a person out.
    pub fn values<'a>(self, headers: &'a HeaderMap, prefix: &str) -> impl Iterator<Item = &'a str> {
        let name = self.name(prefix).as_bytes();
        let pairs = headers.get_all(header::COOKIE).iter().flat_map(|value| pairs(value.as_bytes()));
        let ours = pairs.filter(move |pair| name_of(pair) == name);
        ours.filter_map(|pair| std::str::from_utf8(pair.splitn(2, |b| *b == b'=').nth(1)?).ok()).take(4)
    }

    pub fn put<B>(self, response: &mut Response<B>, prefix: &str, cookie: &Cookie) {
        if let Ok(line) = HeaderValue::from_str(&self.set(prefix, &cookie.value, cookie.life.as_secs())) {
            response.headers_mut().append(header::SET_COOKIE, line);
        }
    }

    /// `Set-Cookie` for `value`, good for `seconds`; bound to the container's path, or to its host.
    fn set(self, prefix: &str, value: &str, seconds: u64) -> String {
        let secure = if self.https { "; Secure" } else { "" };
        format!("{}={value}; Path={prefix}/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", self.name(prefix))
    }
}

/// A header of ours is 400 bytes long and comes with every request, so it is not searched byte by byte.
fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    let split = std::iter::from_fn(move || {
        let bytes = rest?;
        let (pair, after) = match memchr(b';', bytes) {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        rest = after;
        Some(pair)
    });
    split.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii()
}

/// A name that only the gateway sets. Prefixes count without regard to case, as in browsers.
fn is_ours(name: &[u8]) -> bool {
    let without = |prefix: &[u8]| {
        let (head, tail) = name.split_at_checked(prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(tail)
    };
    without(b"__Host-").or_else(|| without(b"__Secure-")).unwrap_or(name).starts_with(OURS)
}

/// A request's cookies without the gateway's own (the IDE's, and the portal's where both share a host name), as one
/// line; `None` when there are none.
pub fn theirs(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut line = Vec::new();
    let all = headers.get_all(header::COOKIE).iter().flat_map(|value| pairs(value.as_bytes()));
    for pair in all.filter(|pair| !is_ours(name_of(pair))) {
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(pair);
    }
    HeaderValue::from_bytes(&line).ok().filter(|line| !line.is_empty())
}

/// A workspace's `Set-Cookie` as the browser may have it: below the prefix, for this host alone; `None` for one that
/// poses as ours.
pub fn kept_in_place(value: &HeaderValue, prefix: &str) -> Option<HeaderValue> {
    let mut parts = value.as_bytes().split(|b| *b == b';');
    let pair = parts.next().unwrap_or_default();
    if is_ours(name_of(pair)) {
        return None;
    }
    let mut kept = pair.to_vec();
    for part in parts {
        let name = name_of(part);
        if name.eq_ignore_ascii_case(b"domain") {
            continue;
        }
        kept.push(b';');
        match part.splitn(2, |b| *b == b'=').nth(1).map(<[u8]>::trim_ascii) {
            Some(path) if name.eq_ignore_ascii_case(b"path") && path.starts_with(b"/") => {
                kept.extend_from_slice(b" Path=");
                if !is_below(path, prefix.as_bytes()) {
                    kept.extend_from_slice(prefix.as_bytes());
                }
                kept.extend_from_slice(path);
            }
            _ => kept.extend_from_slice(part),
        }
    }
    HeaderValue::from_bytes(&kept).ok()
}

/// Has the workspace already put the prefix there (code-server does with `--abs-proxy-base-path`)?
pub fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.first().is_none_or(|b| matches!(b, b'/' | b'?' | b'#')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|v| _ = headers.append(header::COOKIE, HeaderValue::from_str(v).unwrap()));
        headers
    }

    #[test]
    fn our_cookies_stay_here_and_theirs_go_on() {
        for (before, after) in [
            (&["a=1; b=2"][..], Some("a=1; b=2")),
            (&["zlh_dev_ide_token=x"], None),
            (&["a=1; zlh_dev_ide_token=x; b=2"], Some("a=1; b=2")),
            (&["a=1;zlh_dev_ide_token=x;b=2"], Some("a=1; b=2")),
            (&["__Host-zlh_dev_ide_token=x; a=1"], Some("a=1")),
            (&["__host-zlh_session=x; __Secure-zlh_y=1; __Host-theirs=2"], Some("__Host-theirs=2")),
            (&["zlh_session=x", "a=1", "zlh_dev_ide_token=y; b=zlh_z"], Some("a=1; b=zlh_z")),
            (&[" zlh_dev_ide_token =x; zlh_nameless"], None),
            (&["a=1; zlh_dev_ide_token=x=y; ; b"], Some("a=1; b")),
        ] {
            assert_eq!(theirs(&sent(before)), after.map(HeaderValue::from_static), "{before:?}");
        }
    }

    #[test]
    fn up_to_four_values_of_ours_are_tried() {
        let plain = Jar { https: false };
        let headers = sent(&["zlh_dev_ide_token=1; a=b; zlh_dev_ide_token=2", "zlh_dev_ide_token=3=4"]);
        assert_eq!(plain.values(&headers, "/__ide/7").collect::<Vec<_>>(), ["1", "2", "3=4"]);
        let many = sent(&["zlh_dev_ide_token=1;".repeat(9).as_str()]);
        assert_eq!(plain.values(&many, "").count(), 4);
        let tls = Jar { https: true };
        assert_eq!(tls.values(&headers, "").count(), 0, "over https a host's cookie has the browser's own prefix");
        assert_eq!(tls.values(&headers, "/__ide/7").count(), 3);
    }

    #[test]
    fn ours_is_bound_as_the_mode_allows() {
        let set = |https, prefix| Jar { https }.set(prefix, "v", 60);
        let tail = "Max-Age=60; HttpOnly; SameSite=Lax";
        assert_eq!(set(false, "/__ide/7"), format!("zlh_dev_ide_token=v; Path=/__ide/7/; {tail}"));
        assert_eq!(set(true, "/__ide/7"), format!("zlh_dev_ide_token=v; Path=/__ide/7/; {tail}; Secure"));
        assert_eq!(set(true, ""), format!("__Host-zlh_dev_ide_token=v; Path=/; {tail}; Secure"));
        assert_eq!(set(false, ""), format!("zlh_dev_ide_token=v; Path=/; {tail}"));
    }

    #[test]
    fn a_workspaces_cookies_stay_below_its_prefix() {
        for (set, in_path, in_host) in [
            ("a=1", "a=1", "a=1"),
            ("a=1; Path=/", "a=1; Path=/__ide/7/", "a=1; Path=/"),
            ("a=1; path=/x; HttpOnly", "a=1; Path=/__ide/7/x; HttpOnly", "a=1; Path=/x; HttpOnly"),
            ("a=1; Path=/__ide/7/x", "a=1; Path=/__ide/7/x", "a=1; Path=/__ide/7/x"),
            ("a=1; Path=/__ide/70", "a=1; Path=/__ide/7/__ide/70", "a=1; Path=/__ide/70"),
            ("a=1; Domain=ide.test; Secure", "a=1; Secure", "a=1; Secure"),
            ("a=1; Path=relative", "a=1; Path=relative", "a=1; Path=relative"),
        ] {
            let mapped = |prefix| kept_in_place(&HeaderValue::from_str(set).unwrap(), prefix).unwrap();
            assert_eq!((mapped("/__ide/7"), mapped("")), (in_path.parse().unwrap(), in_host.parse().unwrap()), "{set}");
        }
        for posing in ["zlh_dev_ide_token=x; Path=/", "__Host-zlh_session=x", "zlh_x"] {
            assert_eq!(kept_in_place(&HeaderValue::from_str(posing).unwrap(), ""), None, "{posing}");
        }
    }
}
