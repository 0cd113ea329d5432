//! From bytes to keys, and the key that leaves the console.
use std::fmt;

/// The byte that leaves the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetachKey(u8);

impl DetachKey {
    /// `ctrl-x`, `^x`, or one ASCII character.
    pub fn parse(text: &str) -> Result<DetachKey, String> {
        let lower = text.to_ascii_lowercase();
        let control = lower.strip_prefix("ctrl-").or_else(|| lower.strip_prefix('^').filter(|rest| !rest.is_empty()));
        match (control.map(str::as_bytes), text.as_bytes()) {
            (Some(&[c @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => {
                Ok(DetachKey(c.to_ascii_uppercase() & 0x1f))
            }
            (None, &[c]) if c.is_ascii_graphic() => Ok(DetachKey(c)),
            _ => Err("expected a key like ctrl-], ^q or ~".into()),
        }
    }

    /// The bytes before the key, if it is among them.
    pub fn split(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.iter().position(|b| *b == self.0).map(|at| &bytes[..at])
    }
}

impl fmt::Display for DetachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            c @ 0..0x20 => write!(f, "Ctrl-{}", (c | 0x40) as char),
            c => write!(f, "{}", c as char),
        }
    }
}

/// What a line editor understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    KillLine,
    KillToEnd,
    KillWord,
    Interrupt,
    EndOfInput,
}

/// Bytes as a terminal sends them (ECMA-48, xterm), which may be cut anywhere.
#[derive(Debug, Default)]
pub struct KeyReader {
    pending: Vec<u8>,
}

/// Longest escape sequence taken seriously.
const MAX_SEQUENCE: usize = 32;

impl KeyReader {
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        for byte in bytes {
            self.pending.push(*byte);
            match complete(&self.pending) {
                Form::Unfinished if self.pending.len() < MAX_SEQUENCE => {}
                Form::Unfinished | Form::Meaningless => self.pending.clear(),
                Form::Key(key) => {
                    keys.push(key);
                    self.pending.clear();
                }
            }
        }
        keys
    }
}

enum Form {
    Unfinished,
    Key(Key),
    Meaningless,
}

fn complete(bytes: &[u8]) -> Form {
    match bytes {
        [0x1b] | [0x1b, b'[' | b'O'] => Form::Unfinished,
        [0x1b, b'O', last] => named(*last, b""),
        [0x1b, b'[', parameters @ .., last] => match last {
            0x40..=0x7e => named(*last, parameters),
            _ => Form::Unfinished,
        },
        [0x1b, ..] => Form::Meaningless,
        [control @ (0..0x20 | 0x7f)] => control_key(*control),
        text => match std::str::from_utf8(text) {
            Ok(text) => text.chars().next().map_or(Form::Meaningless, |c| Form::Key(Key::Char(c))),
            Err(e) if e.error_len().is_none() => Form::Unfinished,
            Err(_) => Form::Meaningless,
        },
    }
}

fn named(last: u8, parameters: &[u8]) -> Form {
    Form::Key(match (last, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"3") => Key::Delete,
        _ => return Form::Meaningless,
    })
}

fn control_key(byte: u8) -> Form {
    Form::Key(match byte {
        b'\r' | b'\n' => Key::Enter,
        0x7f | 0x08 => Key::Backspace,
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Interrupt,
        0x04 => Key::EndOfInput,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x0b => Key::KillToEnd,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::KillLine,
        0x17 => Key::KillWord,
        _ => return Form::Meaningless,
    })
}

/// Keeps characters whole that a read cut in two.
#[derive(Debug, Default)]
pub struct Utf8Joiner {
    rest: Vec<u8>,
}

impl Utf8Joiner {
    /// The text that is complete; bytes that can never be text become U+FFFD.
    pub fn join(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let mut text = String::new();
        let mut cut = 0;
        for chunk in self.rest.utf8_chunks() {
            text.push_str(chunk.valid());
            cut += chunk.valid().len();
            let broken = chunk.invalid();
            let may_grow = std::str::from_utf8(broken).is_err_and(|e| e.error_len().is_none());
            if may_grow && cut + broken.len() == self.rest.len() {
                break;
            }
            if !broken.is_empty() {
                text.push('\u{fffd}');
            }
            cut += broken.len();
        }
        self.rest.drain(..cut);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys() {
        for (text, byte, shown) in [
            ("ctrl-]", 0x1d, "Ctrl-]"),
            ("^q", 0x11, "Ctrl-Q"),
            ("CTRL-A", 1, "Ctrl-A"),
            ("~", b'~', "~"),
            ("^", b'^', "^"),
        ] {
            let key = DetachKey::parse(text).unwrap();
            assert_eq!((key, key.to_string().as_str()), (DetachKey(byte), shown));
        }
        for text in ["", "ctrl-", "ctrl-1", "ab", "é"] {
            assert!(DetachKey::parse(text).is_err(), "{text}");
        }
        assert_eq!(DetachKey(0x1d).split(b"ab\x1dcd"), Some(&b"ab"[..]));
    }

    #[test]
    fn keys_are_the_same_however_the_bytes_are_cut() {
        use Key::*;
        let bytes = "hé\x1b[A\x1bOD\x1b[3~\x1b[1;5C\x1bx\x15\x7f\r\x03".as_bytes();
        let keys = [Char('h'), Char('é'), Up, Left, Delete, Right, KillLine, Backspace, Enter, Interrupt];
        assert_eq!(KeyReader::default().read(bytes), keys);
        let mut reader = KeyReader::default();
        let one_by_one: Vec<Key> = bytes.iter().flat_map(|b| reader.read(&[*b])).collect();
        assert_eq!(one_by_one, keys);
    }

    #[test]
    fn an_endless_sequence_is_given_up() {
        let mut reader = KeyReader::default();
        reader.read(b"\x1b[");
        reader.read(&[b'1'; 1000]);
        assert!(reader.pending.len() < MAX_SEQUENCE);
        assert_eq!(reader.read(b"\r").last(), Some(&Key::Enter));
    }

    #[test]
    fn characters_stay_whole() {
        let mut joiner = Utf8Joiner::default();
        let mut text = String::new();
        for byte in "aé€😀".as_bytes() {
            text += &joiner.join(&[*byte]);
        }
        assert_eq!(text, "aé€😀");
        assert_eq!(joiner.join(b"\xffx\xc3"), "\u{fffd}x");
        assert_eq!(joiner.join(b"\xa9"), "é");
    }
}
