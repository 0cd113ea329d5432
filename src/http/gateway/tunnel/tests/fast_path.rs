//! One connection, many requests: those of the fast path, those of hyper, and the way from one to the other.
use super::*;
use proptest::prelude::*;

/// More than sockets and a pipe hold.
const LARGE: usize = 12 << 20;

fn large() -> Vec<u8> {
    let pattern: Vec<u8> = (0..=250).collect(); // fits no power of two: a piece out of place shows
    pattern.repeat(LARGE / pattern.len() + 1)
}

/// Answers every request of each connection: `/large` with much, anything else with its request line.
async fn workspace() -> Workspace {
    Workspace::doing(|mut stream, mut asked| async move {
        while !asked.is_empty() {
            let line = asked.lines().next().unwrap_or_default().to_owned();
            let body = if line.contains("/large") { large() } else { line.clone().into_bytes() };
            let length: usize = asked
                .lines()
                .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let body = if line.starts_with("HEAD") { Vec::new() } else { body };
            if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
                return; // the browser has left
            }
            asked = head_or_end(&mut stream).await;
        }
    })
    .await
}

async fn head_or_end(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// One answer: its status and its body.
async fn answer(stream: &mut TcpStream, to_head: bool) -> (u16, Vec<u8>) {
    let head = timeout(DEADLINE, head(stream)).await.expect("an answer");
    let length = head.to_ascii_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; if to_head { 0 } else { length.unwrap_or(0) }];
    timeout(DEADLINE, stream.read_exact(&mut body)).await.expect("its body").unwrap();
    (status(&head), body)
}

impl Fixture {
    fn ask(&self, method: &str, path: &str, more: &str) -> String {
        format!("{method} /__ide/7{path} HTTP/1.1\r\n{}{}{more}\r\n", self.host(), cookie(7))
    }
}

