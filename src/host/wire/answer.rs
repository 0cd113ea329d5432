//! The head of an answer, read strictly: what two readers could divide in two ways is no answer.
use super::{Broken, framing::Framing};
use bytes::Bytes;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use std::mem::MaybeUninit;

/// Longest head of an answer, and most fields in it.
pub const MOST_HEAD: usize = 256 << 10;
const MOST_FIELDS: usize = 128;

/// A parsed head, and what comes after it.
pub struct Head {
    pub response: Response<()>,
    pub framing: Framing,
    pub is_kept: bool,
}

/// `to_head`: the request was a HEAD, so no body follows whatever the fields say.
pub fn parse(bytes: &Bytes, to_head: bool) -> Result<Head, Broken> {
    let mut space = [MaybeUninit::uninit(); MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut space)?;
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(httparse::Error::Status)?;
    let mut fields = HeaderMap::with_capacity(parsed.headers.len() + 2);
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        fields.append(name, value.map_err(|_| httparse::Error::HeaderValue)?);
    }
    let has_body = !(to_head || status.is_informational() || matches!(status.as_u16(), 204 | 304));
    let framing = if has_body { framing_of(&fields)? } else { Framing::NOTHING };
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    let is_kept = parsed.version == Some(1) && !(switches || framing.ends_with_the_connection() || says_close(&fields));
    let mut response = Response::new(());
    (*response.status_mut(), *response.headers_mut()) = (status, fields);
    Ok(Head { response, framing, is_kept })
}

fn framing_of(fields: &HeaderMap) -> Result<Framing, Broken> {
    let one = |name: HeaderName| {
        let mut all = fields.get_all(name).iter();
        match (all.next(), all.next()) {
            (value, None) => Ok(value.map(HeaderValue::as_bytes)),
            _ => Err(Broken::Ambiguous),
        }
    };
    match (one(header::TRANSFER_ENCODING)?, one(header::CONTENT_LENGTH)?) {
        (None, None) => Ok(Framing::UNTIL_THE_END),
        (None, Some(digits)) if digits.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            length.map(Framing::of_length).ok_or(Broken::Ambiguous)
        }
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::CHUNKED),
        _ => Err(Broken::Ambiguous),
    }
}

fn says_close(fields: &HeaderMap) -> bool {
    let mut items = fields.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    items.any(|item| item.trim_ascii().eq_ignore_ascii_case(b"close"))
}
