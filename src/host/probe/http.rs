//! One HTTP GET whose status line is all that counts: an answer below 500 means the server works. Redirects are
//! answers, too; they are not followed.
use super::{ProbeAnswer, ProbeError, connect, failed};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A status line is short; what is longer is no HTTP.
const STATUS_LINE_BYTES: u64 = 1024;

pub(super) async fn ask(at: SocketAddr, path: &str) -> Result<ProbeAnswer, ProbeError> {
    if !path.starts_with('/') || path.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(ProbeError::Unusable(format!("{path:?} is not an HTTP path")));
    }
    let mut stream = connect(at).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: zlh\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| failed(at, e))?;
    let mut line = Vec::new();
    let mut limited = stream.take(STATUS_LINE_BYTES);
    while !line.contains(&b'\n') && limited.read_buf(&mut line).await.map_err(|e| failed(at, e))? > 0 {}
    match status(&line) {
        Some(status) if status < 500 => Ok(ProbeAnswer::default()),
        Some(status) => Err(ProbeError::HttpStatus { at, status }),
        None => Err(ProbeError::Foreign { at, protocol: "HTTP", detail: "there is no status line".to_owned() }),
    }
}

/// `HTTP/1.1 200 OK` says 200.
fn status(line: &[u8]) -> Option<u16> {
    let line = line.split(|b| *b == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let (version, rest) = text.split_once(' ')?;
    let code = rest.get(..3)?.parse().ok()?;
    (version.starts_with("HTTP/1.") && (100..600).contains(&code)).then_some(code)
}
