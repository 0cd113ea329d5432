//! Who gets in: cookies, tokens, the bootstrap, and the end of a session.
use super::*;

#[tokio::test]
async fn each_request_needs_a_cookie_for_its_own_container() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let own = cookie(7);
    let two = "Cookie: zlh_dev_ide_token=stale; zlh_dev_ide_token=good-7\r\n";
    for (path, sent, wanted) in [
        ("/__ide/7/x", own.as_str(), 200),
        ("/__ide/7/x", two, 200),
        ("/__ide/7/x", "", 401),
        ("/__ide/7/x", "Cookie: zlh_dev_ide_token=bad\r\n", 401),
        ("/__ide/7/x", "Cookie: zlh_dev_ide_token=\r\n", 401),
        ("/__ide/7/x", "Authorization: Bearer good-7\r\n", 401),
        ("/__ide/7/x?token=good-7", "", 401),
        ("/__ide/8/x", own.as_str(), 401),
        ("/__ide/7/proxy/3000/", "", 401),
        ("/__ide/7/__zlh/start", "", 401),
        ("/", own.as_str(), 404),
        ("/__ide/07/x", own.as_str(), 404),
    ] {
        let reply =
            gateway.raw(format!("GET {path} HTTP/1.1\r\n{}{sent}Connection: close\r\n\r\n", gateway.host())).await;
        assert_eq!(status(&reply), wanted, "{path} {sent}: {reply}");
        assert_eq!(workspace.saw_nothing(), wanted != 200, "{path} {sent}");
    }
}

#[tokio::test]
async fn a_handshake_is_checked_as_a_request_is() {
    let mut workspace = Workspace::answering("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = Fixture::before(workspace.addr).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let own = format!("Origin: http://{}\r\n", gateway.addr);
    for (path, cookie, origin, wanted) in [
        ("/__ide/7/", cookie(7), own.as_str(), 500),
        ("/__ide/7/", String::new(), own.as_str(), 401),
        ("/__ide/8/", cookie(7), own.as_str(), 401),
        ("/__ide/7/?token=good-7", String::new(), own.as_str(), 401),
        ("/__ide/7/", cookie(7), "", 403),
        ("/__ide/7/", cookie(7), "Origin: null\r\n", 403),
        ("/__ide/7/", cookie(7), "Origin: http://evil.test\r\n", 403),
        ("/__ide/7/", cookie(7), "Origin: http://127.0.0.1\r\n", 403),
        ("/__ide/7/proxy/18888/", cookie(7), own.as_str(), 403),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\n{}{cookie}{origin}{upgrade}\r\n", gateway.host());
        let mut stream = gateway.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let reply = head(&mut stream).await;
        assert_eq!(status(&reply), wanted, "{path} {cookie} {origin}");
        assert_eq!(workspace.saw_nothing(), wanted != 500, "{path} {cookie} {origin}");
    }
}

#[tokio::test]
async fn a_token_becomes_a_cookie_once_and_leaves_no_trace() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let visit = |method: &str, path: &str| {
        gateway.raw(format!("{method} {path} HTTP/1.1\r\n{}Connection: close\r\n\r\n", gateway.host()))
    };
    assert_eq!(status(&visit("HEAD", "/api/dev/7/ide?token=fresh").await), 405, "looking does not use it up");
    assert_eq!(status(&visit("GET", "/api/dev/8/ide?token=fresh").await), 401, "another container's");
    assert_eq!(status(&visit("GET", "/api/dev/7/ide").await), 401);
    let reply = visit("GET", "/api/dev/7/ide?token=fresh").await;
    assert_eq!(status(&reply), 302, "{reply}");
    assert!(has(&reply, "location: /__ide/7/") && has(&reply, "referrer-policy: no-referrer"), "{reply}");
    assert!(has(&reply, "cache-control: no-store"), "{reply}");
    let set = "set-cookie: zlh_dev_ide_token=good-7; Path=/__ide/7/; Max-Age=28800; HttpOnly; SameSite=Lax";
    assert!(has(&reply, set), "{reply}");
    assert!(!reply.contains("fresh"), "{reply}");
    assert_eq!(status(&visit("GET", "/api/dev/7/ide?token=fresh").await), 401, "used");
    gateway.doors.tokens.lock().unwrap().insert("7:again".into());
    let reply = visit("GET", "/__ide/7/?folder=/x&token=again").await;
    assert!(status(&reply) == 302 && has(&reply, "location: /__ide/7/?folder=/x"), "{reply}");
    assert!(workspace.saw_nothing());
}

