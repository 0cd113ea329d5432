//! Requests and answers of every shape, as the workspace and the browser see them.
use super::*;

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_without_our_secrets() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let more = format!(
        "Cookie: theirs=1\r\nOrigin: http://{}\r\nAuthorization: Bearer secret\r\nX-Forwarded-For: 6.6.6.6\r\nX-Mine: a\r\n",
        gateway.addr
    );
    assert_eq!(status(&gateway.fetch("/__ide/7/a%2Fb//c?x=%20y&z", &more).await), 200);
    let seen = workspace.saw().await;
    assert!(seen.starts_with("GET /a%2Fb//c?x=%20y&z HTTP/1.1\r\n"), "{seen}");
    for line in [
        format!("host: {}", gateway.addr),
        format!("origin: http://{}", gateway.addr),
        "cookie: theirs=1".into(),
        "x-mine: a".into(),
        "x-forwarded-for: 127.0.0.1".into(),
        "x-forwarded-proto: http".into(),
        format!("x-forwarded-host: {}", gateway.addr),
    ] {
        assert!(has(&seen, &line), "{line}: {seen}");
    }
    for secret in ["secret", "good-7", "6.6.6.6"] {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
}

#[tokio::test]
async fn the_slash_is_put_where_relative_links_need_it() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let reply = gateway.fetch("/__ide/7?folder=/x", "").await;
    assert!(status(&reply) == 302 && has(&reply, "location: /__ide/7/?folder=/x"), "{reply}");
    assert!(workspace.saw_nothing());
}

#[tokio::test]
async fn bodies_pass_in_any_framing() {
    let workspace = Workspace::doing(|mut stream, _| async move {
        let mut body = Vec::new();
        while !body.ends_with(b"end") && !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap());
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[answer.as_bytes(), &body].concat()).await.unwrap();
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let post = |framing: &str, body: &str| {
        let (host, cookie) = (gateway.host(), cookie(7));
        gateway.raw(format!("POST /__ide/7/ HTTP/1.1\r\n{host}{cookie}Connection: close\r\n{framing}\r\n\r\n{body}"))
    };
    assert_eq!(body(&post("Content-Length: 6", "thrend").await), "thrend");
    let chunked = post("Transfer-Encoding: chunked", "3\r\nthr\r\n3\r\nend\r\n0\r\n\r\n").await;
    assert!(chunked.contains("thr") && chunked.contains("end"), "{chunked}");
    let expected = post("Expect: 100-continue\r\nContent-Length: 3", "end").await;
    // Our 100 or the workspace's own answer comes first: both are an end to the waiting.
    let whole = expected.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
    assert!(whole.starts_with("HTTP/1.1 200 OK") && whole.ends_with("end"), "{expected}");
}

