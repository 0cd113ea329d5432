//! Answers as servers write them, well and ill, cut in every way.
use super::*;
use hyper::Method;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// What came of one exchange.
#[derive(Debug, PartialEq)]
enum Outcome {
    Whole {
        status: u16,
        body: String,
        trailers: usize,
        /// The connection takes another request.
        free: bool,
    },
    Broken(String),
}

/// Asks a server that sends `answer` in pieces of `size`, and then closes or stays silent.
async fn asked(method: &Method, answer: &str, size: usize, closes: bool) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let answer = answer.as_bytes().to_vec();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.set_nodelay(true).unwrap();
        for piece in answer.chunks(size.max(1)) {
            if stream.write_all(piece).await.is_err() {
                return None; // the asking side has heard enough
            }
            tokio::task::yield_now().await;
        }
        (!closes).then_some(stream)
    });
    let mut wire = Wire::open(to, DEADLINE).await.unwrap();
    let mut asking = Asking::new(method, "/").unwrap();
    asking.field(&hyper::header::HOST, &"test".parse().unwrap());
    let outcome = timeout(DEADLINE, outcome(&mut wire, &asking)).await.expect("the exchange ends");
    drop(wire);
    drop(server.await.unwrap());
    outcome.unwrap_or_else(|broken| Outcome::Broken(broken.to_string()))
}

async fn outcome(wire: &mut Wire, asking: &Asking) -> Result<Outcome, Broken> {
    let status = wire.exchange(asking, None).await?.status().as_u16();
    let (mut body, mut trailers) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|cx| wire.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers += frame.into_trailers().unwrap().len(),
        }
    }
    Ok(Outcome::Whole { status, body: String::from_utf8(body).unwrap(), trailers, free: wire.is_whole() })
}

/// However the bytes come, the outcome is the same.
async fn of(method: Method, answer: &str, closes: bool) -> Outcome {
    let whole = asked(&method, answer, answer.len(), closes).await;
    for size in [1, 2, 3, 7] {
        assert_eq!(asked(&method, answer, size, closes).await, whole, "pieces of {size}: {answer:?}");
    }
    whole
}

fn whole(status: u16, body: &str, free: bool) -> Outcome {
    Outcome::Whole { status, body: body.into(), trailers: 0, free }
}

#[tokio::test]
async fn answers_that_end_by_themselves() {
    for (answer, wanted) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", whole(200, "ok", true)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", whole(200, "", true)),
        ("HTTP/1.1 200 \r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok", whole(200, "ok", false)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", whole(200, "ok", false)),
        ("HTTP/1.1 204 No Content\r\n\r\n", whole(204, "", true)),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", whole(101, "", false)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", whole(304, "", true)),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            whole(200, "a", true),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
            whole(200, "abc0123456789", true),
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", whole(200, "", true)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\nx-sum: 42\r\ny: z\r\n\r\n",
            Outcome::Whole { status: 200, body: "a".into(), trailers: 2, free: true },
        ),
    ] {
        assert_eq!(of(Method::GET, answer, false).await, wanted, "{answer:?}");
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n";
    assert_eq!(of(Method::HEAD, head, false).await, whole(200, "", true));
    let until_the_end = "HTTP/1.1 200 OK\r\n\r\nuntil the end";
    assert_eq!(of(Method::GET, until_the_end, true).await, whole(200, "until the end", false));
    let big = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nX: {}\r\n\r\n{}",
        "x".repeat(99_999),
        "b".repeat(300_000)
    );
    assert_eq!(asked(&Method::GET, &big, 10_000, false).await, whole(200, &"b".repeat(300_000), true));
}

#[tokio::test]
async fn answers_with_no_end_or_two() {
    for (answer, wanted) in [
        ("", "closed before an answer"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "closed before an answer"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "in the middle"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "in the middle"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "in the middle"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "in the middle"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "in the middle"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "in the middle"),
        ("garbage\r\n\r\n", "malformed"),
        ("HTTP/1.1 9 OK\r\n\r\n", "malformed"),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "malformed"),
        ("HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", "malformed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "two ways"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "two ways"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", "two ways"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "two ways"),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\na", "two ways"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na", "two ways"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "two ways"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "two ways"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "two ways"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\na", "two ways"),
    ] {
        match of(Method::GET, answer, true).await {
            Outcome::Broken(why) => assert!(why.contains(wanted), "{why}: {answer:?}"),
            other => panic!("{other:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn chunks_with_two_readings_are_none() {
    for chunks in [
        "\r\n",
        "x\r\na\r\n",
        "+1\r\na\r\n",
        "-1\r\na\r\n",
        "0x1\r\na\r\n",
        "1\na\r\n",
        "1\r\r\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1 1\r\na\r\n",
        " 1\r\na\r\n",
        "11111111111111111\r\na",
        "0\r\nno field\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert!(matches!(of(Method::GET, &answer, true).await, Outcome::Broken(_)), "{chunks:?}");
    }
}

#[tokio::test]
async fn what_has_no_bounds_is_cut_off() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, wanted) in [
        (format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 * answer::MOST_HEAD)), "longer than"),
        (format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200)), "too many headers"),
        (format!("{chunked}1;{}", "x".repeat(100_000)), "chunk"),
        (format!("{chunked}0\r\nx: {}", "x".repeat(100_000)), "chunk"),
    ] {
        match asked(&Method::GET, &answer, 20_000, false).await {
            Outcome::Broken(why) => assert!(why.contains(wanted), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_said_unasked_ends_a_connection() {
    for (after, free) in [("", true), ("HTTP/1.1 200 OK\r\n\r\n", false)] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{after}");
        let outcome = asked(&Method::GET, &answer, answer.len(), false).await;
        assert_eq!(outcome, whole(200, "ok", free), "{after:?}");
    }
}

#[test]
fn a_target_is_one_word_of_the_request_line() {
    for target in ["/a b", "/a\r\nX: y", "/\t", "a", "", "*", "/\u{7f}"] {
        assert!(Asking::new(&Method::GET, target).is_none(), "{target:?}");
    }
    let mut asking = Asking::new(&Method::POST, "/a?b=%20").unwrap();
    asking.field(&hyper::header::HOST, &"h".parse().unwrap());
    assert_eq!(asking.lines(), b"POST /a?b=%20 HTTP/1.1\r\nhost: h\r\n");
    assert!(!asking.is_safe());
}
