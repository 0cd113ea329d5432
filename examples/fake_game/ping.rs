//! The port of the fake game: plain TCP, or the real Minecraft server-list ping (1.7 and later, and the legacy one).
//!
//! Each connection is served in turn with a short timeout: nothing a client does can hold up the game.
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);
pub const MAX_PLAYERS: u32 = 20;
const VERSION: &str = "1.21.4";
const PROTOCOL_NUMBER: u32 = 769;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    None,
    Tcp,
    Minecraft,
    Legacy,
}

impl FromStr for Protocol {
    type Err = String;
    fn from_str(s: &str) -> Result<Protocol, String> {
        match s {
            "none" => Ok(Protocol::None),
            "tcp" => Ok(Protocol::Tcp),
            "minecraft" => Ok(Protocol::Minecraft),
            "legacy" => Ok(Protocol::Legacy),
            _ => Err(format!("protocol {s:?} is not none, tcp, minecraft or legacy")),
        }
    }
}

/// What the game shows on its port; shared with the console.
#[derive(Clone, Debug, Default)]
pub struct Front {
    pub players: Arc<AtomicU32>,
    /// A hung game still has its port open, but nobody answers.
    pub hung: Arc<AtomicBool>,
}

/// Serves until the process ends.
pub fn serve(listener: &TcpListener, protocol: Protocol, front: &Front) {
    let mut unanswered = Vec::new();
    for stream in listener.incoming().flatten() {
        if front.hung.load(Ordering::Relaxed) {
            unanswered.push(stream); // kept open on purpose: the client must run into its own timeout
            continue;
        }
        // What a broken client gets is its own business; a real server does not die of it either.
        if let Err(e) = answer(stream, protocol, front.players.load(Ordering::Relaxed)) {
            eprintln!("[Netty/WARN]: connection ended: {e}");
        }
    }
}

fn answer(mut stream: TcpStream, protocol: Protocol, players: u32) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut first = [0];
    match protocol {
        Protocol::None | Protocol::Tcp => return Ok(()),
        Protocol::Minecraft | Protocol::Legacy if stream.peek(&mut first)? == 0 => return Ok(()), // a bare connect
        Protocol::Minecraft | Protocol::Legacy if first[0] == 0xFE => return answer_legacy(&mut stream, players),
        Protocol::Legacy => return take_request(&mut stream),
        Protocol::Minecraft => {}
    }
    let handshake = read_packet(&mut stream)?;
    if handshake.last() != Some(&1) {
        return Err(io::Error::new(ErrorKind::Unsupported, "only status requests are answered"));
    }
    loop {
        let request = match read_packet(&mut stream) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        match request.split_first() {
            Some((0, _)) => stream.write_all(&packet(&status_body(players)))?,
            Some((1, _)) => stream.write_all(&packet(&request))?, // pong: the same packet back
            _ => return Err(io::Error::new(ErrorKind::InvalidData, "unknown packet")),
        }
    }
}

fn answer_legacy(stream: &mut TcpStream, players: u32) -> io::Result<()> {
    take_request(stream)?;
    stream.write_all(&legacy_status(players))
}

/// Reads what was sent: closing a socket over unread bytes resets the connection, and the answer is lost.
fn take_request(stream: &mut TcpStream) -> io::Result<()> {
    stream.read(&mut [0; 1024]).map(drop)
}

/// Packet 0: the status JSON as a length-prefixed string.
fn status_body(players: u32) -> Vec<u8> {
    let sample: Vec<String> = (1..=players.min(12))
        .map(|n| format!(r#"{{"name":"Player{n}","id":"00000000-0000-4000-8000-{n:012}"}}"#))
        .collect();
    let json = format!(
        r#"{{"version":{{"name":"{VERSION}","protocol":{PROTOCOL_NUMBER}}},"players":{{"max":{MAX_PLAYERS},"online":{players},"sample":[{}]}},"description":{{"text":"A fake game"}}}}"#,
        sample.join(",")
    );
    let mut body = vec![0];
    write_varint(&mut body, json.len() as u32);
    body.extend_from_slice(json.as_bytes());
    body
}

/// The kick packet that servers from 1.4 on answer to FE 01: six fields joined by NUL, in UTF-16.
fn legacy_status(players: u32) -> Vec<u8> {
    let text = format!("\u{a7}1\0127\0{VERSION}\0A fake game\0{players}\0{MAX_PLAYERS}");
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut out = vec![0xFF];
    out.extend_from_slice(&(units.len() as u16).to_be_bytes());
    out.extend(units.iter().flat_map(|u| u.to_be_bytes()));
    out
}

fn packet(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 3);
    write_varint(&mut out, body.len() as u32);
    out.extend_from_slice(body);
    out
}

fn read_packet(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = read_varint(stream)?;
    if length > 4096 {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("packet of {length} bytes")));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn write_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(stream: &mut impl Read) -> io::Result<u32> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        value |= u32::from(byte[0] & 0x7F) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::Error::new(ErrorKind::InvalidData, "varint too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn ask(protocol: Protocol, question: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = thread::spawn(move || answer(listener.accept().unwrap().0, protocol, 3));
        client.write_all(question).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        server.join().unwrap().unwrap();
        reply
    }

    #[test]
    fn varints_round_trip() {
        for value in [0, 1, 127, 128, 255, 25565, 2_097_151, u32::MAX] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            assert_eq!(read_varint(&mut bytes.as_slice()).unwrap(), value);
        }
        assert!(read_varint(&mut [0xFF; 6].as_slice()).is_err());
    }

    #[test]
    fn a_status_ping_is_answered_and_ponged() {
        let mut question = packet(&[&[0, 0x81, 6, 9][..], b"127.0.0.1", &[0x63, 0xDD, 1]].concat());
        question.extend(packet(&[0]));
        let ping = packet(&[1, 0, 0, 0, 0, 0, 0, 0, 42]);
        question.extend(&ping);
        let reply = ask(Protocol::Minecraft, &question);
        assert!(reply.ends_with(&ping));
        let body = read_packet(&mut reply.as_slice()).unwrap();
        let text = String::from_utf8_lossy(&body);
        let json: serde_json::Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
        assert_eq!(json["players"]["online"], 3);
        assert_eq!(json["players"]["sample"][2]["name"], "Player3");
    }

    #[test]
    fn old_clients_get_the_legacy_answer() {
        for protocol in [Protocol::Minecraft, Protocol::Legacy] {
            let reply = ask(protocol, &[0xFE, 1]);
            assert_eq!(reply[0], 0xFF);
            let units: Vec<u16> = reply[3..].chunks(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
            let text = String::from_utf16(&units).unwrap();
            assert_eq!(text.split('\0').collect::<Vec<_>>(), ["\u{a7}1", "127", "1.21.4", "A fake game", "3", "20"]);
        }
    }

    #[test]
    fn a_legacy_server_has_nothing_for_new_clients() {
        assert!(ask(Protocol::Legacy, &packet(&[0, 0, 1])).is_empty());
    }
}
