//! The Minecraft server list ping since 1.7: handshake, status request, one JSON answer.
use super::{ProbeAnswer, ProbeError, connect, shown};
use crate::model::snapshot::Players;
use serde::Deserialize;
use std::{io, net::SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest answer that is read. The protocol allows 32767 characters of JSON, modded servers send more.
const ANSWER_BYTES: u64 = 1 << 20;
/// Names of players kept from the sample, and characters of each.
const NAMES: usize = 100;
const NAME_CHARS: usize = 64;
const VERSION_CHARS: usize = 100;

pub(super) async fn ask(at: SocketAddr) -> Result<ProbeAnswer, ProbeError> {
    let mut stream = connect(at).await?;
    let foreign = |detail: String| ProbeError::Foreign { at, protocol: "the Minecraft protocol", detail };
    stream.write_all(&question(at)).await.map_err(|e| foreign(ended(&e)))?;
    let length = read_length(&mut stream).await.map_err(foreign)?;
    // Memory grows with what arrives, not with what the length promises.
    let mut packet = Vec::new();
    (&mut stream).take(length).read_to_end(&mut packet).await.map_err(|e| foreign(ended(&e)))?;
    if packet.len() as u64 != length {
        return Err(foreign(format!("it closed the connection after {} of {length} bytes", packet.len())));
    }
    answer(&packet).map_err(foreign)
}

/// Handshake (any protocol version, next state 1) and status request in one write.
fn question(at: SocketAddr) -> Vec<u8> {
    let host = at.ip().to_string();
    let mut handshake = vec![0x00];
    push_varint(&mut handshake, -1);
    push_varint(&mut handshake, host.len() as i32);
    handshake.extend(host.as_bytes());
    handshake.extend(at.port().to_be_bytes());
    handshake.push(0x01);
    let mut bytes = Vec::new();
    push_varint(&mut bytes, handshake.len() as i32);
    bytes.extend(handshake);
    bytes.extend([0x01, 0x00]);
    bytes
}

fn push_varint(bytes: &mut Vec<u8>, value: i32) {
    let mut rest = value as u32;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

async fn read_length(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<u64, String> {
    let mut bytes = Vec::with_capacity(3);
    // Three bytes hold every length the protocol allows.
    while bytes.len() < 3 {
        let byte = stream.read_u8().await.map_err(|e| ended(&e))?;
        bytes.push(byte);
        if byte & 0x80 == 0 {
            let length = take_varint(&mut bytes.as_slice()).unwrap_or(0) as u64;
            return match length {
                2..=ANSWER_BYTES => Ok(length),
                _ => Err(format!("it announces an answer of {length} bytes")),
            };
        }
    }
    Err("its first bytes are not the length of an answer".to_owned())
}

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn answer(mut packet: &[u8]) -> Result<ProbeAnswer, String> {
    let id = take_varint(&mut packet);
    let length = take_varint(&mut packet);
    if id != Some(0) || length.is_none_or(|l| l as usize != packet.len()) {
        return Err("its answer is not a status".to_owned());
    }
    let status: Status = serde_json::from_slice(packet).map_err(|e| format!("its status cannot be read: {e}"))?;
    Ok(ProbeAnswer {
        version: status.version.map(|v| shown(&v.name, VERSION_CHARS)),
        players: status.players.map(Listed::into_players),
    })
}

#[derive(Deserialize)]
struct Status {
    version: Option<Version>,
    players: Option<Listed>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    online: i64,
    #[serde(default)]
    max: i64,
    sample: Option<Vec<Player>>,
}

#[derive(Deserialize)]
struct Player {
    #[serde(default)]
    name: String,
}

impl Listed {
    fn into_players(self) -> Players {
        let sample = self.sample.unwrap_or_default();
        Players {
            online: u32::try_from(self.online.max(0)).unwrap_or(u32::MAX),
            max: u32::try_from(self.max.max(0)).unwrap_or(u32::MAX),
            players: sample.iter().take(NAMES).map(|p| shown(&p.name, NAME_CHARS)).collect(),
        }
    }
}

fn ended(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it closed the connection without an answer".to_owned()
        }
        _ => error.to_string(),
    }
}
