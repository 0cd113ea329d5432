//! The session cookie: how it is named, set, ended and found.
use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Cookie, CookieBuilder, SameSite};
use std::time::Duration;

/// Browsers take a `__Host-` cookie only when it is Secure, has no Domain and the path `/`: a sibling host cannot set it
/// (RFC 6265bis §4.1.3.2).
const SECURE: &str = "__Host-zlh_session";
const PLAIN: &str = "zlh_session";
/// Cookies of one name that are looked at: an old one may stand before the right one.
const MOST: usize = 4;

fn name(secure: bool) -> &'static str {
    if secure { SECURE } else { PLAIN }
}

fn built(value: String, secure: bool) -> CookieBuilder<'static> {
    Cookie::build((name(secure), value)).path("/").http_only(true).same_site(SameSite::Strict).secure(secure)
}

pub fn session(secret: String, lifetime: Duration, secure: bool) -> Option<HeaderValue> {
    let age = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let cookie = built(secret, secure).max_age(cookie::time::Duration::seconds(age)).build();
    HeaderValue::from_str(&cookie.to_string()).ok()
}

/// Makes the browser forget it.
pub fn ended(secure: bool) -> Option<HeaderValue> {
    let cookie = built(String::new(), secure).max_age(cookie::time::Duration::ZERO).build();
    HeaderValue::from_str(&cookie.to_string()).ok()
}

/// What browsers sent under the session's name.
pub fn sessions(headers: &HeaderMap, secure: bool) -> impl Iterator<Item = &str> {
    named(headers, name(secure)).take(MOST)
}

/// The values of all cookies of one name.
pub fn named<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_https_no_other_host_can_set_it() {
        let text = session("s".into(), Duration::from_secs(60), true).unwrap();
        for part in ["__Host-zlh_session=s", "Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=60"] {
            assert!(text.to_str().unwrap().contains(part), "{text:?} {part}");
        }
        assert!(!text.to_str().unwrap().contains("Domain"));
        let plain = session("s".into(), Duration::from_secs(60), false).unwrap();
        assert!(plain.to_str().unwrap().starts_with("zlh_session=s;") && !plain.to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn all_of_one_name_are_found_and_no_other() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("zlh_session=a; x=1; zlh_session=\"b\""));
        headers.append(header::COOKIE, HeaderValue::from_static("zlh_session2=c;zlh_session=d"));
        assert_eq!(sessions(&headers, false).collect::<Vec<_>>(), ["a", "b", "d"]);
        assert_eq!(sessions(&headers, true).count(), 0);
    }
}
