//! Any UDP protocol with one question and one answer, both written in hex by the game definition.
use super::{ProbeAnswer, ProbeError, failed, udp_to};
use std::net::SocketAddr;

/// Bytes of a wrong answer that are shown to a person.
const SHOWN: usize = 16;

pub(super) async fn ask(at: SocketAddr, send: &str, expect: &str) -> Result<ProbeAnswer, ProbeError> {
    let (question, prefix) = (bytes(send)?, bytes(expect)?);
    let socket = udp_to(at).await?;
    socket.send(&question).await.map_err(|e| failed(at, e))?;
    let mut datagram = vec![0; 64 << 10];
    let length = socket.recv(&mut datagram).await.map_err(|e| failed(at, e))?;
    let answer = &datagram[..length];
    if answer.starts_with(&prefix) {
        return Ok(ProbeAnswer::default());
    }
    let detail = format!("{length} bytes that begin with {}", hex(&answer[..length.min(SHOWN)]));
    Err(ProbeError::Foreign { at, protocol: "this game's protocol", detail })
}

/// Hex digits in pairs; spaces between pairs are allowed.
fn bytes(text: &str) -> Result<Vec<u8>, ProbeError> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    let pair = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let (pairs, odd) = digits.as_chunks::<2>();
    let read: Option<Vec<u8>> = pairs.iter().map(pair).collect();
    read.filter(|_| odd.is_empty()).ok_or_else(|| ProbeError::Unusable(format!("{text:?} is not hex")))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
