//! WebSockets through the tunnel: every byte of any frame, in both directions, to the last word.
use super::*;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

pub(super) const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A handshake with all that is needed; the answer is still to be read.
pub(super) async fn connect(gateway: &Fixture, path: &str) -> TcpStream {
    let mut stream = gateway.connect().await;
    stream.write_all(handshake(gateway, path, "").as_bytes()).await.unwrap();
    stream
}

pub(super) fn handshake(gateway: &Fixture, path: &str, more: &str) -> String {
    let (addr, cookie) = (gateway.addr, cookie(7));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\n{cookie}Origin: http://{addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
    )
}

/// A workspace that sends every message back, and what a browser sees before it.
async fn echo() -> (Workspace, Fixture, WebSocketStream<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (record, seen) = mpsc::unbounded_channel();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let record = record.clone();
            tokio::spawn(async move {
                #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
                let note = |request: &Request, response: Response| {
                    _ = record.send(format!("{} {:?}", request.uri(), request.headers()));
                    Ok(response)
                };
                let mut socket = accept_hdr_async(stream, note).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let workspace = Workspace { addr, seen };
    let gateway = Fixture::before(workspace.addr).await;
    let mut request = format!("ws://{}/__ide/7/stable?x=%20", gateway.addr).into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("cookie", "zlh_dev_ide_token=good-7; theirs=1".parse().unwrap());
    headers.insert("origin", format!("http://{}", gateway.addr).parse().unwrap());
    headers.insert("authorization", "Bearer secret".parse().unwrap());
    let (socket, _) = client_async(request, gateway.connect().await).await.unwrap();
    (workspace, gateway, socket)
}

#[tokio::test]
async fn messages_of_every_kind_and_size_come_back() {
    let (mut workspace, _gateway, mut socket) = echo().await;
    let seen = workspace.saw().await;
    assert!(seen.starts_with("/stable?x=%20 ") && seen.contains("theirs=1"), "{seen}");
    assert!(!seen.contains("good-7") && !seen.contains("secret"), "{seen}");
    for size in (0..=8).chain([125, 126, 65_535, 65_536, 1 << 20, 9 << 20]) {
        let message = Message::binary(vec![size as u8; size]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap(), message, "{size}");
    }
    socket.send(Message::text("grüße")).await.unwrap();
    assert_eq!(timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap(), Message::text("grüße"));
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(
        timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap(),
        Message::Pong("are you there".into())
    );
    let last = CloseFrame { code: CloseCode::Library(4321), reason: "enough".into() };
    socket.close(Some(last.clone())).await.unwrap();
    assert_eq!(timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap(), Message::Close(Some(last)));
    assert!(timeout(DEADLINE, socket.next()).await.unwrap().is_none(), "and then the connection ends");
}

#[tokio::test]
async fn bytes_are_not_looked_into() {
    let workspace = Workspace::doing(|mut stream, head| async move {
        assert!(
            has(&head, "sec-websocket-extensions: x-own; y=1") && has(&head, "sec-websocket-protocol: a, b"),
            "{head}"
        );
        let answer =
            SWITCH.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-own\r\nSec-WebSocket-Protocol: b\r\n\r\nfirst");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        _ = tokio::io::copy(&mut read, &mut write).await;
        _ = write.write_all(b"last").await;
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let more = "Sec-WebSocket-Extensions: x-own; y=1\r\nSec-WebSocket-Protocol: a, b\r\n";
    let mut stream = gateway.connect().await;
    // Reserved bits, a frame without end, half a header: nothing of it is ours to judge. It follows at once.
    let wild: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    stream.write_all(handshake(&gateway, "/__ide/7/", more).as_bytes()).await.unwrap();
    let reply = head(&mut stream).await;
    assert!(has(&reply, "sec-websocket-extensions: x-own") && has(&reply, "sec-websocket-protocol: b"), "{reply}");
    let (mut read, mut write) = stream.split();
    let send = async {
        write.write_all(&wild).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (_, read) = tokio::join!(send, timeout(DEADLINE, read.read_to_end(&mut heard)));
    read.unwrap().unwrap();
    assert!(heard.starts_with(b"first") && heard.ends_with(b"last"), "half-close passes through");
    assert_eq!(heard[5..heard.len() - 4], wild);
}

#[tokio::test]
async fn bytes_sent_before_the_answer_are_not_lost() {
    let workspace = Workspace::doing(|mut stream, _| async move {
        stream.write_all(SWITCH.as_bytes()).await.unwrap();
        let mut early = [0; 5];
        stream.read_exact(&mut early).await.unwrap();
        stream.write_all(&early).await.unwrap();
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = gateway.connect().await;
    stream.write_all(format!("{}early", handshake(&gateway, "/__ide/7/", "")).as_bytes()).await.unwrap();
    assert!(all(&mut stream).await.ends_with("\r\n\r\nearly"));
}

#[tokio::test]
async fn a_slow_reader_slows_its_sender_and_holds_little() {
    let (sent, progress) = watch::channel(0usize);
    let workspace = Workspace::doing(move |mut stream, _| {
        let sent = sent.clone();
        async move {
            stream.write_all(SWITCH.as_bytes()).await.unwrap();
            let block = vec![7; 64 << 10];
            for _ in 0..4096 {
                if stream.write_all(&block).await.is_err() {
                    return;
                }
                sent.send_modify(|n| *n += block.len());
            }
        }
    })
    .await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = connect(&gateway, "/__ide/7/").await;
    assert_eq!(status(&head(&mut stream).await), 101);
    let mut progress = progress;
    while timeout(Duration::from_millis(300), progress.changed()).await.is_ok() {}
    let stuck = *progress.borrow();
    assert!(stuck < 64 << 20, "{stuck} bytes went to a reader that takes none: only the kernel's buffers hold some");
    let mut left = vec![0; 1 << 20];
    stream.read_exact(&mut left).await.unwrap();
    timeout(DEADLINE, progress.changed()).await.expect("it goes on when the reader does").unwrap();
}

#[tokio::test]
async fn a_handshake_that_is_none_does_not_get_through() {
    let mut workspace = Workspace::answering(OK).await;
    let gateway = Fixture::before(workspace.addr).await;
    let with_body = handshake(&gateway, "/__ide/7/", "Content-Length: 3\r\nConnection: close\r\n");
    let reply = gateway.raw(with_body + "abc").await;
    assert!(status(&reply) == 400 && workspace.saw_nothing(), "{reply}");
    let old = handshake(&gateway, "/__ide/7/", "").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(status(&gateway.raw(old).await), 200, "in HTTP/1.0 it is an ordinary request");
    assert!(!workspace.saw().await.contains("upgrade"));
}

#[tokio::test]
async fn a_refusal_of_the_workspace_is_the_answer() {
    let workspace =
        Workspace::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = connect(&gateway, "/__ide/7/").await;
    assert_eq!(status(&head(&mut stream).await), 403);
    let dead = Fixture::before(NOBODY).await;
    let mut stream = connect(&dead, "/__ide/7/").await;
    assert_eq!(status(&head(&mut stream).await), 502);
}

#[tokio::test]
async fn a_workspace_that_dies_ends_its_streams() {
    let workspace = Workspace::answering(format!("{SWITCH}goodbye")).await;
    let gateway = Fixture::before(workspace.addr).await;
    let mut stream = connect(&gateway, "/__ide/7/").await;
    assert!(all(&mut stream).await.ends_with("goodbye"));
}
