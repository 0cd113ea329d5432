//! Event streams and consoles: what passes, and what ends them.
use super::*;
use crate::{actors::statuses::Cached, model::time::WallTime};
use std::sync::atomic::Ordering::SeqCst;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn cached(state: &str) -> Cached {
    Cached::new(json!({"state": state}).to_string().into(), WallTime(1))
}

#[tokio::test]
async fn a_status_is_read_from_memory_and_its_changes_stream_until_it_is_revoked() {
    let f = Fixture::new().await;
    f.gateway.statuses.publish(GAME, cached("running"));
    assert_eq!(answer(f.get("/api/servers/5001/status").by(&f.ann)).await, (200, json!({"state": "running"})));
    let mut events = f.http.get(f.url("/api/servers/5001/events")).by(&f.ann).send().await.unwrap();
    let mut text = String::new();
    for state in ["running", "crashed", "idle"] {
        f.gateway.statuses.publish(GAME, cached(state));
        while !text.contains(&format!("event: status\ndata: {{\"state\":\"{state}\"}}\n\n")) {
            let chunk = timeout(DEADLINE, events.chunk()).await.expect(state).unwrap().unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
    f.gateway.doorkeeper.revoke(&f.ann.credential.id).await.unwrap();
    timeout(DEADLINE, async { while events.chunk().await.unwrap().is_some() {} }).await.expect("the stream goes on");
}

/// Opens a console with these headers; the answer's head and the stream behind it.
async fn console(f: &Fixture, headers: &[(&str, &str)]) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(f.at).await.unwrap();
    let mut request = format!(
        "GET /api/servers/5001/console?from=7 HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: zlh.console.v1\r\n",
        f.at
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(DEADLINE, stream.read_u8()).await.expect("no answer").unwrap());
    }
    (String::from_utf8(head).unwrap().to_ascii_lowercase(), stream)
}

async fn echoes(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut back = vec![0; bytes.len()];
    stream.write_all(bytes).await.is_ok()
        && matches!(timeout(DEADLINE, stream.read_exact(&mut back)).await, Ok(Ok(_)))
        && back == bytes
}

#[tokio::test]
async fn a_console_is_a_tunnel_of_bytes_until_it_is_revoked() {
    let f = Fixture::new().await;
    let bearer = format!("Bearer {}", f.ann.secret.0);
    let (head, mut stream) = console(&f, &[("Authorization", &bearer)]).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains(&format!("sec-websocket-accept: {}", KEY.to_ascii_lowercase())), "{head}");
    assert!(head.contains("sec-websocket-protocol: zlh.console.v1"), "{head}");
    assert!(echoes(&mut stream, b"\x81\x85any bytes \x00\xff").await);
    assert!(echoes(&mut stream, &[9; 200_000]).await || f.agent.state.consoles.load(SeqCst) == 1);
    f.gateway.doorkeeper.revoke(&f.ann.credential.id).await.unwrap();
    let mut rest = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the console goes on").ok();
    let gone = async {
        while f.agent.state.consoles.load(SeqCst) > 0 {
            tokio::task::yield_now().await
        }
    };
    timeout(DEADLINE, gone).await.expect("the agent's side stays open");
}

#[tokio::test]
async fn a_console_opens_for_pages_of_ours_alone() {
    let f = Fixture::new().await;
    let own = format!("http://{}", f.at);
    let cookie = format!("zlh_session={}", f.ann.secret.0);
    let bearer = format!("Bearer {}", f.ann.secret.0);
    let foreign = [
        "https://evil.example",
        "null",
        &format!("{own}.evil.example"),
        &format!("https://{}", f.at),
        "http://127.0.0.1",
    ];
    let (head, mut stream) = console(&f, &[("Cookie", &cookie), ("Origin", &own)]).await;
    assert!(head.starts_with("http/1.1 101 ") && echoes(&mut stream, b"x").await, "{head}");
    for origin in foreign {
        for credential in [("Cookie", cookie.as_str()), ("Authorization", &bearer)] {
            let (head, _) = console(&f, &[credential, ("Origin", origin)]).await;
            assert!(head.starts_with("http/1.1 403 "), "{origin}: {head}");
        }
    }
    let (head, _) = console(&f, &[("Cookie", &cookie)]).await;
    assert!(head.starts_with("http/1.1 403 "), "a cookie without an Origin: {head}");
    let (head, _) = console(&f, &[]).await;
    assert!(head.starts_with("http/1.1 401 "), "{head}");
    let plain = f.get("/api/servers/5001/console").by(&f.ann);
    assert_eq!(code(plain).await, problem(426, "upgrade_required"));
}

#[tokio::test]
async fn streams_are_counted() {
    let f = Fixture::with(|s| s.requests.streams_per_user = 1).await;
    let first = f.http.get(f.url("/api/servers/5001/events")).by(&f.ann).send().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(code(f.get("/api/servers/5001/events").by(&f.ann)).await, problem(429, "too_many_streams"));
    drop(first);
    let again = async {
        while f.get("/api/servers/5001/events").by(&f.ann).send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, again).await.expect("the place is never free again");
}
