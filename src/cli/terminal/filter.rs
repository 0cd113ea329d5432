//! Lets a game's output reach a terminal without letting it drive the terminal: colours pass, everything else that
//! players can smuggle into a log (clipboard writes, titles, cursor moves, links) is dropped.

/// A stream filter; sequences may be cut anywhere.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    /// The sequence being read, kept until it proves to be a colour.
    held: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Text,
    Escape,
    /// After `ESC [`.
    Csi,
    /// A control sequence that is no colour.
    OtherCsi,
    /// OSC, DCS, SOS, PM, APC: up to BEL or `ESC \`.
    String,
    StringEscape,
    /// 0xC2: the next byte tells a C1 control from a letter.
    HighControl,
}

/// Longest colour sequence.
const MAX_COLOUR: usize = 64;

impl Filter {
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.state = self.step(*byte, &mut out);
        }
        out
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match (self.state, byte) {
            (State::String, 0x07) => State::Text,
            (State::String | State::StringEscape, 0x1b) => State::StringEscape,
            (State::StringEscape, b'\\') => State::Text,
            (State::String | State::StringEscape, _) => State::String,
            (_, 0x1b) => self.hold(&[byte], State::Escape),
            (State::Escape, b'[') => self.hold(b"\x1b[", State::Csi),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
            // Charset choices and the like have one more byte.
            (State::Escape, 0x20..=0x2f) => State::Escape,
            (State::Escape, _) => State::Text,
            (State::Csi, b'm') => {
                out.extend_from_slice(&self.held);
                out.push(byte);
                State::Text
            }
            (State::Csi, b'0'..=b'9' | b';' | b':') if self.held.len() < MAX_COLOUR => {
                self.held.push(byte);
                State::Csi
            }
            (State::Csi | State::OtherCsi, 0x40..=0x7e) => State::Text,
            (State::Csi | State::OtherCsi, _) => State::OtherCsi,
            (State::HighControl, 0x80..=0x9f) => State::Text,
            (State::HighControl, _) => {
                out.push(0xc2);
                self.state = State::Text;
                self.step(byte, out)
            }
            (State::Text, 0xc2) => State::HighControl,
            (State::Text, b'\n' | b'\r' | b'\t' | 0x20..=0x7e | 0x80..) => {
                out.push(byte);
                State::Text
            }
            (State::Text, _) => State::Text,
        }
    }

    fn hold(&mut self, bytes: &[u8], state: State) -> State {
        self.held.clear();
        self.held.extend_from_slice(bytes);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_pass_and_commands_do_not() {
        for (given, passed) in [
            ("plain é€😀\r\n\t", "plain é€😀\r\n\t"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[38:2:1:2:3mx", "\x1b[38:2:1:2:3mx"),
            ("a\x1b[2Jb\x1b[10;5Hc\x1b[?1049hd", "abcd"),
            ("a\x1b]52;c;ZXZpbA==\x07b", "ab"),
            ("a\x1b]8;;http://evil\x1b\\b", "ab"),
            ("a\x1bP1$r\x1b\\b\x1b(Bc\x1bcd", "abcd"),
            ("a\x07\x08\0b\x7f", "ab"),
            ("a\u{9b}2Jb\u{a7}c", "a2Jb\u{a7}c"),
            ("a\x1b[>4;2mb", "ab"),
        ] {
            assert_eq!(String::from_utf8_lossy(&Filter::default().pass(given.as_bytes())), passed, "{given:?}");
            let mut filter = Filter::default();
            let cut: Vec<u8> = given.bytes().flat_map(|b| filter.pass(&[b])).collect();
            assert_eq!(String::from_utf8_lossy(&cut), passed, "{given:?}, cut");
        }
    }

    #[test]
    fn an_endless_sequence_is_not_kept() {
        let mut filter = Filter::default();
        assert!(filter.pass(b"\x1b[").is_empty());
        assert!(filter.pass(&vec![b'1'; 100_000]).is_empty());
        assert!(filter.held.len() <= MAX_COLOUR);
        assert_eq!(filter.pass(b"mx"), b"x");
    }
}