#[tokio::test]
async fn who_expects_a_100_gets_one_and_then_sends_its_body() {
    let mut workspace = Workspace::doing(|mut stream, _| async move {
        // A workspace that says it as well: the browser hears it once.
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 3];
        stream.read_exact(&mut body).await.unwrap();
        let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", &body[..]].concat();
        stream.write_all(&answer).await.unwrap();
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let (host, cookie) = (gateway.host(), cookie(7));
    let head = format!(
        "POST /__ide/7/ HTTP/1.1\r\n{host}{cookie}Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    );
    let mut browser = gateway.connect().await;
    browser.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 25];
    timeout(DEADLINE, browser.read_exact(&mut first)).await.expect("told to go on").unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(has(&workspace.saw().await, "expect: 100-continue"));
    browser.write_all(b"end").await.unwrap();
    let mut rest = String::new();
    timeout(DEADLINE, browser.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK") && rest.ends_with("\r\n\r\nend"), "{rest}");
}

#[tokio::test]
async fn who_is_refused_at_the_door_is_not_asked_for_a_body() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let host = gateway.host();
    let head = format!(
        "POST /__ide/7/ HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(status(&gateway.raw(head).await), 401);
    assert!(workspace.saw_nothing());
}

#[tokio::test]
async fn answers_pass_in_any_framing() {
    for (answer, wanted) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "abc"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end"),
        ("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", ""),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nlost", "lost"),
        ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", ""),
    ] {
        let workspace = Workspace::answering(answer).await;
        let gateway = Fixture::before(workspace.addr).await;
        let reply = gateway.fetch("/__ide/7/", "").await;
        let last = answer.rsplit("HTTP/1.").next().unwrap();
        assert_eq!((status(&reply), body(&reply).as_str()), (status(last), wanted), "{answer}: {reply}");
    }
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let mut workspace = Workspace::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await;
    let gateway = Fixture::before(workspace.addr).await;
    let (host, cookie) = (gateway.host(), cookie(7));
    let reply = gateway.raw(format!("HEAD /__ide/7/ HTTP/1.1\r\n{host}{cookie}Connection: close\r\n\r\n")).await;
    assert!(status(&reply) == 200 && has(&reply, "content-length: 1234") && reply.ends_with("\r\n\r\n"), "{reply}");
    assert!(workspace.saw().await.starts_with("HEAD / HTTP/1.1"));
}

#[tokio::test]
async fn trailers_arrive_where_they_are_understood() {
    let answer =
        "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 42\r\n\r\n";
    let mut workspace = Workspace::answering(answer).await;
    let gateway = Fixture::before(workspace.addr).await;
    let (host, cookie) = (gateway.host(), cookie(7));
    let reply = gateway
        .raw(format!("GET /__ide/7/ HTTP/1.1\r\n{host}{cookie}TE: trailers\r\nConnection: TE, close\r\n\r\n"))
        .await;
    assert!(reply.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{reply}");
    assert!(has(&workspace.saw().await, "te: trailers"));
}

#[tokio::test]
async fn redirects_are_mapped_and_never_followed() {
    let elsewhere = Workspace::answering(OK).await;
    let answer = format!(
        "HTTP/1.1 307 Go\r\nLocation: http://{}/secret\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: zlh_session=x\r\nContent-Length: 0\r\n\r\n",
        elsewhere.addr
    );
    let workspace = Workspace::answering(answer).await;
    let gateway = Fixture::before(workspace.addr).await;
    let reply = gateway.fetch("/__ide/7/", "").await;
    assert!(has(&reply, &format!("location: http://{}/secret", elsewhere.addr)), "{reply}");
    assert!(has(&reply, "set-cookie: a=1; path=/__ide/7/") && !reply.contains("zlh_session"), "{reply}");
    let mut elsewhere = elsewhere;
    assert!(elsewhere.saw_nothing());
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_a_closing_one_is_not() {
    let (count, counted) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (connections, requests) = (count.clone(), counted.clone());
    let workspace = Workspace::doing(move |mut stream, _| {
        connections.fetch_add(1, SeqCst);
        let requests = requests.clone();
        async move {
            loop {
                requests.fetch_add(1, SeqCst);
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                if head(&mut stream).await.is_empty() {
                    return;
                }
            }
        }
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    for _ in 0..10 {
        assert_eq!(status(&gateway.fetch("/__ide/7/", "").await), 200);
    }
    assert_eq!((count.load(SeqCst), counted.load(SeqCst)), (1, 10));
}

/// A workspace that answers once on each connection as if it would keep it, then does what `after` says; each is counted.
async fn keeping<F, Fut>(after: F) -> (Workspace, mpsc::UnboundedReceiver<()>)
where
    F: Fn(TcpStream) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (done, over) = mpsc::unbounded_channel();
    let workspace = Workspace::doing(move |mut stream, _| {
        let (after, done) = (after.clone(), done.clone());
        async move {
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            after(stream).await;
            _ = done.send(());
        }
    });
    (workspace.await, over)
}

#[tokio::test]
async fn a_kept_connection_that_the_workspace_closed_is_replaced() {
    let (workspace, mut closed) = keeping(async |stream| drop(stream)).await;
    let gateway = Fixture::before(workspace.addr).await;
    for _ in 0..3 {
        assert_eq!(status(&gateway.fetch("/__ide/7/", "").await), 200);
        timeout(DEADLINE, closed.recv()).await.expect("the workspace closes").unwrap();
    }
}

/// Closed while the next request was on its way to it: nobody knows whether it was heard.
#[tokio::test]
async fn what_may_be_sent_twice_is_sent_again_when_a_kept_connection_ends_under_it() {
    for (method, status_wanted, heads) in [("GET", 200, 3), ("POST", 502, 2)] {
        let seen = Arc::new(AtomicU32::new(0));
        let count = seen.clone();
        let workspace = Workspace::doing(move |mut stream, _| {
            let count = count.clone();
            async move {
                count.fetch_add(1, SeqCst);
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                count.fetch_add(u32::from(!head(&mut stream).await.is_empty()), SeqCst);
            }
        })
        .await;
        let gateway = Fixture::before(workspace.addr).await;
        assert_eq!(status(&gateway.fetch("/__ide/7/", "").await), 200);
        let (host, cookie) = (gateway.host(), cookie(7));
        let request = format!("{method} /__ide/7/ HTTP/1.1\r\n{host}{cookie}Connection: close\r\n\r\n");
        assert_eq!(status(&gateway.raw(request).await), status_wanted, "{method}");
        assert_eq!(seen.load(SeqCst), heads, "{method}");
    }
}

#[tokio::test]
async fn who_answers_before_it_was_told_everything_is_heard() {
    let workspace = Workspace::doing(|mut stream, _| async move {
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut browser = gateway.connect().await;
    let (host, cookie) = (gateway.host(), cookie(7));
    let head = format!("PUT /__ide/7/ HTTP/1.1\r\n{host}{cookie}Content-Length: 100000000\r\n\r\n");
    browser.write_all(head.as_bytes()).await.unwrap();
    let reply = all(&mut browser).await;
    assert!(status(&reply) == 413 && reply.ends_with("big"), "{reply}");
}

#[tokio::test]
async fn an_unused_connection_is_closed_when_its_time_is_over() {
    for (idle, most) in [(MOMENT, 64), (Duration::from_secs(60), 0)] {
        let (workspace, mut ended) = keeping(async |mut stream| _ = stream.read_u8().await).await;
        let gateway = Fixture::with(workspace.addr, origin(None, None), false, |s| {
            (s.tunnel.upstream_idle, s.tunnel.upstream_connections) = (idle, most);
        })
        .await;
        assert_eq!(status(&gateway.fetch("/__ide/7/", "").await), 200);
        timeout(DEADLINE, ended.recv()).await.expect("the gateway closes").unwrap();
    }
}

#[tokio::test]
async fn a_broken_answer_is_never_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort",
    ] {
        let workspace = Workspace::answering(answer).await;
        let gateway = Fixture::before(workspace.addr).await;
        let reply = gateway.fetch("/__ide/7/", "").await;
        assert!(
            !reply.ends_with("0\r\n\r\n")
                && (status(&reply) == 502 || reply.contains("ontent-length: 100") || reply.contains("chunked")),
            "{reply}"
        );
    }
    for answer in [
        "",
        "HTTP/1.1",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let workspace = Workspace::answering(answer).await;
        let gateway = Fixture::before(workspace.addr).await;
        let reply = gateway.fetch("/__ide/7/", "").await;
        assert!(status(&reply) == 502 && reply.contains("ide_broke"), "{answer:?}: {reply}");
    }
}

#[tokio::test]
async fn a_workspace_that_never_answers_is_a_timeout() {
    let workspace = Workspace::doing(|mut stream, _| async move { _ = stream.read_u8().await }).await;
    let at = origin(None, None);
    let gateway = Fixture::with(workspace.addr, at, false, |s| s.tunnel.response_timeout = MOMENT).await;
    let reply = gateway.fetch("/__ide/7/", "").await;
    assert!(status(&reply) == 504 && reply.contains("ide_timeout"), "{reply}");
}

#[tokio::test]
async fn a_browser_that_leaves_takes_its_request_along() {
    let (gone, left) = mpsc::unbounded_channel();
    let workspace = Workspace::doing(move |mut stream, _| {
        let gone = gone.clone();
        async move {
            let end = stream.read_u8().await;
            _ = gone.send(end.is_err());
        }
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = gateway.connect().await;
    let request = format!("GET /__ide/7/ HTTP/1.1\r\n{}{}\r\n", gateway.host(), cookie(7));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut workspace = workspace;
    workspace.saw().await;
    drop(stream);
    let mut left = left;
    assert!(timeout(DEADLINE, left.recv()).await.unwrap().unwrap(), "the workspace's connection ends too");
}
