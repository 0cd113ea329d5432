//! Heads of the fast path: which requests are its own, and how an answer's head is written.
use super::{super::stream, Then};
use crate::host::wire::write_field;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use hyper::body::Body;
use std::{mem::MaybeUninit, time::SystemTime};

/// More fields than this are hyper's to judge.
const MOST_FIELDS: usize = 100;
/// A request with one of these asks for more than an answer.
const MORE: [HeaderName; 5] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT, header::TE, header::TRAILER];

/// A request of the kind that is served here.
pub(super) struct Plain {
    pub request: Request<()>,
    /// Nothing more is asked on its connection.
    pub is_last: bool,
}

/// A GET or HEAD of HTTP/1.1 without a body, or a WebSocket's handshake; `None` for any other, and for what is malformed.
pub(super) fn plain(bytes: &Bytes, most: usize) -> Option<Plain> {
    let mut space = [MaybeUninit::uninit(); MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let whole = parsed.parse_with_uninit_headers(bytes, &mut space[..most.min(MOST_FIELDS)]).ok()?;
    if whole != httparse::Status::Complete(bytes.len()) || parsed.version != Some(1) {
        return None;
    }
    let method = match parsed.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    let uri = Uri::from_maybe_shared(bytes.slice_ref(parsed.path?.as_bytes())).ok()?;
    let mut fields = HeaderMap::with_capacity(parsed.headers.len());
    let (mut is_last, mut asks_more) = (false, false);
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if MORE.contains(&name) {
            return None;
        }
        if name == header::CONNECTION {
            for item in field.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                is_last |= item.eq_ignore_ascii_case(b"close");
                asks_more |= !(item.eq_ignore_ascii_case(b"close") || item.eq_ignore_ascii_case(b"keep-alive"));
            }
        }
        asks_more |= name == header::UPGRADE;
        fields.append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok()?);
    }
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, fields);
    (!asks_more || stream::asked(&request)).then_some(Plain { request, is_last })
}

/// An answer's head, and whether its body goes in chunks.
pub(super) fn written<B: Body>(answer: &Response<B>, to_head: bool, then: Then) -> (Vec<u8>, bool) {
    let (status, headers) = (answer.status(), answer.headers());
    let mut lines = Vec::with_capacity(1 << 10);
    for part in ["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or_default(), "\r\n"] {
        lines.extend_from_slice(part.as_bytes());
    }
    // A length says where the body ends; with none there is no body at all, or its end has to be told.
    let has_no_length = matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT);
    let is_bodiless = has_no_length || status == StatusCode::NOT_MODIFIED;
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::TRANSFER_ENCODING) {
        if !has_no_length || *name != header::CONTENT_LENGTH {
            write_field(&mut lines, name, value);
        }
    }
    let has_end = headers.contains_key(header::CONTENT_LENGTH) || is_bodiless;
    let exact = answer.body().size_hint().exact().filter(|_| !has_end && !to_head);
    if let Some(length) = exact {
        write_field(&mut lines, &header::CONTENT_LENGTH, &HeaderValue::from(length));
    }
    let is_chunked = !has_end && exact.is_none() && !to_head;
    if is_chunked || (to_head && headers.contains_key(header::TRANSFER_ENCODING)) {
        write_field(&mut lines, &header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
    }
    if !headers.contains_key(header::DATE) {
        let now = HeaderValue::from_maybe_shared(httpdate::fmt_http_date(SystemTime::now()));
        now.iter().for_each(|now| write_field(&mut lines, &header::DATE, now));
    }
    if then == Then::Close {
        write_field(&mut lines, &header::CONNECTION, &HeaderValue::from_static("close"));
    }
    lines.extend_from_slice(b"\r\n");
    (lines, is_chunked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_plain(head: &str) -> Option<bool> {
        plain(&Bytes::copy_from_slice(head.as_bytes()), 3).map(|plain| plain.is_last)
    }

    #[test]
    fn only_what_asks_for_nothing_but_an_answer_is_served_here() {
        for (line, fields, wanted) in [
            ("GET /a?b HTTP/1.1", "", Some(false)),
            ("HEAD /a HTTP/1.1", "Connection: Keep-Alive\r\n", Some(false)),
            ("GET /a HTTP/1.1", "Connection: close\r\n", Some(true)),
            ("GET /a HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", Some(true)),
            ("GET /a HTTP/1.1", "Connection: close, x-mine\r\n", None),
            ("GET /a HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", Some(false)),
            ("GET /a HTTP/1.1", "Connection: upgrade, close\r\nUpgrade: websocket\r\n", Some(true)),
            ("HEAD /a HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", None),
            ("GET /a HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", None),
            ("GET /a HTTP/1.1", "Connection: upgrade\r\n", None),
            ("GET /a HTTP/1.1", "Upgrade: websocket\r\n", None),
            ("GET /a HTTP/1.1", "Content-Length: 0\r\n", None),
            ("GET /a HTTP/1.1", "TRANSFER-ENCODING: chunked\r\n", None),
            ("GET /a HTTP/1.1", "Expect: 100-continue\r\n", None),
            ("GET /a HTTP/1.1", "TE: trailers\r\n", None),
            ("GET /a HTTP/1.1", "X: 1\r\nY: 2\r\nZ: 3\r\n", None),
            ("GET /a HTTP/1.1", "X : 1\r\n", None),
            ("GET /a HTTP/1.1", "X\r\n", None),
            ("GET /a HTTP/1.0", "", None),
            ("GET  HTTP/1.1", "", None),
            ("get /a HTTP/1.1", "", None),
            ("POST /a HTTP/1.1", "", None),
            ("OPTIONS * HTTP/1.1", "", None),
        ] {
            assert_eq!(is_plain(&format!("{line}\r\nHost: a\r\n{fields}\r\n")), wanted, "{line} {fields}");
        }
    }
}
