//! Probes against real sockets: honest peers byte by byte, and hostile ones.
use super::*;
use std::time::Instant;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const PATIENCE: Duration = Duration::from_secs(60);
const HURRY: Duration = Duration::from_millis(300);

/// A TCP peer: every connection gets what `reply` says to its first bytes, then is closed (`hold`: kept open).
async fn peer(hold: bool, reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut question = vec![0; 512];
            let length = stream.read(&mut question).await.unwrap_or(0);
            let _gone = stream.write_all(&reply(&question[..length])).await;
            if hold {
                held.push(stream);
            }
        }
    });
    port
}

async fn udp_peer(reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut question = vec![0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let _gone = socket.send_to(&reply(&question[..length]), from).await;
        }
    });
    port
}

fn status_packet(json: &str) -> Vec<u8> {
    let varint = |mut n: usize| {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    let packet = [vec![0], varint(json.len()), json.as_bytes().to_vec()].concat();
    [varint(packet.len()), packet].concat()
}

fn kick(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut bytes = vec![0xff];
    bytes.extend((units.len() as u16).to_be_bytes());
    bytes.extend(units.into_iter().flat_map(u16::to_be_bytes));
    bytes
}

fn players(online: u32, max: u32, names: &[&str]) -> Option<Players> {
    Some(Players { online, max, players: names.iter().map(|n| n.to_string()).collect() })
}

async fn ping(port: u16, within: Duration) -> Result<ProbeAnswer, ProbeError> {
    ask(&ReadyProbe::MinecraftPing { port }, within).await
}

#[tokio::test]
async fn a_minecraft_server_tells_players_and_version() {
    let json = r#"{"version":{"name":"Paper §c1.21.4","protocol":769},"players":{"max":20,"online":2,"sample":[
        {"name":"Alice","id":"1"},{"name":"Bob\u001b[31m","id":"2"}]},"description":{"text":"hi"}}"#;
    let port = peer(true, move |question| {
        // Length 15, id 0, version -1, "127.0.0.1"; the port follows, then state 1 and the request.
        assert_eq!(&question[..17], b"\x13\x00\xff\xff\xff\xff\x0f\x09127.0.0.1");
        assert_eq!(&question[19..], [1, 1, 0]);
        status_packet(json)
    })
    .await;
    let answer = ping(port, PATIENCE).await.unwrap();
    assert_eq!(
        answer,
        ProbeAnswer { players: players(2, 20, &["Alice", "Bob"]), version: Some("Paper 1.21.4".into()) }
    );
}

