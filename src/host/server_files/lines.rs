//! Lines of `key=value` files such as `server.properties`: ours are set, all others stay byte for byte.
use crate::{host::beneath::Beneath, model::furnishing::Lines};
use nix::sys::stat::Mode;
use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
};

/// Larger ones are not written by hand; what they are, nobody knows.
const LARGEST: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    #[error("{0} is larger than 1 MiB or not text; nothing was changed in it: move it away")]
    NotText(String),
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
}

/// `true`: the file was changed. It is made if it is not there. Blocking.
pub fn write_lines(root: &Beneath, lines: &Lines) -> Result<bool, LinesError> {
    let fault = |source| LinesError::Io { path: lines.file.clone(), source };
    let was = match root.file(&lines.file).map_err(fault)? {
        Some(file) => {
            let mut text = String::new();
            let read = file.take(LARGEST + 1).read_to_string(&mut text);
            match read {
                Ok(bytes) if bytes as u64 <= LARGEST => text,
                Ok(_) => return Err(LinesError::NotText(lines.file.clone())),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    return Err(LinesError::NotText(lines.file.clone()));
                }
                Err(e) => return Err(fault(e)),
            }
        }
        None => String::new(),
    };
    let now = merged(&was, lines);
    if now == was {
        return Ok(false);
    }
    let mode = Mode::from_bits_truncate(0o644);
    root.replace(&lines.file, mode, |file| file.write_all(now.as_bytes())).map_err(fault)?;
    Ok(true)
}

/// Java's properties know `key=value`, `key: value`, blanks around both, and the last of equal keys counts.
fn merged(was: &str, lines: &Lines) -> String {
    let mut seen = BTreeSet::new();
    let mut now: Vec<String> = Vec::new();
    for line in was.lines() {
        let set = key(line).and_then(|key| Some((key, lines.set.get(key)?)));
        seen.extend(key(line).map(str::to_owned));
        now.push(match set {
            Some((key, value)) if value_of(line) != Some(value) => format!("{key}={value}"),
            _ => line.to_owned(),
        });
    }
    let missing = lines.set.iter().chain(&lines.once).filter(|(key, _)| !seen.contains(*key));
    now.extend(missing.map(|(key, value)| format!("{key}={value}")));
    let ending = if was.contains("\r\n") { "\r\n" } else { "\n" };
    let mut text = now.join(ending);
    if !text.is_empty() && (was.is_empty() || was.ends_with('\n') || text.len() != was.len()) {
        text.push_str(ending);
    }
    text
}

fn key(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with(['#', '!']) {
        return None;
    }
    line.split(['=', ':']).next().map(str::trim_end).filter(|key| !key.is_empty())
}

fn value_of(line: &str) -> Option<&str> {
    line.split_once(['=', ':']).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn lines(set: &[(&str, &str)], once: &[(&str, &str)]) -> Lines {
        let map =
            |rows: &[(&str, &str)]| rows.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<BTreeMap<_, _>>();
        Lines { file: "server.properties".into(), set: map(set), once: map(once) }
    }

    #[test]
    fn an_owners_file_keeps_its_own_lines() {
        let wanted = lines(&[("server-port", "25570")], &[("motd", "hello")]);
        let rows = [
            ("", "server-port=25570\nmotd=hello\n"),
            ("#Minecraft\nserver-port=25565\npvp=false\n", "#Minecraft\nserver-port=25570\npvp=false\nmotd=hello\n"),
            ("motd=mine\nserver-port=25570\n", "motd=mine\nserver-port=25570\n"),
            ("motd=mine\nserver-port = 25570", "motd=mine\nserver-port = 25570"),
            ("motd=mine\r\nserver-port: 1\r\n", "motd=mine\r\nserver-port=25570\r\n"),
            ("# server-port=1\n!motd=x\n", "# server-port=1\n!motd=x\nserver-port=25570\nmotd=hello\n"),
        ];
        for (was, now) in rows {
            assert_eq!(merged(was, &wanted), now, "{was:?}");
            assert_eq!(merged(now, &wanted), now, "a second time");
        }
    }

    proptest! {
        /// Whatever is in the file: writing twice is writing once, and foreign lines stay in their order.
        #[test]
        fn writing_is_stable_and_spares_the_rest(was in "([a-z#=: ]{0,8}\n){0,6}") {
            let wanted = lines(&[("a", "1")], &[("b", "2")]);
            let once = merged(&was, &wanted);
            prop_assert_eq!(merged(&once, &wanted), once.clone());
            let foreign = |text: &str| -> Vec<String> {
                text.lines().filter(|l| !matches!(key(l), Some("a" | "b"))).map(str::to_owned).collect()
            };
            prop_assert_eq!(foreign(&was), foreign(&once));
        }
    }
}
