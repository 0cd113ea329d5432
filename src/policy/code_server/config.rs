//! `~/.config/code-server/config.yaml`, which people edit: what in it keeps the editor from coming up.
//!
//! The file is a flat list of `key: value`, and is read line by line: a full reader of YAML would be more than all the
//! rest. What this takes for sound and the editor does not is seen in the editor's own last words.

/// What is to be done about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Sound,
    /// Without the lines that did harm, and which these were.
    Repaired {
        text: String,
        removed: Vec<String>,
    },
    /// No YAML of this kind; the sentence says where.
    Broken(String),
}

/// Keys with which it fails, or listens where nobody looks.
fn harms(key: &str, value: &str) -> bool {
    let empty = matches!(value, "" | "\"\"" | "''" | "~" | "null" | "[]");
    match key {
        // "Cannot read properties of null": it ends at once.
        "proxy-domain" => empty,
        // It would speak TLS, or at a socket, and no longer at the port that gateways ask.
        "cert" => !matches!(value, "false" | "\"false\"" | "'false'"),
        "socket" | "link" => true,
        _ => false,
    }
}

pub fn judge(text: &str) -> Judged {
    let mut kept = Vec::new();
    let mut removed = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        // A value may go on in the lines below, further in or as `- item`.
        let below = lines[at + 1..].iter().take_while(|l| l.starts_with([' ', '-']) && !l.trim().is_empty()).count();
        let block = &lines[at..=at + below];
        match entry(line, at + 1) {
            Err(why) => return Judged::Broken(why),
            Ok(Some((key, value))) if below == 0 && harms(key, value) => removed.push((*line).to_owned()),
            Ok(None) if below > 0 && !line.trim().is_empty() && !line.starts_with('#') => {
                return Judged::Broken(format!("line {}: nothing that could go on", at + 2));
            }
            Ok(_) => kept.extend(block.iter().copied()),
        }
        at += block.len();
    }
    match removed.is_empty() {
        true => Judged::Sound,
        false => Judged::Repaired { text: kept.iter().flat_map(|line| [*line, "\n"]).collect(), removed },
    }
}

/// `key: value`, without a comment at the end; `None` for an empty line or a comment.
fn entry(line: &str, number: usize) -> Result<Option<(&str, &str)>, String> {
    let broken = |why: &str| Err(format!("line {number}: {why}"));
    if line.contains(|c: char| c.is_control()) {
        return broken("it holds a control character, such as a tab");
    }
    if line.trim().is_empty() || line.starts_with('#') || line == "---" {
        return Ok(None);
    }
    if line.starts_with([' ', '-']) {
        return broken("it belongs to no key above it");
    }
    let (key, value) = match line.split_once(": ") {
        Some((key, value)) => (key, value),
        None => match line.trim_end().strip_suffix(':') {
            Some(key) => (key, ""),
            None => return broken("it is no `key: value`"),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if key.is_empty() || !key.chars().all(plain) {
        return broken("its key is no option's name");
    }
    let is_quoted = value.starts_with(['"', '\'']);
    let value = if is_quoted { value } else { value.split(" #").next().unwrap_or_default() }.trim();
    match is_whole(value) {
        true => Ok(Some((key, value))),
        false => broken("a quote or bracket in it has no end"),
    }
}

fn is_whole(value: &str) -> bool {
    [('"', '"'), ('\'', '\''), ('[', ']'), ('{', '}')]
        .iter()
        .all(|(open, close)| !value.starts_with(*open) || (value.len() > 1 && value.ends_with(*close)))
}