#[tokio::test]
async fn with_hosts_the_cookie_is_the_hosts_own() {
    let mut workspace = Workspace::answering(OK).await;
    let at = origin(Some("https://ide.test:8443"), Some("ide.test"));
    let gateway = Fixture::with(workspace.addr, at, false, |_| {}).await;
    let visit = |host: &str, path: &str, more: &str| {
        gateway.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"))
    };
    let reply = visit("ide.test:8443", "/api/dev/7/ide?token=fresh", "").await;
    assert!(has(&reply, "location: https://dev-7.ide.test:8443/?token=fresh"), "{reply}");
    assert!(!reply.to_lowercase().contains("set-cookie"), "{reply}");
    let reply = visit("dev-7.ide.test:8443", "/?token=fresh", "").await;
    let set = "set-cookie: __Host-zlh_dev_ide_token=good-7; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax; Secure";
    assert!(status(&reply) == 302 && has(&reply, "location: /") && has(&reply, set), "{reply}");
    let own = "Cookie: __Host-zlh_dev_ide_token=good-7\r\n";
    assert_eq!(status(&visit("dev-7.ide.test:8443", "/a?b", own).await), 200);
    assert!(workspace.saw().await.starts_with("GET /a?b HTTP/1.1\r\n"));
    assert_eq!(status(&visit("dev-8.ide.test:8443", "/a?b", own).await), 401);
    assert_eq!(
        status(&visit("dev-7.ide.test:8443", "/a", "Cookie: zlh_dev_ide_token=good-7\r\n").await),
        401,
        "tossed"
    );
    assert_eq!(status(&visit("dev-7.ide.test.evil.example", "/a?b", own).await), 404);
    for claim in ["X-Forwarded-Host", "X-Original-Host", "X-Host"] {
        let claimed = format!("{own}{claim}: dev-7.ide.test\r\nForwarded: host=dev-7.ide.test\r\n");
        assert_eq!(status(&visit("dev-8.ide.test", "/a", &claimed).await), 401, "{claim}");
    }
}

#[tokio::test]
async fn a_revoked_session_ends_what_flows_within_a_second() {
    let workspace = Workspace::doing(|mut stream, head| async move {
        let answer = if head.contains("/events") {
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
        } else {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello"
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        _ = stream.read_u8().await;
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut events = gateway.connect().await;
    let request = format!("GET /__ide/7/events HTTP/1.1\r\n{}{}\r\n", gateway.host(), cookie(7));
    events.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(status(&head(&mut events).await), 200);
    let mut socket = streams::connect(&gateway, "/__ide/7/socket").await;
    assert_eq!(status(&head(&mut socket).await), 101);
    gateway.revoke();
    // A second on a machine of our own; neither would end by itself.
    let ended = timeout(Duration::from_secs(20), async { (all(&mut events).await, all(&mut socket).await) }).await;
    let (events, socket) = ended.expect("both end");
    assert!(events.contains("data: 1") && socket == "hello", "{events} {socket}");
    assert_eq!(status(&gateway.fetch("/__ide/7/", "").await), 401);
}

#[tokio::test]
async fn use_renews_the_cookie() {
    let workspace = Workspace::answering(OK).await;
    let gateway = Fixture::with(workspace.addr, origin(None, None), true, |_| {}).await;
    let reply = gateway.fetch("/__ide/7/", "").await;
    let set = "set-cookie: zlh_dev_ide_token=good-7; Path=/__ide/7/; Max-Age=28800; HttpOnly; SameSite=Lax";
    assert!(has(&reply, set), "{reply}");
}

#[tokio::test]
async fn the_apis_bootstrap_sets_the_cookie_where_the_name_is_shared() {
    let doors = Fixture::before(NOBODY).await.doors;
    let at = |public: Option<&str>, suffix: Option<&str>| {
        doors.tokens.lock().unwrap().insert("7:t".into());
        Tunnel::new(doors.clone(), &GatewaySettings::default(), origin(public, suffix))
    };
    for (public, suffix, location, sets) in [
        (None, None, "http://127.0.0.1:8081/__ide/7/", true),
        (Some("https://127.0.0.1:9/"), None, "https://127.0.0.1:9/__ide/7/", true),
        (Some("https://ide.test"), None, "https://ide.test/__ide/7/?token=t", false),
        (Some("https://ide.test"), Some("ide.test"), "https://dev-7.ide.test/?token=t", false),
        (None, Some("ide.test"), "http://dev-7.ide.test:8081/?token=t", false),
    ] {
        let reply = at(public, suffix).bootstrap_elsewhere(Vmid(7), "t", "127.0.0.1:8080").await.unwrap();
        assert_eq!(reply.headers()["location"], location);
        assert_eq!(reply.headers().contains_key("set-cookie"), sets, "{location}");
    }
}

#[tokio::test]
async fn a_dead_workspace_gets_a_page_that_offers_start() {
    let gateway = Fixture::before(NOBODY).await;
    let reply = gateway.fetch("/__ide/7/", "Accept: text/html\r\n").await;
    assert_eq!(status(&reply), 502);
    for part in [
        "<h1>The IDE does not run</h1>",
        "The container is &lt;stopped&gt;.",
        "action=\"/__ide/7/__zlh/start\"",
        "refused",
    ] {
        assert!(reply.contains(part), "{part}: {reply}");
    }
    assert!(has(&reply, "refresh: 3") && !reply.contains("<script"), "{reply}");
    let reply = gateway.fetch("/__ide/7/", "Accept: application/json\r\n").await;
    assert!(status(&reply) == 502 && reply.contains("\"code\":\"ide_unreachable\""), "{reply}");
    let start = |more: &str| {
        let host = gateway.host();
        gateway.raw(format!(
            "POST /__ide/7/__zlh/start HTTP/1.1\r\n{host}{}{more}Content-Length: 0\r\nConnection: close\r\n\r\n",
            cookie(7)
        ))
    };
    assert_eq!(status(&start("Origin: http://evil.test\r\n").await), 403);
    assert_eq!(gateway.doors.starts.load(SeqCst), 0);
    let reply = start(&format!("Origin: http://{}\r\n", gateway.addr)).await;
    assert!(status(&reply) == 303 && has(&reply, "location: /__ide/7/"), "{reply}");
    assert_eq!(gateway.doors.starts.load(SeqCst), 1);
}
