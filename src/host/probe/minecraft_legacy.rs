//! The server list pings of old Minecraft versions: 1.6 (`FE 01 FA` with `MC|PingHost`), 1.4 and 1.5 (`FE 01`),
//! Beta 1.8 to 1.3 (`FE`). All are answered by a kick packet with UTF-16 text.
use super::{ProbeAnswer, ProbeError, connect, shown};
use crate::model::snapshot::Players;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest text a kick packet can announce: 256 characters are allowed, some servers send more.
const TEXT_CHARS: u16 = 4096;
const KICK: u8 = 0xff;
/// Protocol number of 1.6.4.
const PROTOCOL_1_6: u8 = 78;
const VERSION_CHARS: usize = 100;

pub(super) async fn ask(at: SocketAddr) -> Result<ProbeAnswer, ProbeError> {
    let foreign = |detail: String| ProbeError::Foreign { at, protocol: "the old Minecraft protocols", detail };
    let mut last = foreign("it was not asked".to_owned());
    for question in [ping_host(at), vec![0xfe, 0x01], vec![0xfe]] {
        match ask_one(at, &question).await {
            Ok(text) => match answer(&text) {
                Some(answer) => return Ok(answer),
                None => last = foreign("its kick message is not a status".to_owned()),
            },
            Err(AskError::Connect(error)) => return Err(error),
            Err(AskError::Talk(detail)) => last = foreign(detail),
        }
    }
    Err(last)
}

enum AskError {
    Connect(ProbeError),
    Talk(String),
}

async fn ask_one(at: SocketAddr, question: &[u8]) -> Result<String, AskError> {
    let mut stream = connect(at).await.map_err(AskError::Connect)?;
    let talk = |e: std::io::Error| AskError::Talk(e.to_string());
    stream.write_all(question).await.map_err(talk)?;
    if stream.read_u8().await.map_err(talk)? != KICK {
        return Err(AskError::Talk("its first byte is no kick packet".to_owned()));
    }
    let length = stream.read_u16().await.map_err(talk)?;
    if length > TEXT_CHARS {
        return Err(AskError::Talk(format!("it announces {length} characters")));
    }
    let mut bytes = vec![0; usize::from(length) * 2];
    stream.read_exact(&mut bytes).await.map_err(talk)?;
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    Ok(String::from_utf16_lossy(&units))
}

/// 1.6: a plugin message `MC|PingHost` with protocol, host and port.
fn ping_host(at: SocketAddr) -> Vec<u8> {
    let (channel, host) = (text("MC|PingHost"), text(&at.ip().to_string()));
    let mut bytes = vec![0xfe, 0x01, 0xfa];
    bytes.extend(channel);
    bytes.extend((host.len() as u16 + 5).to_be_bytes());
    bytes.push(PROTOCOL_1_6);
    bytes.extend(host);
    bytes.extend(u32::from(at.port()).to_be_bytes());
    bytes
}

/// A string as it is sent: number of characters, UTF-16, big end first.
fn text(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let length = (units.len() as u16).to_be_bytes();
    length.into_iter().chain(units.into_iter().flat_map(u16::to_be_bytes)).collect()
}

/// `§1␀protocol␀version␀motd␀online␀max` since 1.4, `motd§online§max` before.
fn answer(text: &str) -> Option<ProbeAnswer> {
    let (version, online, max) = match text.strip_prefix("§1\0") {
        Some(fields) => {
            let mut fields = fields.split('\0').skip(1);
            let version = fields.next().map(|v| shown(v, VERSION_CHARS));
            (version, fields.nth(1)?, fields.next()?)
        }
        None => {
            // The message of the day may hold section signs itself.
            let mut fields = text.rsplit('§');
            let max = fields.next()?;
            (None, fields.next()?, max)
        }
    };
    let (online, max) = (online.parse().ok()?, max.parse().ok()?);
    Some(ProbeAnswer { version, players: Some(Players { online, max, players: Vec::new() }) })
}
