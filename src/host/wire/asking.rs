//! The head of a request, as it goes over the wire.
use hyper::{
    Method,
    header::{self, HeaderName, HeaderValue},
};

/// Most heads of browsers fit.
const USUAL: usize = 1 << 10;

/// A request's head, written field by field.
pub struct Asking {
    bytes: Vec<u8>,
    is_head: bool,
    is_safe: bool,
    is_chunked: bool,
}

impl Asking {
    /// `target` in origin form; `None` if it would not stay one word of the request line.
    pub fn new(method: &Method, target: &str) -> Option<Asking> {
        let is_word = target.starts_with('/') && target.bytes().all(|b| b > b' ' && b != 0x7f);
        is_word.then(|| {
            let mut bytes = Vec::with_capacity(USUAL);
            for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
                bytes.extend_from_slice(part.as_bytes());
            }
            Asking { bytes, is_head: method == Method::HEAD, is_safe: method.is_safe(), is_chunked: false }
        })
    }

    pub fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.is_chunked |= name == header::TRANSFER_ENCODING;
        write_field(&mut self.bytes, name, value);
    }

    /// The lines so far, without the empty one that ends them.
    pub fn lines(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole head, with room for what frames a body.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.bytes.len() + 32);
        head.extend_from_slice(&self.bytes);
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Sent twice, it does no more than once (RFC 9110 §9.2.1).
    pub fn is_safe(&self) -> bool {
        self.is_safe
    }

    /// Asks for a head alone.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Its body goes in chunks.
    pub(super) fn is_chunked(&self) -> bool {
        self.is_chunked
    }
}

/// A line of a head, or of trailers.
pub fn write_field(lines: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        lines.extend_from_slice(part);
    }
}
