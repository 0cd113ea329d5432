//! Heads of requests that two readers can understand in two ways: what hyper puts up with, and another server, before or
//! behind us, may read otherwise.
//!
//! hyper follows RFC 9112 §6.3 where `Transfer-Encoding` and `Content-Length` meet, forgets the length and tells nobody,
//! and takes a bare line feed for the end of a line. Nobody who means well sends that, so the bytes are looked at on
//! their way to hyper: line by line through each head, over a body of known length in one step, and no further once a
//! chunked body or another protocol begins, for such a request is the last one of its connection.
use memchr::memchr;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// Of a line that comes in pieces so much is kept: no field about a length has a reason to be longer.
const KEPT: usize = 64;

/// What was found on one connection; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ambiguity(Arc<AtomicBool>);

impl Ambiguity {
    pub fn is_found(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Follows the bytes of one connection.
#[derive(Debug)]
pub struct Heads {
    found: Ambiguity,
    stage: Stage,
    head: Head,
    /// The beginning of a line whose end has not come yet, and its last byte.
    begun: Vec<u8>,
    last: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    /// Nothing more of this connection is a head.
    Over,
}

/// What the lines of one head have said so far.
#[derive(Debug, Default)]
struct Head {
    started: bool,
    length: Option<u64>,
    coded: bool,
}

impl Heads {
    pub fn new(found: Ambiguity) -> Heads {
        Heads { found, stage: Stage::Head, head: Head::default(), begun: Vec::new(), last: 0 }
    }

    /// Bytes in the order in which hyper gets them.
    pub fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stage {
                Stage::Over => return,
                Stage::Body(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[here..];
                    let left = left - here as u64;
                    self.stage = if left == 0 { Stage::Head } else { Stage::Body(left) };
                }
                Stage::Head => bytes = self.see_line(bytes),
            }
        }
    }

    /// Takes what belongs to the present line; what is left comes after it.
    fn see_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            let room = KEPT.saturating_sub(self.begun.len()).min(bytes.len());
            self.begun.extend_from_slice(&bytes[..room]);
            self.last = bytes[bytes.len() - 1];
            return &[];
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let last = line.last().copied().unwrap_or(if self.begun.is_empty() { 0 } else { self.last });
        if self.begun.is_empty() {
            self.on_line(line.strip_suffix(b"\r").unwrap_or(line), last == b'\r');
        } else {
            let mut whole = std::mem::take(&mut self.begun);
            whole.extend_from_slice(&line[..line.len().min(KEPT)]);
            self.on_line(whole.strip_suffix(b"\r").unwrap_or(&whole), last == b'\r');
        }
        rest
    }

    fn on_line(&mut self, line: &[u8], ends_well: bool) {
        if line.is_empty() && !self.head.started {
            return; // a line feed too many after the last body is forgiven (RFC 9112 §2.2)
        }
        let sound = ends_well && (!self.head.started || line.is_empty() || self.head.takes(line));
        if !sound {
            self.found.0.store(true, Relaxed);
        }
        if line.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.stage = match head.length {
                _ if head.coded => Stage::Over,
                None | Some(0) => Stage::Head,
                Some(length) => Stage::Body(length),
            };
        }
        self.head.started = !line.is_empty();
    }
}

impl Head {
    /// False for a field with which the head has two readings.
    fn takes(&mut self, line: &[u8]) -> bool {
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            return false; // a folded line: for some the next field, for others more of the last
        }
        // Of a line in pieces no more is known, so no more is looked at.
        let (is_long, line) = (line.len() >= KEPT, &line[..line.len().min(KEPT)]);
        let Some(colon) = line.iter().position(|b| *b == b':') else { return is_long };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let frames = |field: &str| name.eq_ignore_ascii_case(field.as_bytes());
        if is_long && (frames("content-length") || frames("transfer-encoding")) {
            return false;
        }
        if frames("content-length") {
            let length = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let repeated = self.length.replace(length.and_then(|text| text.parse().ok()).unwrap_or(0)).is_some();
            return length.is_some_and(|text| !text.is_empty()) && !repeated && !self.coded;
        }
        if frames("transfer-encoding") {
            let repeated = std::mem::replace(&mut self.coded, true);
            return value.eq_ignore_ascii_case(b"chunked") && !repeated && self.length.is_none();
        }
        !name.last().is_none_or(u8::is_ascii_whitespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is something found, however the bytes come?
    fn found(bytes: &[u8]) -> bool {
        let with = |size: usize| {
            let ambiguity = Ambiguity::default();
            let mut heads = Heads::new(ambiguity.clone());
            bytes.chunks(size).for_each(|piece| heads.see(piece));
            ambiguity.is_found()
        };
        let whole = with(bytes.len());
        (1..bytes.len()).for_each(|size| assert_eq!(with(size), whole, "pieces of {size}"));
        whole
    }

    #[test]
    fn what_has_two_readings_is_found() {
        for fields in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "transfer-encoding: chunked\r\nX: 1\r\nCONTENT-LENGTH:4\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding:\r\n",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length:\r\n",
            "Content-Length: 00000000000000000000000000000000000000000000000000000000000000000004\r\n",
            "Content-Length : 4\r\n",
            "X: a\r\n Content-Length: 4\r\n",
            "X: a\r\n\tb\r\n",
            "X: a\n",
            "no field\r\n",
            ": nameless\r\n",
        ] {
            assert!(found(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()), "{fields:?}");
        }
        assert!(found(b"GET / HTTP/1.1\nHost: a\r\n\r\n"));
        assert!(found(b"GET / HTTP/1.1\r\nHost: a\r\n\n"));
    }

    #[test]
    fn what_has_one_reading_is_let_pass() {
        let long = format!("GET / HTTP/1.1\r\nX-{}: {}\r\n\r\n", "a".repeat(200), "b".repeat(300));
        for sound in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nX:\r\nY: :\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nX\n GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nContent-Length:  2 \r\n\r\n\n\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n\n\n\n\r\n0\r\n\r\n",
            &long,
        ] {
            assert!(!found(sound.as_bytes()), "{sound:?}");
        }
    }

    #[test]
    fn it_looks_again_after_a_body_of_known_length() {
        let first = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345";
        assert!(found(format!("{first}GET / HTTP/1.1\nHost: a\r\n\r\n").as_bytes()));
        assert!(!found(format!("{first}{first}{first}").as_bytes()));
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut heads = Heads::new(Ambiguity::default());
        (0..1000).for_each(|_| heads.see(&[b'x'; 1000]));
        assert!(heads.begun.len() <= KEPT);
    }
}
