//! The header rules of the tunnel, as tables.
use super::*;
use axum::http::Method;

static HOST: HeaderValue = HeaderValue::from_static("ide.test:8443");

fn way(prefix: &str) -> Way<'_> {
    Way { sender: [10, 0, 0, 9].into(), https: true, prefix, host: &HOST, upstream: ([10, 60, 0, 7], 8080).into() }
}

fn list(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

/// Without the three lines that each request gets.
fn to_workspace(sent: &[&str]) -> Vec<String> {
    let headers = list(sent);
    let mut asking = Asking::new(&Method::GET, "/").unwrap();
    for_workspace(&headers, &way("/__ide/7"), upgrade(&headers).as_ref(), &mut asking);
    let head = std::str::from_utf8(asking.lines()).unwrap();
    let mut all: Vec<&str> = head.strip_prefix("GET / HTTP/1.1\r\n").unwrap().split_terminator("\r\n").collect();
    all.sort_unstable();
    let ours = ["x-forwarded-for: 10.0.0.9", "x-forwarded-host: ide.test:8443", "x-forwarded-proto: https"];
    assert!(ours.iter().all(|line| all.contains(line)), "{all:?}");
    all.into_iter().filter(|line| !ours.contains(line)).map(str::to_owned).collect()
}

#[test]
fn requests_by_table() {
    for (sent, arrives) in [
        // Host and Origin pass byte for byte, port and case included.
        (
            &["host: IDE.test:8443", "origin: https://ide.test:8443"][..],
            &["host: IDE.test:8443", "origin: https://ide.test:8443"][..],
        ),
        (&["host: ide.test:443"], &["host: ide.test:443"]),
        // No origin is made up.
        (&["accept: */*"], &["accept: */*"]),
        // What a client says about forwarding is not believed.
        (
            &["forwarded: host=evil", "x-forwarded-host: evil", "x-forwarded-for: 1.2.3.4", "x-forwarded-proto: ftp"],
            &[],
        ),
        (&["x-forwarded-prefix: /evil", "x-forwarded-port: 1", "x-real-ip: 1.2.3.4", "x-original-url: /admin"], &[]),
        (&["x-rewrite-url: /x", "x-host: evil", "x-forwarded: y", "x-other: stays"], &["x-other: stays"]),
        // What opens the gateway does not leave it.
        (&["authorization: Bearer zlh", "cookie: a=1; zlh_dev_ide_token=s", "cookie: zlh_session=t"], &["cookie: a=1"]),
        (&["proxy-authorization: Basic x"], &[]),
        // One hop.
        (&["connection: keep-alive, x-mine", "keep-alive: 5", "x-mine: 1", "proxy-connection: close"], &[]),
        (&["te: trailers, deflate"], &["te: trailers"]),
        (&["te: gzip"], &[]),
        (&["trailer: x-sum", "te: trailers"], &["te: trailers", "trailer: x-sum"]),
        // `Connection` cannot take away what a message means.
        (
            &[
                "connection: close, cookie, host, origin, content-length, x-forwarded-for, sec-websocket-key",
                "cookie: a=1",
                "host: h",
                "origin: o",
                "content-length: 3",
                "sec-websocket-key: k",
            ],
            &["content-length: 3", "cookie: a=1", "host: h", "origin: o", "sec-websocket-key: k"],
        ),
        // An upgrade stays one; without `Connection: upgrade` it is none.
        (
            &[
                "connection: keep-alive, Upgrade",
                "upgrade: websocket",
                "sec-websocket-extensions: permessage-deflate",
                "sec-websocket-protocol: a",
            ],
            &[
                "connection: upgrade",
                "sec-websocket-extensions: permessage-deflate",
                "sec-websocket-protocol: a",
                "upgrade: websocket",
            ],
        ),
        (&["upgrade: h2c"], &[]),
        (&["transfer-encoding: chunked", "transfer-encoding: chunked"], &["transfer-encoding: chunked"]),
        (&["expect: 100-continue"], &["expect: 100-continue"]),
    ] {
        assert_eq!(to_workspace(sent), arrives, "{sent:?}");
    }
}

fn to_browser(prefix: &str, sent: &[&str]) -> Vec<String> {
    let mut headers = list(sent);
    for_browser(&mut headers, &way(prefix), None);
    lines(&headers)
}

#[test]
fn answers_by_table() {
    for (sent, by_path, by_host) in [
        (&["location: ./?folder=/x"][..], &["location: ./?folder=/x"][..], &["location: ./?folder=/x"][..]),
        (&["location: /x?y"], &["location: /__ide/7/x?y"], &["location: /x?y"]),
        (&["location: /__ide/7/x"], &["location: /__ide/7/x"], &["location: /__ide/7/x"]),
        (&["location: /__ide/70/x"], &["location: /__ide/7/__ide/70/x"], &["location: /__ide/70/x"]),
        (&["location: https://ide.test:8443/x"], &["location: /__ide/7/x"], &["location: /x"]),
        (&["location: http://IDE.test:8443"], &["location: /__ide/7/"], &["location: /"]),
        (&["location: //ide.test:8443/x"], &["location: /__ide/7/x"], &["location: /x"]),
        (&["location: http://10.60.0.7:8080/x#f"], &["location: /__ide/7/x#f"], &["location: /x#f"]),
        (&["location: https://ide.test/x"], &["location: https://ide.test/x"], &["location: https://ide.test/x"]),
        (&["location: https://example.com/"], &["location: https://example.com/"], &["location: https://example.com/"]),
        (
            &["location: mailto://ide.test:8443/"],
            &["location: mailto://ide.test:8443/"],
            &["location: mailto://ide.test:8443/"],
        ),
        (&["content-location: /x"], &["content-location: /__ide/7/x"], &["content-location: /x"]),
        (
            &["set-cookie: a=1; Path=/", "set-cookie: zlh_session=evil"],
            &["set-cookie: a=1; Path=/__ide/7/"],
            &["set-cookie: a=1; Path=/"],
        ),
        (&["service-worker-allowed: /"], &["service-worker-allowed: /__ide/7/"], &["service-worker-allowed: /"]),
        (&["strict-transport-security: max-age=1"], &[], &["strict-transport-security: max-age=1"]),
        (&["clear-site-data: \"*\""], &[], &["clear-site-data: \"*\""]),
        (&["connection: close, x-mine", "x-mine: 1", "keep-alive: timeout=5", "etag: x"], &["etag: x"], &["etag: x"]),
        (
            &["trailer: x-sum", "content-security-policy: c"],
            &["content-security-policy: c", "trailer: x-sum"],
            &["content-security-policy: c", "trailer: x-sum"],
        ),
    ] {
        assert_eq!(to_browser("/__ide/7", sent), by_path, "{sent:?}");
        assert_eq!(to_browser("", sent), by_host, "{sent:?}");
    }
}

#[test]
fn only_a_connection_that_asks_is_upgraded() {
    assert_eq!(upgrade(&list(&["connection: x, UPGRADE", "upgrade: websocket"])).unwrap(), "websocket");
    assert_eq!(upgrade(&list(&["upgrade: websocket"])), None);
    assert_eq!(upgrade(&list(&["connection: upgrade"])), None);
    for other in ["h2c", "websocket, h2c", "tls/1.0", ""] {
        assert_eq!(upgrade(&list(&["connection: upgrade", &format!("upgrade: {other}")])), None, "{other}");
    }
    assert_eq!(upgrade(&list(&["connection: upgrade", "upgrade: websocket", "upgrade: h2c"])), None);
}
