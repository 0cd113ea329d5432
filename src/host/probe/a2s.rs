//! The Source engine's A2S_INFO query, with its challenge (since December 2020) and GoldSrc's older answer.
use super::{ProbeAnswer, ProbeError, failed, shown, udp_to};
use crate::model::snapshot::Players;
use std::net::SocketAddr;

const QUESTION: &[u8] = b"\xff\xff\xff\xffTSource Engine Query\0";
const SINGLE: [u8; 4] = [0xff; 4];
const SPLIT: [u8; 4] = [0xfe, 0xff, 0xff, 0xff];
/// A server may ask again with a new challenge; more often is a game of its own.
const CHALLENGES: usize = 3;
const VERSION_CHARS: usize = 100;

pub(super) async fn ask(at: SocketAddr) -> Result<ProbeAnswer, ProbeError> {
    let foreign =
        |detail: &str| ProbeError::Foreign { at, protocol: "a Source engine query", detail: detail.to_owned() };
    let socket = udp_to(at).await?;
    let mut question = QUESTION.to_vec();
    let mut datagram = vec![0; 64 << 10];
    for _ in 0..=CHALLENGES {
        socket.send(&question).await.map_err(|e| failed(at, e))?;
        let length = socket.recv(&mut datagram).await.map_err(|e| failed(at, e))?;
        match datagram[..length].split_first_chunk() {
            // Who splits an answer speaks the protocol; the pieces tell nothing that is needed.
            Some((&SPLIT, _)) => return Ok(ProbeAnswer::default()),
            Some((&SINGLE, [b'A', challenge @ ..])) if challenge.len() >= 4 => {
                question.truncate(QUESTION.len());
                question.extend(&challenge[..4]);
            }
            Some((&SINGLE, [b'I', info @ ..])) => return source(info).ok_or_else(|| foreign("its answer is cut off")),
            Some((&SINGLE, [b'm', info @ ..])) => return goldsrc(info).ok_or_else(|| foreign("its answer is cut off")),
            _ => return Err(foreign("its first bytes are no answer")),
        }
    }
    Err(foreign("it asks for one challenge after the other"))
}

/// protocol, name, map, folder, game, id (2), players, max, bots, type, system, visibility, secured, version
fn source(info: &[u8]) -> Option<ProbeAnswer> {
    let rest = skip_texts(info.get(1..)?, 4)?;
    let (online, max) = (*rest.get(2)?, *rest.get(3)?);
    let version = rest.get(9..).and_then(|v| v.split(|b| *b == 0).next());
    Some(ProbeAnswer {
        players: Some(players(online, max)),
        version: version.map(|v| shown(&String::from_utf8_lossy(v), VERSION_CHARS)),
    })
}

/// address, name, map, folder, game, players, max, …
fn goldsrc(info: &[u8]) -> Option<ProbeAnswer> {
    let rest = skip_texts(info, 5)?;
    Some(ProbeAnswer { players: Some(players(*rest.first()?, *rest.get(1)?)), version: None })
}

fn players(online: u8, max: u8) -> Players {
    Players { online: online.into(), max: max.into(), players: Vec::new() }
}

/// What follows `count` texts that each end with a zero byte.
fn skip_texts(mut bytes: &[u8], count: usize) -> Option<&[u8]> {
    for _ in 0..count {
        let end = bytes.iter().position(|b| *b == 0)?;
        bytes = &bytes[end + 1..];
    }
    Some(bytes)
}
