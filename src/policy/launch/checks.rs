//! The syntax of single values of a `/config` body. Each refusal names the field and what it may hold.
use super::unusable;
use crate::model::refusal::Refusal;
use std::collections::BTreeMap;

const MAX_PORTS: usize = 16;
const MAX_ENV: usize = 256;
const MAX_ENV_VALUE: usize = 32 << 10;

/// Names for a person, shortened and cut: `a, b, c and 5 more`.
pub fn listed<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 16;
    let names: Vec<String> = names.into_iter().map(|n| shortened(n.as_ref())).collect();
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

/// At most 64 characters, none of which could disturb a log.
pub fn shortened(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Names that become folders: `[A-Za-z0-9._-]{1,64}`, never `..`.
pub fn name(field: &str, value: &str) -> Result<(), Refusal> {
    let fits = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !value.contains("..")
        && value != ".";
    if fits {
        return Ok(());
    }
    Err(unusable(field, format!("{:?}: allowed are 1 to 64 of A-Z a-z 0-9 . _ - without ..", shortened(value))))
}

pub fn ports(ports: &[u64]) -> Result<Vec<u16>, Refusal> {
    if ports.len() > MAX_PORTS {
        return Err(unusable("ports", format!("{} ports; at most {MAX_PORTS}", ports.len())));
    }
    let mut out = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let field = format!("ports[{at}]");
        match u16::try_from(*port) {
            Ok(port) if port > 0 && out.contains(&port) => {
                return Err(unusable(field, format!("{port} is there twice")));
            }
            Ok(port) if port > 0 => out.push(port),
            _ => return Err(unusable(field, format!("{port} is not a port; allowed: 1 to 65535"))),
        }
    }
    Ok(out)
}

pub fn environment(env: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if env.len() > MAX_ENV {
        return Err(unusable("env", format!("{} variables; at most {MAX_ENV}", env.len())));
    }
    for (name, value) in env {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let detail = format!("{:?} is no variable name; allowed: [A-Za-z_][A-Za-z0-9_]*", shortened(name));
            return Err(unusable("env", detail));
        }
        if value.contains('\0') || value.len() > MAX_ENV_VALUE {
            return Err(unusable(format!("env.{name}"), format!("no NUL and at most {MAX_ENV_VALUE} bytes")));
        }
    }
    Ok(())
}

/// An account name as useradd(8) takes it.
pub fn user(value: &str) -> Result<(), Refusal> {
    let mut bytes = value.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    if first && value.len() <= 32 && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b)) {
        return Ok(());
    }
    Err(unusable("user", format!("{:?} is no account name; allowed: [a-z_][a-z0-9_-]{{0,31}}", shortened(value))))
}

/// A path on the artifact server.
pub fn artifact_path(field: &str, value: &str) -> Result<(), Refusal> {
    let clean = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+/@~".contains(&b));
    let names = value.split('/').all(|name| !name.is_empty() && name != "." && name != "..");
    if clean && names && value.len() <= 1024 {
        return Ok(());
    }
    let detail = format!("{:?}: allowed is a relative path like minecraft/paper/1.21.4/server.jar", shortened(value));
    Err(unusable(field, detail))
}

/// A password that can stand in a console command without quotes; Teeworlds cuts a longer one without a word.
pub fn plain_password(field: &str, value: &str) -> Result<String, Refusal> {
    if (1..=31).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b)) {
        return Ok(value.to_owned());
    }
    Err(unusable(field, "for this game it is a console password: 1 to 31 of A-Z a-z 0-9 . _ - +"))
}
