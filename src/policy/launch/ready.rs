//! The readiness probe: the words of a body or a definition become a probe with all it needs.
use super::{ladder, unusable};
use crate::model::{
    game::ReadyText,
    refusal::Refusal,
    workload::{Readiness, ReadyProbe},
};
use std::time::Duration;

const LONGEST_PATTERN: usize = 1024;
/// Bytes a compiled pattern may take.
const PATTERN_SIZE: usize = 1 << 20;
const LONGEST_PACKET: usize = 1400;
const KINDS: &str = "minecraft_ping, tcp, log, http, a2s, udp, none";

/// `ports`: of the workload, the first stands in where the probe names none. `within`: where it names no deadline.
pub fn resolve(text: &ReadyText, ports: &[u16], within: Duration) -> Result<Readiness, Refusal> {
    let within = match &text.within {
        Some(own) => ladder::duration("ready.within", own, Duration::from_millis(1))?,
        None => within,
    };
    let port = || port(text, ports);
    let probe = match text.kind.as_str() {
        "minecraft_ping" => ReadyProbe::MinecraftPing { port: port()? },
        "tcp" => ReadyProbe::Tcp { port: port()? },
        "a2s" => ReadyProbe::A2s { port: port()? },
        "log" => ReadyProbe::Log { pattern: pattern(text)? },
        "http" => ReadyProbe::Http { port: port()?, path: path(text)? },
        "udp" => ReadyProbe::Udp {
            port: port()?,
            send: hex("ready.send", &text.send)?,
            expect: hex("ready.expect", &text.expect)?,
        },
        "none" => ReadyProbe::None,
        _ => return Err(unusable("ready.kind", format!("allowed: {KINDS}"))),
    };
    only_needed(text)?;
    Ok(Readiness { probe, within })
}

fn port(text: &ReadyText, ports: &[u16]) -> Result<u16, Refusal> {
    let named = text.port.or(ports.first().copied()).filter(|port| *port > 0);
    named.ok_or_else(|| unusable("ready.port", format!("{} needs a port, 1 to 65535, here or in ports", text.kind)))
}

fn pattern(text: &ReadyText) -> Result<String, Refusal> {
    let field = "ready.pattern";
    let given = text.pattern.as_deref().filter(|p| !p.is_empty());
    let pattern = given.ok_or_else(|| unusable(field, "log needs a regular expression to look for"))?;
    if pattern.len() > LONGEST_PATTERN {
        return Err(unusable(field, format!("at most {LONGEST_PATTERN} bytes")));
    }
    match regex::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build() {
        Ok(_) => Ok(pattern.to_owned()),
        Err(why) => Err(unusable(field, format!("not a usable regular expression: {why}"))),
    }
}

fn path(text: &ReadyText) -> Result<String, Refusal> {
    let path = text.path.as_deref().unwrap_or("/");
    if path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(path.to_owned());
    }
    Err(unusable("ready.path", "a path beginning with /, printable ASCII without spaces"))
}

fn hex(field: &str, text: &Option<String>) -> Result<String, Refusal> {
    let allowed = || unusable(field, format!("udp needs 1 to {LONGEST_PACKET} bytes as hexadecimal digits"));
    let digits = text.as_deref().ok_or_else(allowed)?;
    let fits = (2..=2 * LONGEST_PACKET).contains(&digits.len()) && digits.len().is_multiple_of(2);
    if fits && digits.bytes().all(|b| b.is_ascii_hexdigit()) { Ok(digits.to_ascii_lowercase()) } else { Err(allowed()) }
}

/// A field that the kind does not look at is a misunderstanding worth telling.
fn only_needed(text: &ReadyText) -> Result<(), Refusal> {
    let kind = text.kind.as_str();
    let given = [
        ("pattern", text.pattern.is_some(), kind == "log"),
        ("path", text.path.is_some(), kind == "http"),
        ("send", text.send.is_some(), kind == "udp"),
        ("expect", text.expect.is_some(), kind == "udp"),
    ];
    match given.iter().find(|(_, present, used)| *present && !*used) {
        Some((name, ..)) => Err(unusable(format!("ready.{name}"), format!("{kind} does not use it; leave it out"))),
        None => Ok(()),
    }
}
