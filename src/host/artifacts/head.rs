//! Judges the head of an answer before a byte of it is taken: status, part, length, type.
use super::{Fault, client};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED},
};

/// What an answer is good for.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    /// Bytes of the whole file, if the server says.
    pub total: Option<u64>,
    /// Bytes at the front of this answer that we have already.
    pub skip: u64,
    /// What tells this file from a later one at the same address: a strong ETag, else the time of change.
    pub validator: Option<String>,
}

/// What we have of the file so far.
pub(super) struct Have<'a> {
    pub at: u64,
    pub total: Option<u64>,
    /// Of the address that is asked now; mirrors have their own.
    pub validator: Option<&'a str>,
    /// A digest will tell in the end, so a part may be joined to what nothing else identifies.
    pub digest: bool,
}

pub(super) fn judge(response: &Response, have: &Have) -> Result<Head, Fault> {
    let status = response.status();
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Fault::NotFound),
        // The file is shorter than what we have of it.
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(Fault::Changed),
        other if other.is_redirection() => {
            let to = response.headers().get("location").and_then(|to| to.to_str().ok());
            return Err(Fault::Redirected(to.unwrap_or("nowhere").to_owned()));
        }
        other => return Err(Fault::Status(other.as_u16())),
    }
    if let Some(encoding) = text(response, CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("identity")) {
        return Err(Fault::Encoded(encoding));
    }
    let page = text(response, CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    let is_page = response.url().path().ends_with(".html");
    if page && !is_page {
        return Err(Fault::WebPage);
    }
    let head = if status == StatusCode::PARTIAL_CONTENT { part(response, have)? } else { whole(response, have) };
    same_file(&head, have).then_some(head).ok_or(Fault::Changed)
}

/// A server may ignore that only a part was asked for.
fn whole(response: &Response, have: &Have) -> Head {
    let total = text(response, CONTENT_LENGTH).and_then(|n| n.parse().ok());
    Head { total, skip: have.at, validator: validator(response) }
}

fn part(response: &Response, have: &Have) -> Result<Head, Fault> {
    let range = text(response, CONTENT_RANGE).unwrap_or_default();
    let wrong = || Fault::WrongPart(format!("{range:?}, asked from byte {}", have.at));
    let (span, total) = range.strip_prefix("bytes ").and_then(|r| r.split_once('/')).ok_or_else(wrong)?;
    let start: u64 = span.split('-').next().and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    if start != have.at {
        return Err(wrong());
    }
    Ok(Head { total: total.parse().ok(), skip: 0, validator: validator(response) })
}

/// Is this the file we have the beginning of? Also asked of servers that take no notice of `If-Range`.
fn same_file(head: &Head, have: &Have) -> bool {
    if have.at == 0 {
        return true;
    }
    let lengths = head.total.is_none() || have.total.is_none() || head.total == have.total;
    let validators = match (head.validator.as_deref(), have.validator) {
        (Some(now), Some(then)) => now == then,
        _ => have.digest,
    };
    lengths && validators
}

fn validator(response: &Response) -> Option<String> {
    text(response, ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(response, LAST_MODIFIED))
}

fn text(response: &Response, name: HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// The first bytes of a page, whatever its type claims to be.
pub(super) fn looks_like_a_page(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let begins = |tag: &str| start.len() >= tag.len() && start[..tag.len()].eq_ignore_ascii_case(tag.as_bytes());
    begins("<!doctype html") || begins("<html")
}

/// The address that finally answered.
pub(super) fn answered(response: &Response) -> String {
    client::shown(response.url())
}
