//! Hostile and unlucky peers, on real sockets with small limits.
use crate::http::tests::{DEADLINE, Fixture, Reply, bearer, until};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

/// Everything until the server closes.
async fn rest(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as an end.
    let read = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    drop(read);
    Reply::parse(&bytes)
}

#[tokio::test]
async fn a_request_is_never_smuggled_behind_another() {
    let agent = Fixture::start().await;
    let host = format!("Host: {}\r\n{}", agent.addr, bearer());
    let smuggled = format!("POST /kill HTTP/1.1\r\n{host}\r\n");
    let heads = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nX: bare\n",
    ];
    for head in heads {
        let request = format!("POST /start HTTP/1.1\r\n{host}{head}\r\n0\r\n\r\n{smuggled}");
        let mut stream = agent.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let reply = rest(&mut stream).await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, "malformed"), "{head}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("HTTP/1.1"), "one answer, then closed: {head}");
    }
    let refused = [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n Content-Length: 4\r\n",
        "X\0: a\r\n",
    ];
    for head in refused {
        let reply = agent.raw(format!("POST /start HTTP/1.1\r\n{host}{head}\r\nabcd{smuggled}")).await;
        assert!(matches!(reply.status, 0 | 400), "{head}: {reply:?}");
    }
    assert_eq!(agent.calls.len(), 0, "nothing of all that reached the game");
}

