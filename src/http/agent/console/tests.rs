//! The console over real sockets: both dialects, hostile peers, and viewers that never read.
use crate::{
    actors::game_server::{Denied, RunEnd},
    http::tests::{DEADLINE, Fixture, Reply, TOKEN, bearer, until},
    model::{exit::ExitStatus, ids::RunId, refusal::Refusal, settings::Settings},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

type Client = WebSocketStream<TcpStream>;

const V1: (&str, &str) = ("Sec-WebSocket-Protocol", "zlh.console.v1");

async fn open(agent: &Fixture, query: &str, more: &[(&'static str, &str)]) -> Result<Client, Error> {
    let mut request = format!("ws://{}/console/stream{query}", agent.addr).into_client_request()?;
    request.headers_mut().insert("Authorization", format!("Bearer {TOKEN}").parse().unwrap());
    for (name, value) in more {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let config = WebSocketConfig::default().read_buffer_size(256 << 10);
    Ok(client_async_with_config(request, agent.connect().await, Some(config)).await?.0)
}

async fn raw(agent: &Fixture, query: &str) -> Client {
    open(agent, query, &[]).await.unwrap()
}

async fn v1(agent: &Fixture, query: &str) -> Client {
    open(agent, query, &[V1]).await.unwrap()
}

/// The next frame that is no ping.
async fn next(client: &mut Client) -> Message {
    let coming = async {
        loop {
            match client.next().await.expect("a frame before the end").expect("a lawful frame") {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    };
    timeout(DEADLINE, coming).await.expect("a frame in time")
}

async fn json(client: &mut Client) -> Value {
    serde_json::from_str(next(client).await.to_text().unwrap()).unwrap()
}

/// Reads output until there are as many bytes.
async fn bytes(client: &mut Client, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend_from_slice(&next(client).await.into_data());
    }
    all
}

/// The code with which the server closes, and why.
async fn closed(client: &mut Client) -> (u16, String) {
    match next(client).await {
        Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("not a close frame: {other:?}"),
    }
}

async fn refusal(agent: &Fixture, query: &str, more: &[(&'static str, &str)]) -> (u16, String) {
    match open(agent, query, more).await {
        Err(Error::Http(response)) => {
            let body: Value = serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
            (response.status().as_u16(), body["code"].as_str().unwrap().to_owned())
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn raw_replays_from_a_line_start_and_goes_on() {
    let agent = Fixture::with(|s| s.console.replay_bytes = 14).await;
    agent.console.print("first line\nsecond\nthird\n");
    let mut client = raw(&agent, "").await;
    assert_eq!(bytes(&mut client, 13).await, b"second\nthird\n", "a line that begins exactly there is whole");
    agent.console.print(b"\x1b[31mred\xff\n");
    assert_eq!(next(&mut client).await, Message::binary(&b"\x1b[31mred\xff\n"[..]));
    let mut other = raw(&agent, "").await;
    assert_eq!(bytes(&mut other, 10).await, b"\x1b[31mred\xff\n", "not the middle of `third`");
}

#[tokio::test]
async fn raw_input_reaches_the_terminal_as_it_is() {
    let agent = Fixture::start().await;
    let mut client = raw(&agent, "").await;
    client.send(Message::text("say hi\r")).await.unwrap();
    assert_eq!(agent.console.typed().await, "say hi\r");
    client.send(Message::binary(&b"\x03\xff"[..])).await.unwrap();
    assert_eq!(&agent.console.typed().await[..], b"\x03\xff");
    agent.console.denies.send_replace(Some(Denied::Refused(Refusal::NotRunning)));
    client.send(Message::text("nobody listens")).await.unwrap();
    agent.console.print("still here");
    assert_eq!(bytes(&mut client, 10).await, b"still here");
}

#[tokio::test]
async fn text_frames_never_split_a_character() {
    let agent = Fixture::start().await;
    let mut client = raw(&agent, "?frames=text").await;
    agent.console.print(b"gr\xc3");
    assert_eq!(next(&mut client).await, Message::text("gr"));
    agent.console.print(b"\xbcn \xff\xf0\x9f\x98");
    assert_eq!(next(&mut client).await, Message::text("\u{fc}n \u{fffd}"));
    agent.console.print(b"\x80!");
    assert_eq!(next(&mut client).await, Message::text("\u{1f600}!"));
}

#[tokio::test]
async fn v1_says_hello_and_tells_of_gap_exit_and_epoch() {
    let agent = Fixture::start().await;
    agent.console.print("0123456789");
    agent.console.forget(4);
    let mut client = v1(&agent, "?from=2&epoch=7").await;
    let hello = json!({"type":"hello","epoch":7,"offset":2,"start":4,"columns":200,"rows":24,"readOnly":false});
    assert_eq!(json(&mut client).await, hello);
    assert_eq!(json(&mut client).await, json!({"type":"gap","from":2,"to":4}));
    assert_eq!(next(&mut client).await, Message::binary(&b"456789"[..]));
    agent.console.print("last words");
    agent.console.end(RunEnd { run: RunId(1), status: ExitStatus::Signal { signal: 9, core_dumped: false } });
    assert_eq!(next(&mut client).await, Message::binary(&b"last words"[..]));
    assert_eq!(json(&mut client).await, json!({"type":"exit","code":null,"signal":9}));
    agent.console.new_epoch(8, b"new");
    assert_eq!(json(&mut client).await, json!({"type":"epoch","epoch":8,"offset":0}));
    assert_eq!(next(&mut client).await, Message::binary(&b"new"[..]));
    assert_eq!(agent.ask("GET", "/metrics").await.text().matches("zlh_console_missed_bytes_total 2\n").count(), 1);
}

#[tokio::test]
async fn v1_input_resize_and_refusals() {
    let agent = Fixture::start().await;
    let mut client = v1(&agent, "").await;
    assert_eq!(json(&mut client).await["type"], "hello");
    client.send(Message::text(r#"{"type":"input","data":"list\n"}"#)).await.unwrap();
    assert_eq!(agent.console.typed().await, "list\n");
    client.send(Message::text(r#"{"type":"resize","columns":132,"rows":50}"#)).await.unwrap();
    let mut later = v1(&agent, "?from=0").await;
    until("the size is set", || crate::http::agent::backend::ConsoleLog::size(&*agent.console) == (132, 50)).await;
    assert_eq!(json(&mut later).await["offset"], 0);
    agent.console.denies.send_replace(Some(Denied::Refused(Refusal::NotRunning)));
    client.send(Message::text(r#"{"type":"input","data":"x"}"#)).await.unwrap();
    assert_eq!(json(&mut client).await, json!({"type":"refused","code":"not_running"}));
    let mut watcher = v1(&agent, "?readonly=true").await;
    assert_eq!(json(&mut watcher).await["readOnly"], true);
    watcher.send(Message::text(r#"{"type":"input","data":"x"}"#)).await.unwrap();
    assert_eq!(json(&mut watcher).await, json!({"type":"refused","code":"read_only"}));
}

#[tokio::test]
async fn faults_of_v1_close_with_a_reason() {
    let agent = Fixture::start().await;
    let resize = |columns: u32| Message::text(json!({"type":"resize","columns":columns,"rows":24}).to_string());
    let faults = [
        Message::text("stop"),
        Message::text("{}"),
        Message::text(r#"{"type":"input","data":"x","more":1}"#),
        Message::text(format!("{{\"type\":\"{}\"}}", "\u{fc}".repeat(500))),
        Message::text("[".repeat(5000)),
        Message::binary(&b"x"[..]),
        resize(0),
        resize(1001),
        resize(70_000),
    ];
    for fault in faults {
        let mut client = v1(&agent, "").await;
        assert_eq!(json(&mut client).await["type"], "hello");
        client.send(fault.clone()).await.unwrap();
        let (code, reason) = closed(&mut client).await;
        assert_eq!(code, 1008, "{fault:?}");
        assert!(!reason.is_empty());
    }
    until("all viewers are gone", || agent.traffic.open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn resuming_loses_nothing_and_repeats_nothing() {
    let agent = Fixture::start().await;
    let printed: String = (0..20_000).map(|i| format!("line {i}\n")).collect();
    let (mut seen, mut epoch, mut pieces) = (Vec::new(), 7, printed.as_bytes().chunks(3001));
    while seen.len() < printed.len() {
        let mut client = v1(&agent, &format!("?from={}&epoch={epoch}", seen.len())).await;
        let hello = json(&mut client).await;
        assert_eq!(hello["offset"], seen.len());
        epoch = hello["epoch"].as_u64().unwrap();
        let Some(piece) = pieces.next() else { break };
        agent.console.print(piece);
        seen.extend_from_slice(&next(&mut client).await.into_data());
        // Dropped here, in the middle of whatever is under way.
    }
    let mut client = v1(&agent, &format!("?from={}&epoch={epoch}", seen.len())).await;
    json(&mut client).await;
    if seen.len() < printed.len() {
        let left = printed.len() - seen.len();
        seen.extend(bytes(&mut client, left).await);
    }
    assert!(seen == printed.as_bytes());
}

#[tokio::test]
async fn a_strange_place_to_resume_is_put_right() {
    let agent = Fixture::with(|s| s.console.replay_bytes = 4).await;
    agent.console.print("abc\nde\n");
    let offset = async |query: &str| json(&mut v1(&agent, query).await).await["offset"].as_u64().unwrap();
    assert_eq!(offset("?from=999999&epoch=7").await, 7, "the future is the end");
    assert_eq!(offset("?from=2&epoch=6").await, 4, "another epoch is a new viewer");
    assert_eq!(offset("?from=2").await, 2);
    assert_eq!(offset("").await, 4);
    for query in ["?from=-1", "?from=x", "?epoch=-7", "?frames=morse", "?token=x"] {
        assert_eq!(refusal(&agent, query, &[V1]).await, (400, "malformed_query".into()), "{query}");
    }
    assert_eq!(refusal(&agent, "?frames=text", &[V1]).await.0, 400);
}

#[tokio::test]
async fn who_may_not_look_does_not_get_in() {
    let agent = Fixture::with(|s| s.console.max_viewers = 2).await;
    assert_eq!(refusal(&agent, "", &[("Origin", "http://evil.example")]).await, (403, "foreign_origin".into()));
    assert_eq!(refusal(&agent, "", &[("Origin", "null")]).await, (403, "foreign_origin".into()));
    assert_eq!(refusal(&agent, "", &[("Host", "evil.example")]).await, (403, "host_not_allowed".into()));
    assert_eq!(refusal(&agent, "", &[("Authorization", "Bearer wrong")]).await, (401, "unauthorized".into()));
    let own = format!("http://{}", agent.addr);
    let first = open(&agent, "", &[("Origin", &own)]).await.unwrap();
    let _second = raw(&agent, "").await;
    assert_eq!(refusal(&agent, "", &[]).await, (429, "too_many_viewers".into()));
    drop(first);
    let again = async { while open(&agent, "", &[]).await.is_err() {} };
    timeout(DEADLINE, again).await.expect("a place becomes free");
}

fn handshake(agent: &Fixture, head: &str, more: &str) -> String {
    format!("{head}\r\nHost: {}\r\n{}{more}\r\n", agent.addr, bearer())
}

const GOOD: &str = "Connection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const GET: &str = "GET /console/stream HTTP/1.1";

#[tokio::test]
async fn crooked_handshakes_are_refused_in_words() {
    let agent = Fixture::start().await;
    let without =
        |line: &str| GOOD.lines().filter(|l| !l.starts_with(line)).map(|l| format!("{l}\r\n")).collect::<String>();
    let cases = [
        (GET, String::new(), 426),
        (GET, without("Connection"), 426),
        (GET, without("upgrade"), 426),
        (GET, without("Sec-WebSocket-Version"), 400),
        (GET, without("Sec-WebSocket-Version") + "Sec-WebSocket-Version: 8\r\n", 426),
        (GET, without("Sec-WebSocket-Key"), 400),
        (GET, without("Sec-WebSocket-Key") + "Sec-WebSocket-Key: short\r\n", 400),
        (GET, format!("{GOOD}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
        (GET, format!("{GOOD}Content-Length: 5\r\n"), 400),
        (GET, format!("{GOOD}Transfer-Encoding: chunked\r\n"), 400),
        ("GET /console/stream HTTP/1.0", GOOD.to_owned(), 426),
        ("POST /console/stream HTTP/1.1", GOOD.to_owned(), 405),
    ];
    for (head, more, status) in cases {
        let mut stream = agent.connect().await;
        let body = if more.contains("Transfer-Encoding") { "0\r\n\r\n" } else { "" };
        let request = handshake(&agent, head, &format!("{more}Accept: */*\r\n")) + body;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let n = timeout(DEADLINE, stream.read(&mut answer)).await.unwrap().unwrap();
        let reply = Reply::parse(&answer[..n]);
        assert_eq!(reply.status, status, "{head} {more}");
        reply.problem();
        if status == 426 {
            assert_eq!(reply.headers["sec-websocket-version"], "13");
        }
    }
}

/// A hand-made client: what it sends after the handshake, and what the server closes with.
async fn after_handshake(agent: &Fixture, more: &str, frames: &[u8]) -> Option<u16> {
    let mut stream = agent.connect().await;
    stream.write_all(handshake(agent, GET, &format!("{GOOD}{more}")).as_bytes()).await.unwrap();
    stream.write_all(frames).await.ok();
    let mut bytes = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the server closes").ok();
    let reply = Reply::parse(&bytes);
    assert_eq!(reply.status, 101);
    assert_eq!(reply.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    // Small frames from the server: two bytes of head. Look for the close frame.
    let mut rest = &reply.body[..];
    while let [kind, length, ..] = rest {
        let payload = &rest[2..2 + usize::from(*length)];
        if *kind == 0x88 {
            return Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
        rest = &rest[2 + payload.len()..];
    }
    None
}

/// Client frames with an all-zero mask, so that payloads read as they are.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n if n < 126 => frame.push(0x80 | n as u8),
        n if n < 65_536 => {
            frame.push(0x80 | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn hostile_frames_end_their_own_connection_only() {
    let agent = Fixture::start().await;
    let mut witness = raw(&agent, "").await;
    let big = vec![b'x'; 65_537];
    let mut giant_head = vec![0x82, 0xff];
    giant_head.extend((64u64 << 20).to_be_bytes());
    giant_head.extend([0; 4]);
    let mut absurd_head = vec![0x82, 0xff];
    absurd_head.extend(u64::MAX.to_be_bytes());
    absurd_head.extend([0; 4]);
    let endless: Vec<u8> = std::iter::once(frame(0x02, &big[..40_000]))
        .chain((0..9).map(|_| frame(0x00, &big[..10_000])))
        .flatten()
        .collect();
    let close_1_byte = frame(0x88, b"x");
    let cases: [(&str, Vec<u8>, Option<u16>); 13] = [
        ("one byte too many", frame(0x82, &big), Some(1009)),
        ("a head that promises 64 MB", giant_head, Some(1009)),
        ("a head that promises 2^64", absurd_head, Some(1009)),
        ("fragmented past the limit", endless, Some(1009)),
        ("not masked", vec![0x82, 0x01, b'x'], Some(1002)),
        ("a reserved bit (compression nobody agreed on)", frame(0xc2, b"x"), Some(1002)),
        ("an unknown opcode", frame(0x83, b"x"), Some(1002)),
        ("a continuation of nothing", frame(0x80, b"x"), Some(1002)),
        ("a new message inside a message", [frame(0x02, b"a"), frame(0x82, b"b")].concat(), Some(1002)),
        ("a ping in fragments", frame(0x09, b"x"), Some(1002)),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), Some(1002)),
        ("text that is not UTF-8", frame(0x81, b"\xff\xfe"), Some(1007)),
        ("a close code of one byte", close_1_byte, Some(1002)),
    ];
    for (what, frames, code) in cases {
        assert_eq!(after_handshake(&agent, "", &frames).await, code, "{what}");
    }
    assert_eq!(after_handshake(&agent, "", &frame(0x88, &1000u16.to_be_bytes())).await, Some(1000), "an orderly close");
    agent.console.print("alive");
    assert_eq!(bytes(&mut witness, 5).await, b"alive");
    until("all others are gone", || agent.traffic.open.load(Relaxed) == 1).await;
}

#[tokio::test]
async fn small_and_fragmented_frames_are_input_and_pings_are_answered() {
    let agent = Fixture::start().await;
    for size in 1..=8usize {
        let mut client = raw(&agent, "").await;
        client.send(Message::binary(vec![b'0' + size as u8; size])).await.unwrap();
        assert_eq!(agent.console.typed().await.len(), size);
    }
    let pieces = [frame(0x82, b""), frame(0x02, b"a"), frame(0x89, b"p"), frame(0x00, b""), frame(0x80, b"b")].concat();
    let close = frame(0x88, &1000u16.to_be_bytes());
    assert_eq!(after_handshake(&agent, "", &[pieces, close].concat()).await, Some(1000));
    assert_eq!(agent.console.typed().await, "ab");
}

#[tokio::test]
async fn peers_that_vanish_leave_nothing_behind() {
    let agent = Fixture::start().await;
    for bytes in ["", "GET /console", &handshake(&agent, GET, GOOD)] {
        let mut stream = agent.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        drop(stream);
    }
    for _ in 0..50 {
        drop(raw(&agent, "").await);
    }
    until("no connection is left", || agent.traffic.open.load(Relaxed) == 0).await;
    until("no viewer is left", || agent.console.viewers_waiting() == 0).await;
    let gauge = agent.ask("GET", "/metrics").await;
    assert!(gauge.text().contains("\nzlh_console_viewers 0\n"));
}

fn impatient(settings: &mut Settings) {
    settings.console.ping = Duration::from_millis(20);
    settings.console.stall = Duration::from_millis(300);
}

#[tokio::test]
async fn a_viewer_that_never_reads_is_cut_off_while_another_gets_all() {
    let agent = Fixture::with(impatient).await;
    let mut sleeper = agent.connect().await;
    sleeper.write_all(handshake(&agent, GET, GOOD).as_bytes()).await.unwrap();
    let mut reader = raw(&agent, "?from=0").await;
    until("both look", || agent.console.viewers_waiting() == 2).await;
    let line = [b"x".repeat(99), b"\n".to_vec()].concat();
    let (mut sent, mut got) = (0, 0);
    let flood = async {
        while agent.traffic.open.load(Relaxed) == 2 || got < sent {
            if got == sent {
                agent.console.print(line.repeat(2000));
                sent += 200_000;
            }
            got += next(&mut reader).await.into_data().len();
        }
    };
    timeout(DEADLINE, flood).await.expect("the sleeper is cut off");
    assert_eq!(got, sent);
}

#[tokio::test]
async fn input_gets_in_while_output_is_stuck() {
    let agent = Fixture::start().await;
    let mut client = raw(&agent, "").await;
    agent.console.print(vec![b'x'; 16 << 20]);
    until("the viewer is under way", || agent.console.viewers_waiting() == 1).await;
    client.send(Message::text("stop\n")).await.unwrap();
    assert_eq!(agent.console.typed().await, "stop\n");
}

#[tokio::test]
async fn pings_go_out_and_who_never_answers_is_dropped() {
    let agent = Fixture::with(impatient).await;
    let began = Instant::now();
    let mut silent = agent.connect().await;
    silent.write_all(handshake(&agent, GET, GOOD).as_bytes()).await.unwrap();
    let mut answering = raw(&agent, "").await;
    let mut bytes = Vec::new();
    let answers = async {
        while let Some(Ok(Message::Ping(_))) = answering.next().await {} // each read answers the ping before
    };
    tokio::select! {
        read = timeout(DEADLINE, silent.read_to_end(&mut bytes)) => { read.expect("dropped").ok(); }
        () = answers => panic!("who answers is not left"),
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
    let pings = bytes.windows(2).filter(|w| *w == [0x89, 0]).count();
    assert!(pings >= 3, "{pings}");
    agent.console.print("alive");
    assert_eq!(self::bytes(&mut answering, 5).await, b"alive");
}

#[tokio::test]
async fn going_down_says_so() {
    let agent = Fixture::start().await;
    let mut client = v1(&agent, "").await;
    assert_eq!(json(&mut client).await["type"], "hello");
    let (left, close) = tokio::join!(agent.stop(), closed(&mut client));
    assert_eq!((left, close.0), (0, 1001));
}

#[tokio::test]
async fn the_log_is_read_by_offset() {
    let agent = Fixture::with(|s| s.console.page_bytes = 8).await;
    agent.console.print("0123456789abcdefghij");
    agent.console.forget(5);
    let cases = [
        ("?from=5", "5", "56789abc"),
        ("?from=0", "5", "56789abc"),
        ("?from=13&limit=4", "13", "defg"),
        ("?from=-3", "17", "hij"),
        ("?from=-99", "5", "56789abc"),
        ("", "12", "cdefghij"),
        ("?from=20", "20", ""),
        ("?from=99", "20", ""),
        ("?from=5&limit=0", "5", ""),
    ];
    for (query, from, body) in cases {
        let reply = agent.ask("GET", &format!("/console/log{query}")).await;
        assert_eq!((reply.status, reply.text(), reply.headers["log-from"].as_str()), (200, body, from), "{query}");
        assert_eq!(["log-start", "log-end", "log-epoch"].map(|h| reply.headers[h].as_str()), ["5", "20", "7"]);
        assert_eq!(reply.headers["content-type"], "application/octet-stream");
    }
    for query in ["?from=x", "?limit=-1", "?tail=5"] {
        assert_eq!(agent.ask("GET", &format!("/console/log{query}")).await.problem(), "malformed_query");
    }
}
