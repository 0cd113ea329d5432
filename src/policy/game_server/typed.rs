//! Watches what people type for the game's own stop command: after it, exit 0 is a clean stop and no crash.
//! Only what goes *to* the game counts. What it prints proves nothing: a player may say "stop" in the chat.

/// Longer lines cannot be a stop command and are not kept.
const LONGEST: usize = 1024;

/// The line being typed, put together from keystrokes or whole lines.
#[derive(Clone, Debug, Default)]
pub struct TypedLine {
    bytes: Vec<u8>,
    too_long: bool,
}

impl TypedLine {
    /// Takes what was typed; did it complete one of `commands`?
    pub fn take(&mut self, typed: &[u8], commands: &[String]) -> bool {
        typed.iter().filter(|b| self.completes(**b, commands)).count() > 0
    }

    fn completes(&mut self, byte: u8, commands: &[String]) -> bool {
        match byte {
            b'\r' | b'\n' => return self.finish(commands),
            0x08 | 0x7f => _ = self.bytes.pop(),
            _ if self.bytes.len() < LONGEST => self.bytes.push(byte),
            _ => self.too_long = true,
        }
        false
    }

    fn finish(&mut self, commands: &[String]) -> bool {
        let line = std::mem::take(self);
        let text = String::from_utf8_lossy(&line.bytes);
        !line.too_long && commands.iter().any(|c| c.trim() == text.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> bool {
        let commands = ["stop".to_owned(), "/shutdown".to_owned()];
        let mut line = TypedLine::default();
        pieces.iter().filter(|p| line.take(p.as_bytes(), &commands)).count() > 0
    }

    #[test]
    fn only_a_whole_line_counts() {
        assert!(typed(&["stop\n"]));
        assert!(typed(&["s", "t", "o", "p", "\r"]));
        assert!(typed(&["say hi\r\n stop \n"]));
        assert!(typed(&["stox\x7fp\r"]));
        assert!(!typed(&["stop"]), "not sent yet");
        assert!(!typed(&["say stop\n", "stopp\n", "\n"]));
        assert!(!typed(&[&"x".repeat(2000), "\x7f", "\n"]));
    }
}
