//! Requests that try to be read in two ways, or to reach what is not theirs.
use super::*;

#[tokio::test]
async fn nothing_is_smuggled_behind_a_request() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let (host, cookie) = (gateway.host(), cookie(7));
    let smuggled = format!("GET /__ide/7/smuggled HTTP/1.1\r\n{host}{cookie}\r\n");
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: 4\r\nX: bare\n",
    ] {
        let request = format!("POST /__ide/7/open HTTP/1.1\r\n{host}{cookie}{framing}\r\n0\r\n\r\n{smuggled}");
        let reply = gateway.raw(request).await;
        assert!(status(&reply) == 400 && reply.matches("HTTP/1.1 ").count() == 1, "{framing}: {reply}");
        assert!(reply.contains("malformed") && has(&reply, "connection: close"), "{framing}: {reply}");
        assert!(workspace.saw_nothing(), "{framing}");
    }
    for framing in [
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 4\r\n",
        "X: a\r\n Content-Length: 4\r\n",
        "X\0: a\r\n",
        "X: a\rY: b\r\n",
    ] {
        let reply = gateway.raw(format!("POST /__ide/7/ HTTP/1.1\r\n{host}{cookie}{framing}\r\nabcd{smuggled}")).await;
        assert!(matches!(status(&reply), 0 | 400), "{framing}: {reply}");
        assert!(workspace.saw_nothing(), "{framing}");
    }
}

#[tokio::test]
async fn a_request_has_one_host_and_a_path() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let (host, cookie) = (gateway.host(), cookie(7));
    for (line, headers) in [
        ("GET /__ide/7/ HTTP/1.1", String::new()),
        ("GET /__ide/7/ HTTP/1.1", format!("{host}{host}")),
        ("GET http://evil.test/__ide/7/ HTTP/1.1", host.clone()),
        ("GET http://127.0.0.1/__ide/7/ HTTP/1.1", host.clone()),
        ("CONNECT 10.0.0.1:22 HTTP/1.1", host.clone()),
        ("OPTIONS * HTTP/1.1", host.clone()),
        ("GET /__ide/7/ HTTP/1.0", String::new()),
    ] {
        let reply = gateway.raw(format!("{line}\r\n{headers}{cookie}Connection: close\r\n\r\n")).await;
        assert_eq!(status(&reply), 400, "{line} {headers}: {reply}");
    }
    assert!(workspace.saw_nothing());
}

#[tokio::test]
async fn the_agents_port_and_steps_upwards_are_closed() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    for path in [
        "/proxy/18888/status",
        "/PROXY/18888/",
        "/absproxy/18888/",
        "/proxy/%31%38888/",
        "/../8/",
        "/x/%2e%2e/y",
        "/proxy/80@evil/",
        "/proxy/080/",
    ] {
        let reply = gateway.fetch(&format!("/__ide/7{path}"), "").await;
        assert!(status(&reply) == 403 && reply.contains("ide_path"), "{path}: {reply}");
        assert!(workspace.saw_nothing(), "{path}");
    }
    assert_eq!(status(&gateway.fetch("/__ide/7/proxy/3000/x?y", "").await), 200);
    assert!(workspace.saw().await.starts_with("GET /proxy/3000/x?y HTTP/1.1\r\n"));
}

#[tokio::test]
async fn foreign_pages_change_nothing() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let (host, cookie) = (gateway.host(), cookie(7));
    for (origin, wanted) in [("http://evil.test", 403), ("null", 403), (&format!("http://{}", gateway.addr), 200)] {
        let reply = gateway.raw(format!("POST /__ide/7/mint-key HTTP/1.1\r\n{host}{cookie}Origin: {origin}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&reply), wanted, "{origin}");
        assert_eq!(workspace.saw_nothing(), wanted != 200);
    }
}

#[tokio::test]
async fn heads_of_any_size_are_answered() {
    let answer = format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\nContent-Length: 2\r\n\r\nok", "b".repeat(60_000));
    let workspace = Workspace::answering(answer).await;
    let gateway = Fixture::before(workspace.addr).await;
    let big = format!("X-Big: {}\r\n", "a".repeat(20_000));
    let reply = gateway.fetch("/__ide/7/", &big).await;
    assert!(status(&reply) == 200 && reply.len() > 60_000, "{}", &reply[..200]);
    let giant = format!("X-Big: {}\r\n", "a".repeat(200_000));
    assert!(matches!(status(&gateway.fetch("/__ide/7/", &giant).await), 0 | 431));
    let many = "X-Many: 1\r\n".repeat(500);
    assert!(matches!(status(&gateway.fetch("/__ide/7/", &many).await), 0 | 431));
}

#[tokio::test]
async fn another_protocol_is_no_upgrade() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let (host, cookie) = (gateway.host(), cookie(7));
    for upgrade in ["h2c", "websocket, h2c", "TLS/1.0"] {
        let request = format!(
            "GET /__ide/7/ HTTP/1.1\r\n{host}{cookie}Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        );
        assert_eq!(status(&gateway.raw(request).await), 200, "{upgrade}");
        let seen = workspace.saw().await;
        assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{seen}");
    }
}