#[tokio::test]
async fn heads_are_bounded() {
    let agent = Fixture::with(|s| {
        s.limits.headers = 20;
        s.limits.header_bytes = 9000;
    })
    .await;
    let host = format!("Host: {}\r\n", agent.addr);
    let flood: String = (0..30).map(|i| format!("X-{i}: 1\r\n")).collect();
    assert_eq!(agent.raw(format!("GET /health HTTP/1.1\r\n{host}{flood}\r\n")).await.status, 431);
    let giant = format!("X: {}\r\n", "x".repeat(40_000));
    assert_eq!(agent.raw(format!("GET /health HTTP/1.1\r\n{host}{giant}\r\n")).await.status, 431);
    let long_path = "x".repeat(70_000);
    let reply = agent.raw(format!("GET /{long_path} HTTP/1.1\r\n{host}\r\n")).await;
    assert!(matches!(reply.status, 414 | 431), "{}", reply.status);
    let fine: String = (0..10).map(|i| format!("X-{i}: 1\r\n")).collect();
    let reply = agent.raw(format!("GET /health HTTP/1.1\r\n{host}Connection: close\r\n{fine}\r\n")).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn odd_but_lawful_and_unlawful_heads() {
    let agent = Fixture::start().await;
    let status = |head: String| async { agent.raw(head).await.status };
    assert_eq!(status("GET /health HTTP/1.0\r\n\r\n".into()).await, 200);
    assert_eq!(status("GET /health HTTP/1.1\r\n\r\n".into()).await, 400);
    assert_eq!(status("GET /health HTTP/1.1\r\nConnection: close\r\nHost: a\r\nHost: b\r\n\r\n".into()).await, 400);
    assert_eq!(status(format!("GET /health HTTP/9.9\r\nHost: {}\r\n\r\n", agent.addr)).await, 400);
    assert_eq!(status("GET /health\r\n\r\n".into()).await, 400);
    assert_eq!(status("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()).await, 0, "closed, as RFC 9113 §3.4 lets us");
    assert_eq!(status("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".into()).await, 400);
}

#[tokio::test]
async fn a_missing_host_is_a_problem_that_says_so() {
    let agent = Fixture::start().await;
    let reply = agent.raw("GET /status HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(reply.problem(), "host_missing");
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off() {
    let agent = Fixture::with(|s| s.limits.header_timeout = Duration::from_millis(150)).await;
    let began = Instant::now();
    let mut stream = agent.connect().await;
    let mut slowly = tokio::time::interval(Duration::from_millis(5));
    let trickle = async {
        for byte in "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x')) {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            slowly.tick().await;
        }
    };
    timeout(DEADLINE, trickle).await.expect("the server hangs up");
    assert!(began.elapsed() >= Duration::from_millis(140));
    until("the slot is free again", || agent.traffic.open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn past_the_limit_a_peer_is_told_and_health_still_answers() {
    let agent = Fixture::with(|s| s.limits.connections = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(agent.connect().await);
    }
    until("all places are taken", || agent.traffic.open.load(Relaxed) == 3).await;
    let reply = agent.ask("GET", "/status").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "too_many_connections"));
    assert_eq!(reply.headers["connection"], "close");
    assert_eq!(agent.call("GET", "/health", "", "").await.text(), "ok");
    assert_eq!(agent.traffic.refused.load(Relaxed), 2);
    drop(held.pop());
    until("a place is free", || agent.traffic.open.load(Relaxed) <= 2).await;
    assert_eq!(agent.ask("GET", "/status").await.status, 200);
}

#[tokio::test]
async fn silent_peers_past_the_reserve_are_closed_at_once() {
    let never = Duration::from_secs(3600);
    let agent = Fixture::with(|s| (s.limits.connections, s.limits.header_timeout) = (1, never)).await;
    let mut held = Vec::new();
    for _ in 0..=super::RESERVE {
        held.push(agent.connect().await);
    }
    until("the reserve is used up", || agent.traffic.open.load(Relaxed) == 1 + super::RESERVE as u64).await;
    let mut beyond = agent.connect().await;
    let mut byte = [0];
    let read = timeout(DEADLINE, beyond.read(&mut byte)).await.expect("closed at once");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn connections_are_kept_and_pipelined() {
    let agent = Fixture::start().await;
    let mut stream = agent.connect().await;
    let one = format!("GET /status HTTP/1.1\r\nHost: {}\r\n{}\r\n", agent.addr, bearer());
    let last = format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", agent.addr);
    stream.write_all(format!("{one}{one}{last}").as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(agent.traffic.accepted.load(Relaxed), 1);
}

#[tokio::test]
async fn going_down_ends_idle_waiting_and_streaming_peers_in_order() {
    let agent = Fixture::start().await;
    let mut idle = agent.connect().await;
    let mut poller = agent.connect().await;
    let mut listener = agent.connect().await;
    let head = format!("HTTP/1.1\r\nHost: {}\r\n{}\r\n", agent.addr, bearer());
    idle.write_all(format!("GET /status {head}").as_bytes()).await.unwrap();
    let mut byte = [0];
    assert_eq!(idle.read(&mut byte).await.unwrap(), 1);
    poller.write_all(format!("GET /status?wait=60s {head}").as_bytes()).await.unwrap();
    listener.write_all(format!("GET /events {head}").as_bytes()).await.unwrap();
    until("both wait", || agent.status.receiver_count() >= 3).await;
    assert_eq!(agent.stop().await, 0, "nobody had to be dropped");
    rest(&mut idle).await;
    assert_eq!(rest(&mut poller).await.status, 200);
    assert!(rest(&mut listener).await.text().ends_with("0\r\n\r\n"), "the stream ends properly");
}

#[tokio::test]
async fn who_does_not_finish_is_dropped_after_the_drain() {
    let agent = Fixture::with(|s| s.limits.drain = Duration::from_millis(50)).await;
    let mut half = agent.connect().await;
    let head = format!("POST /config HTTP/1.1\r\nHost: {}\r\n{}Content-Length: 10\r\n\r\n{{", agent.addr, bearer());
    half.write_all(head.as_bytes()).await.unwrap();
    until("the request is being read", || agent.traffic.requests.load(Relaxed) == 1).await;
    assert_eq!(agent.stop().await, 1);
    assert_eq!(rest(&mut half).await.status, 0);
}

#[test]
fn a_lost_peer_is_no_reason_to_pause_but_a_lack_of_descriptors_is() {
    let about_one_peer = |errno| super::is_about_one_peer(&std::io::Error::from_raw_os_error(errno));
    for errno in [libc::ECONNABORTED, libc::ECONNRESET, libc::EINTR] {
        assert!(about_one_peer(errno), "{errno}");
    }
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        assert!(!about_one_peer(errno), "{errno}");
    }
}