#[tokio::test]
async fn odd_but_honest_answers_are_understood() {
    let huge =
        format!(r#"{{"players":{{"max":-1,"online":99999999999,"sample":null}},"favicon":"{}"}}"#, "x".repeat(200_000));
    let port = peer(true, move |_| status_packet(&huge)).await;
    assert_eq!(ping(port, PATIENCE).await.unwrap().players, players(u32::MAX, 0, &[]));
    let port = peer(true, |_| status_packet("{}")).await;
    assert_eq!(ping(port, PATIENCE).await.unwrap(), ProbeAnswer::default());
}

#[tokio::test]
async fn old_servers_are_asked_in_their_own_words() {
    let host = "127.0.0.1".encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let port = peer(false, move |q| {
        let is_1_6 =
            q.starts_with(b"\xfe\x01\xfa\x00\x0b\x00M\x00C\x00|") && q[27..].starts_with(&[0x00, 0x19, 78, 0, 9]);
        if is_1_6 && q[32..].starts_with(&host) {
            kick(&["§1", "78", "1.6.4", "A motd", "3", "20"].join("\0"))
        } else {
            Vec::new()
        }
    })
    .await;
    let answer = ping(port, PATIENCE).await.unwrap();
    assert_eq!(answer, ProbeAnswer { players: players(3, 20, &[]), version: Some("1.6.4".into()) });

    let port = peer(false, |q| {
        if q == [0xfe, 0x01] { kick(&["§1", "51", "1.4.7", "m", "1", "2"].join("\0")) } else { Vec::new() }
    })
    .await;
    assert_eq!(ping(port, PATIENCE).await.unwrap().version.as_deref(), Some("1.4.7"));

    let port = peer(false, |q| if q == [0xfe] { kick("A §c motd§4§8") } else { Vec::new() }).await;
    assert_eq!(ping(port, PATIENCE).await.unwrap().players, players(4, 8, &[]));
}

#[tokio::test]
async fn hostile_answers_are_refused_without_waiting_or_growing() {
    for (what, bytes) in [
        ("varint without end", vec![0xff; 64]),
        ("2 GB length", vec![0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]),
        ("2 MB length", vec![0x80, 0x80, 0x7f, 0x00]),
        ("zero length", vec![0x00]),
        ("string longer than the packet", vec![0x05, 0x00, 0x7f, b'{', b'}', b' ']),
        ("another packet", vec![0x03, 0x1a, 0x01, b'x']),
        ("no JSON", status_packet("hello")),
        ("deep JSON", status_packet(&"[".repeat(50_000))),
        ("wrong types", status_packet(r#"{"players":"many"}"#)),
        ("invalid UTF-8", [vec![0x05, 0x00, 0x03], vec![b'"', 0xff, b'"']].concat()),
        ("a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("a kick of 65535 characters", vec![0xff, 0xff, 0xff, 0, 65]),
        ("a kick that is no status", kick("go away")),
    ] {
        let port = peer(false, move |_| bytes.clone()).await;
        let begun = Instant::now();
        let error = ping(port, PATIENCE).await.unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("answers, but not the Minecraft protocol"), "{what}: {sentence}");
        assert!(begun.elapsed() < PATIENCE / 2, "{what}");
    }
}

#[tokio::test]
async fn slow_and_silent_peers_cost_no_more_than_the_time_given() {
    let silent = peer(true, |_| Vec::new()).await;
    let cut = peer(true, |_| status_packet(&"x".repeat(9000))[..100].to_vec()).await;
    let dripping = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut drops = tokio::time::interval(Duration::from_millis(20));
            for byte in status_packet(&"x".repeat(9000)) {
                drops.tick().await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        });
        port
    };
    for port in [silent, cut, dripping] {
        let begun = Instant::now();
        let error = ping(port, HURRY).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no answer from 127.0.0.1:{port} within 300 ms"));
        assert!(begun.elapsed() >= HURRY && begun.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn where_nobody_listens_every_probe_says_so() {
    // tcpmux: nobody's, and never given to whoever asks for any port.
    let port = 1;
    for probe in [
        ReadyProbe::MinecraftPing { port },
        ReadyProbe::Tcp { port },
        ReadyProbe::Http { port, path: "/".into() },
        ReadyProbe::A2s { port },
        ReadyProbe::Udp { port, send: "00".into(), expect: "00".into() },
        ReadyProbe::Banner { port, begins: "SSH-2.0-".into() },
    ] {
        let error = ask(&probe, PATIENCE).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("connection refused on 127.0.0.1:{port}: nothing listens there"),
            "{probe:?}"
        );
    }
}

#[tokio::test]
async fn a_greeting_is_the_proof_and_anything_else_is_not() {
    for (greeting, ok) in [("SSH-2.0-OpenSSH_9.2\r\n", true), ("HTTP/1.1 400\r\n", false), ("", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for piece in greeting.as_bytes().chunks(7) {
                stream.write_all(piece).await.unwrap();
            }
        });
        let answer = ask(&ReadyProbe::Banner { port, begins: "SSH-2.0-".into() }, PATIENCE).await;
        match ok {
            true => assert_eq!(answer.unwrap().version.as_deref(), Some("SSH-2.0-OpenSSH_9.2")),
            false => assert!(matches!(answer, Err(ProbeError::Foreign { .. })), "{answer:?}"),
        }
    }
    let port = peer(true, |_| Vec::new()).await;
    let silent = ask(&ReadyProbe::Banner { port, begins: "SSH-2.0-".into() }, HURRY).await;
    assert!(matches!(silent, Err(ProbeError::Silent { .. })), "{silent:?}");
}

#[tokio::test]
async fn a_command_that_ends_with_0_is_an_answer() {
    let ask_by = |script: &str| ReadyProbe::Command { argv: ["/bin/sh", "-c", script].map(str::to_owned).into() };
    assert!(ask(&ask_by("exit 0"), PATIENCE).await.is_ok());
    let error = ask(&ask_by("echo not yet >&2; exit 1"), PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("not yet"), "{error}");
}

#[tokio::test]
async fn tcp_and_none_need_little() {
    let port = peer(false, |_| Vec::new()).await;
    assert!(ask(&ReadyProbe::Tcp { port }, PATIENCE).await.is_ok());
    assert!(ask(&ReadyProbe::None, PATIENCE).await.is_ok());
    let log = ask(&ReadyProbe::Log { pattern: "x".into() }, PATIENCE).await.unwrap_err();
    assert!(matches!(log, ProbeError::Unusable(_)));
}

#[tokio::test]
async fn http_looks_at_the_status_only() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\n", "ok"),
        ("HTTP/1.0 404 Not Found\r\n\r\n", "ok"),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "ok"),
        ("HTTP/1.1 503 Busy\r\n\r\n", "answers with HTTP status 503"),
        ("HTTP/1.1 999 ?\r\n\r\n", "answers, but not HTTP"),
        ("SSH-2.0-OpenSSH\r\n", "answers, but not HTTP"),
        ("", "answers, but not HTTP"),
    ] {
        let port = peer(false, move |q| {
            assert!(q.starts_with(b"GET /ready?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
            answer.into()
        })
        .await;
        let result = ask(&ReadyProbe::Http { port, path: "/ready?x=1".into() }, PATIENCE).await;
        let said = result.map_or_else(|e| e.to_string(), |_| "ok".to_owned());
        assert!(said.contains(expected), "{answer:?}: {said}");
    }
    let endless = peer(false, |_| vec![b'x'; 1 << 20]).await;
    let error = ask(&ReadyProbe::Http { port: endless, path: "/".into() }, PATIENCE).await.unwrap_err();
    assert!(matches!(error, ProbeError::Foreign { .. } | ProbeError::Failed { .. }), "{error}");
    let smuggled = ReadyProbe::Http { port: endless, path: "/ HTTP/1.1\r\nX: y".into() };
    assert!(matches!(ask(&smuggled, PATIENCE).await.unwrap_err(), ProbeError::Unusable(_)));
}

#[tokio::test]
async fn a_source_server_is_asked_with_its_challenge() {
    let info =
        b"\xff\xff\xff\xffI\x11name\0map\0tf\0Team Fortress\0\xb8\x01\x05\x18\x00dl\x00\x018622567\0\xb1".to_vec();
    let port = udp_peer(move |q| match q {
        b"\xff\xff\xff\xffTSource Engine Query\0" => b"\xff\xff\xff\xffA\x01\x02\x03\x04".to_vec(),
        b"\xff\xff\xff\xffTSource Engine Query\0\x01\x02\x03\x04" => info.clone(),
        _ => Vec::new(),
    })
    .await;
    let answer = ask(&ReadyProbe::A2s { port }, PATIENCE).await.unwrap();
    assert_eq!(answer, ProbeAnswer { players: players(5, 24, &[]), version: Some("8622567".into()) });
    let goldsrc = udp_peer(|_| b"\xff\xff\xff\xffm127.0.0.1:1\0name\0map\0cs\0CS\0\x03\x10\x2f".to_vec()).await;
    assert_eq!(ask(&ReadyProbe::A2s { port: goldsrc }, PATIENCE).await.unwrap().players, players(3, 16, &[]));
}

#[tokio::test]
async fn hostile_source_servers_are_refused() {
    for answer in [
        &b""[..],
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\xffI",
        b"\xff\xff\xff\xffI\x11no end of a name",
        b"\xff\xff\xff\xffA\x01",
        b"\xff\xff\xff\xffA\x01\x02\x03\x04",
        b"hello",
    ] {
        let port = udp_peer(move |_| answer.to_vec()).await;
        let error = ask(&ReadyProbe::A2s { port }, PATIENCE).await.unwrap_err();
        assert!(matches!(error, ProbeError::Foreign { .. }), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_udp_answer_must_begin_as_expected() {
    let minetest = udp_peer(|q| {
        if q == b"\x4f\x45\x74\x03\0\0\0\x01" {
            b"\x4f\x45\x74\x03\0\x01\0\x03\0\0\x02\0\0\0".to_vec()
        } else {
            vec![0]
        }
    })
    .await;
    let probe = |port, send: &str| ReadyProbe::Udp { port, send: send.into(), expect: "4f457403".into() };
    assert!(ask(&probe(minetest, "4f457403 0000 0001"), PATIENCE).await.is_ok());
    let error = ask(&probe(minetest, "00"), PATIENCE).await.unwrap_err().to_string();
    assert!(error.ends_with("answers, but not this game's protocol: 1 bytes that begin with 00"), "{error}");
    for bad in ["0", "zz", "0g", "é0"] {
        assert!(matches!(ask(&probe(minetest, bad), PATIENCE).await.unwrap_err(), ProbeError::Unusable(_)), "{bad}");
    }
}