#[tokio::test]
async fn a_connection_serves_requests_of_every_kind_in_their_order() {
    let workspace = workspace().await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = gateway.connect().await;
    let all = [
        gateway.ask("GET", "/1", ""),
        gateway.ask("HEAD", "/2", ""),
        gateway.ask("GET", "/3", "Connection: Keep-Alive\r\n"),
        gateway.ask("GET", "/4", "TE: trailers\r\n"),
        gateway.ask("POST", "/5", "Content-Length: 3\r\n") + "abc",
        gateway.ask("GET", "/6", ""),
    ];
    stream.write_all(all.concat().as_bytes()).await.unwrap();
    for (number, method) in ["GET", "HEAD", "GET", "GET", "POST", "GET"].into_iter().enumerate() {
        let (status, body) = answer(&mut stream, method == "HEAD").await;
        let wanted = if method == "HEAD" { String::new() } else { format!("{method} /{} HTTP/1.1", number + 1) };
        assert_eq!((status, String::from_utf8(body).unwrap()), (200, wanted));
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole_and_its_connection_serves_on() {
    let workspace = workspace().await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = gateway.connect().await;
    for _ in 0..3 {
        stream.write_all(gateway.ask("GET", "/large", "").as_bytes()).await.unwrap();
        let (status, body) = answer(&mut stream, false).await;
        assert!(status == 200 && body == large());
        stream.write_all(gateway.ask("HEAD", "/large", "").as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream, true).await, (200, Vec::new()));
    }
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_is_not_whole() {
    let workspace = Workspace::doing(|mut stream, _| async move {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", large().len() + 1);
        stream.write_all(&[head.as_bytes(), &large()].concat()).await.unwrap();
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = gateway.connect().await;
    stream.write_all(gateway.ask("GET", "/", "").as_bytes()).await.unwrap();
    assert_eq!(status(&head(&mut stream).await), 200);
    let mut body = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut body)).await.expect("the gateway closes").unwrap();
    assert!(body == large(), "what came is passed on, {} bytes", body.len());
}

#[tokio::test]
async fn a_revoked_session_ends_a_large_answer() {
    let workspace = workspace().await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = gateway.connect().await;
    stream.write_all(gateway.ask("GET", "/large", "").as_bytes()).await.unwrap();
    assert_eq!(status(&head(&mut stream).await), 200);
    gateway.revoke();
    let mut body = Vec::new();
    _ = timeout(DEADLINE, stream.read_to_end(&mut body)).await.expect("the gateway closes");
    assert!(body.len() < LARGE, "{} bytes", body.len());
}

#[tokio::test]
async fn a_browser_that_leaves_a_silent_stream_takes_it_along() {
    for framing in ["Content-Length: 9000000", "Transfer-Encoding: chunked"] {
        let (gone, mut left) = mpsc::unbounded_channel();
        let workspace = Workspace::doing(move |mut stream, _| {
            let gone = gone.clone();
            async move {
                let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\ndata\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                _ = gone.send(stream.read_u8().await.is_err());
            }
        })
        .await;
        let gateway = Fixture::before(workspace.addr).await;
        let mut stream = gateway.connect().await;
        stream.write_all(gateway.ask("GET", "/events", "").as_bytes()).await.unwrap();
        assert_eq!(status(&head(&mut stream).await), 200);
        drop(stream);
        assert!(timeout(DEADLINE, left.recv()).await.expect("the workspace is told").unwrap(), "{framing}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_after_what_was_right() {
    let long = format!("X: {}\r\n", "x".repeat(Limits::default().header_bytes));
    let many = "X: y\r\n".repeat(Limits::default().headers);
    for (method, path, more, wanted) in [
        ("GET", "/", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("GET", "/", "X: a\n", 400),
        ("GET", "/", "X: a\r\n b\r\n", 400),
        ("GET", "/", "Host: other\r\n", 400),
        ("GET", "/../x", "", 403),
        ("GET", "/proxy/18888/", "", 403),
        ("POST", "/", "Origin: http://evil.test\r\nContent-Length: 0\r\n", 403),
        ("GET", "/", &long, 431),
        ("GET", "/", &many, 431),
    ] {
        let workspace = workspace().await;
        let gateway = Fixture::before(workspace.addr).await;
        let mut stream = gateway.connect().await;
        stream.write_all(gateway.ask("GET", "/first", "").as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream, false).await.0, 200);
        _ = stream.write_all(gateway.ask(method, path, more).as_bytes()).await; // may be refused before it is all there
        assert_eq!(answer(&mut stream, false).await.0, wanted, "{method} {path} {:.40}", more);
    }
}

#[tokio::test]
async fn going_down_closes_who_is_idle_and_finishes_who_is_not() {
    let workspace = workspace().await;
    let gateway = Fixture::before(workspace.addr).await;
    let (mut idle, mut busy) = (gateway.connect().await, gateway.connect().await);
    idle.write_all(gateway.ask("GET", "/first", "").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut idle, false).await.0, 200);
    busy.write_all(gateway.ask("GET", "/large", "").as_bytes()).await.unwrap();
    let head = head(&mut busy).await;
    drop(gateway);
    assert_eq!(all(&mut idle).await, "");
    let mut body = Vec::new();
    timeout(DEADLINE, busy.read_to_end(&mut body)).await.expect("it ends").unwrap();
    assert!(status(&head) == 200 && body == large());
}

/// Answers requests until one is a handshake; from there on it says everything back.
async fn echo() -> Workspace {
    Workspace::doing(|mut stream, mut asked| async move {
        while !asked.is_empty() && !has(&asked, "upgrade: websocket") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            asked = head_or_end(&mut stream).await;
        }
        if asked.contains("/refused") {
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
            return;
        }
        if !asked.is_empty() {
            stream.write_all(streams::SWITCH.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            _ = tokio::io::copy(&mut read, &mut write).await; // until one of them has left
        }
    })
    .await
}

#[tokio::test]
async fn a_websocket_may_begin_on_any_connection_and_ends_with_the_gateway() {
    for before in [vec![], vec!["GET"], vec!["POST"], vec!["GET", "POST", "GET"]] {
        let workspace = echo().await;
        let gateway = Fixture::before(workspace.addr).await;
        let mut stream = gateway.connect().await;
        for method in &before {
            let more = if *method == "POST" { "Content-Length: 0\r\n" } else { "" };
            stream.write_all(gateway.ask(method, "/", more).as_bytes()).await.unwrap();
            assert_eq!(answer(&mut stream, false).await, (200, b"ok".into()), "{before:?}");
        }
        stream.write_all(streams::handshake(&gateway, "/__ide/7/refused", "").as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream, false).await, (403, b"no".into()), "{before:?}");
        stream.write_all((streams::handshake(&gateway, "/__ide/7/", "") + "early").as_bytes()).await.unwrap();
        let agreed = timeout(DEADLINE, head(&mut stream)).await.expect("an answer").to_ascii_lowercase();
        assert_eq!(status(&agreed), 101, "{before:?}");
        assert!(
            agreed.contains("\r\nconnection: upgrade\r\n") && agreed.contains("\r\nupgrade: websocket\r\n"),
            "{agreed}"
        );
        assert!(!agreed.contains("content-length") && !agreed.contains("transfer-encoding"), "{agreed}");
        stream.write_all(b" and late").await.unwrap();
        let mut said = [0; 14];
        timeout(DEADLINE, stream.read_exact(&mut said)).await.expect("all of it").unwrap();
        assert_eq!(&said, b"early and late");
        drop(gateway);
        assert_eq!(all(&mut stream).await, "", "{before:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn requests_cut_anywhere_are_the_same_requests(cuts in prop::collection::vec(1usize..200, 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let workspace = workspace().await;
            let gateway = Fixture::before(workspace.addr).await;
            let mut stream = gateway.connect().await;
            stream.set_nodelay(true).unwrap();
            let asked = ["/a", "/b", "/c"].map(|path| gateway.ask("GET", path, "")).concat();
            let mut rest = asked.as_bytes();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            for path in ["/a", "/b", "/c"] {
                assert_eq!(answer(&mut stream, false).await, (200, format!("GET {path} HTTP/1.1").into_bytes()));
            }
        });
    }
}
