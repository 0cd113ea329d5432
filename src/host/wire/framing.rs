//! Where the body of an answer ends (RFC 9112 §6.3), and what of it has come.
use super::Broken;
use bytes::{Buf, Bytes, BytesMut};
use hyper::{
    HeaderMap,
    body::SizeHint,
    header::{HeaderName, HeaderValue},
};
use memchr::{memchr, memmem};

/// Longest line that begins a chunk, and longest trailers.
const MOST_LINE: usize = 4 << 10;
const MOST_TRAILERS: usize = 16 << 10;
const MOST_TRAILER_FIELDS: usize = 64;

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing(To);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// So many bytes.
    Length(u64),
    /// The line before a chunk.
    Size,
    /// So many bytes of a chunk, and the line end behind it.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    TheEnd,
}

/// What is next in a body.
#[derive(Debug, PartialEq)]
pub enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    Over,
    /// More has to be received first.
    NotYet,
}

impl Framing {
    pub const NOTHING: Framing = Framing(To::Length(0));
    pub const CHUNKED: Framing = Framing(To::Size);
    pub const UNTIL_THE_END: Framing = Framing(To::TheEnd);

    pub fn of_length(length: u64) -> Framing {
        Framing(To::Length(length))
    }

    pub fn is_over(self) -> bool {
        self == Framing::NOTHING
    }

    /// Then a connection that ends is the end of the body; else the body is cut off.
    pub fn ends_with_the_connection(self) -> bool {
        self.0 == To::TheEnd
    }

    /// Room that makes sense for what is to come, of `at_most`.
    pub fn wanted(self, at_most: usize) -> usize {
        match self.0 {
            To::Length(left) if left > 0 => usize::try_from(left).unwrap_or(at_most).min(at_most),
            _ => at_most,
        }
    }

    /// How much is to come, where nothing but the body itself is.
    pub fn plain_length(self) -> Option<u64> {
        match self.0 {
            To::Length(left) if left > 0 => Some(left),
            _ => None,
        }
    }

    pub fn size_hint(self) -> SizeHint {
        match self.0 {
            To::Length(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }

    /// The rest of a body of known length, if all of it is here.
    pub fn rest(&mut self, inbox: &mut BytesMut) -> Option<Bytes> {
        match self.0 {
            To::Length(left) if left > 0 && left <= inbox.len() as u64 => {
                *self = Framing::NOTHING;
                Some(inbox.split_to(left as usize).freeze())
            }
            _ => None,
        }
    }

    /// Takes the next piece out of what was received.
    pub fn take(&mut self, inbox: &mut BytesMut) -> Result<Piece, Broken> {
        loop {
            match self.0 {
                To::Length(0) => return Ok(Piece::Over),
                _ if inbox.is_empty() => return Ok(Piece::NotYet),
                To::TheEnd => return Ok(Piece::Data(inbox.split().freeze())),
                To::Length(left) => {
                    let (data, left) = split(inbox, left);
                    self.0 = To::Length(left);
                    return Ok(Piece::Data(data));
                }
                To::Chunk(left) => {
                    let (data, left) = split(inbox, left);
                    self.0 = if left == 0 { To::ChunkEnd } else { To::Chunk(left) };
                    return Ok(Piece::Data(data));
                }
                To::ChunkEnd => match &inbox[..] {
                    [b'\r', b'\n', ..] => {
                        inbox.advance(2);
                        self.0 = To::Size;
                    }
                    [b'\r'] => return Ok(Piece::NotYet),
                    _ => return Err(Broken::Chunk),
                },
                To::Size => match memchr(b'\n', inbox) {
                    Some(end) if end <= MOST_LINE => {
                        let size = chunk_size(&inbox[..end]).ok_or(Broken::Chunk)?;
                        inbox.advance(end + 1);
                        self.0 = if size == 0 { To::Trailers } else { To::Chunk(size) };
                    }
                    None if inbox.len() <= MOST_LINE => return Ok(Piece::NotYet),
                    _ => return Err(Broken::Chunk),
                },
                To::Trailers => return self.take_trailers(inbox),
            }
        }
    }

    fn take_trailers(&mut self, inbox: &mut BytesMut) -> Result<Piece, Broken> {
        if inbox.starts_with(b"\r\n") {
            inbox.advance(2);
            *self = Framing::NOTHING;
            return Ok(Piece::Over);
        }
        let Some(end) = memmem::find(inbox, b"\r\n\r\n") else {
            return if inbox.len() <= MOST_TRAILERS { Ok(Piece::NotYet) } else { Err(Broken::Chunk) };
        };
        let lines = inbox.split_to(end + 4);
        let mut space = [httparse::EMPTY_HEADER; MOST_TRAILER_FIELDS];
        let httparse::Status::Complete((_, parsed)) = httparse::parse_headers(&lines, &mut space)? else {
            return Err(Broken::Chunk);
        };
        let mut fields = HeaderMap::with_capacity(parsed.len());
        for field in parsed {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Broken::Chunk)?;
            fields.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Broken::Chunk)?);
        }
        *self = Framing::NOTHING;
        Ok(Piece::Trailers(fields))
    }
}

/// As much of `left` bytes as is here, and how many are still to come.
fn split(inbox: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(inbox.len());
    (inbox.split_to(here).freeze(), left - here as u64)
}

/// Hexadecimal digits, and perhaps extensions that mean nothing to us; the line without its line feed.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r")?;
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
    let are_plain = digits.iter().all(u8::is_ascii_hexdigit) && !line.contains(&b'\r');
    are_plain.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
}
