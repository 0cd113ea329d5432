//! One editable line with history, like a shell's but smaller.
use super::keys::Key;
use std::collections::VecDeque;

/// Longest line; the agent's own limit for a command is 1024 bytes.
const MAX_CHARS: usize = 4096;
const MAX_HISTORY: usize = 500;

#[derive(Debug, Default)]
pub struct Editor {
    line: Vec<char>,
    cursor: usize,
    history: VecDeque<String>,
    /// How far back in history we are; 0 is the line being written.
    back: usize,
    draft: Vec<char>,
}

/// What a key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    Changed,
    /// The finished line; the editor is empty again.
    Line(String),
    /// Ctrl-C or Ctrl-D on an empty line.
    Leave,
}

impl Editor {
    /// The line and the position of the cursor in it, in characters.
    pub fn view(&self) -> (&[char], usize) {
        (&self.line, self.cursor)
    }

    /// Takes the line back that could not be sent.
    pub fn put_back(&mut self, line: &str) {
        self.replace(line.chars().collect());
    }

    pub fn press(&mut self, key: Key) -> Edit {
        match key {
            Key::Interrupt | Key::EndOfInput if self.line.is_empty() => return Edit::Leave,
            Key::Enter => return self.finish(),
            Key::Char(c) if self.line.len() < MAX_CHARS && !c.is_control() => {
                self.line.insert(self.cursor, c);
                self.cursor += 1;
            }
            Key::Char(_) => {}
            Key::Backspace => self.cut(self.cursor.saturating_sub(1), self.cursor),
            Key::Delete | Key::EndOfInput => self.cut(self.cursor, (self.cursor + 1).min(self.line.len())),
            Key::KillLine => self.cut(0, self.cursor),
            Key::KillToEnd => self.cut(self.cursor, self.line.len()),
            Key::KillWord => self.cut(self.word_start(), self.cursor),
            Key::Interrupt => self.replace(Vec::new()),
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(self.line.len()),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.line.len(),
            Key::Up => self.travel(self.back + 1),
            Key::Down => self.travel(self.back.saturating_sub(1)),
        }
        Edit::Changed
    }

    fn finish(&mut self) -> Edit {
        let line: String = std::mem::take(&mut self.line).into_iter().collect();
        self.cursor = 0;
        self.back = 0;
        if !line.trim().is_empty() && self.history.back() != Some(&line) {
            self.history.push_back(line.clone());
            if self.history.len() > MAX_HISTORY {
                self.history.pop_front();
            }
        }
        Edit::Line(line)
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.line.drain(from..to);
        self.cursor = from;
    }

    fn word_start(&self) -> usize {
        let before = &self.line[..self.cursor];
        let word_end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |at| at + 1);
        before[..word_end].iter().rposition(|c| c.is_whitespace()).map_or(0, |at| at + 1)
    }

    fn travel(&mut self, back: usize) {
        if back == self.back || back > self.history.len() {
            return;
        }
        if self.back == 0 {
            self.draft.clone_from(&self.line);
        }
        self.back = back;
        let line = match back {
            0 => std::mem::take(&mut self.draft),
            n => self.history[self.history.len() - n].chars().collect(),
        };
        self.replace(line);
    }

    fn replace(&mut self, line: Vec<char>) {
        self.cursor = line.len();
        self.line = line;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::keys::KeyReader, *};

    /// Types bytes and gives the lines that came out and the one left over.
    fn typed(editor: &mut Editor, bytes: &str) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        for key in KeyReader::default().read(bytes.as_bytes()) {
            if let Edit::Line(line) = editor.press(key) {
                lines.push(line);
            }
        }
        (lines, editor.view().0.iter().collect())
    }

    #[test]
    fn editing() {
        for (keys, line) in [
            ("abc\x7fd", "abd"),
            ("abc\x1b[D\x1b[DX", "aXbc"),
            ("abc\x01X\x05Y", "XabcY"),
            ("say hello world\x17", "say hello "),
            ("say hello \x17", "say "),
            ("abc\x15x", "x"),
            ("abc\x01\x0b", ""),
            ("abc\x01\x1b[3~", "bc"),
            ("abc\x01\x04", "bc"),
            ("\x7f\x7fü", "ü"),
            ("abc\x03d", "d"),
        ] {
            assert_eq!(typed(&mut Editor::default(), keys), (vec![], line.to_owned()), "{keys:?}");
        }
    }

    #[test]
    fn history_goes_back_and_returns_to_the_draft() {
        let mut editor = Editor::default();
        assert_eq!(typed(&mut editor, "one\rtwo\rtwo\r").0, ["one", "two", "two"]);
        assert_eq!(typed(&mut editor, "draft\x1b[A").1, "two");
        assert_eq!(typed(&mut editor, "\x1b[A\x1b[A\x1b[A").1, "one");
        assert_eq!(typed(&mut editor, "\x1b[B\x1b[B\x1b[B").1, "draft");
    }

    #[test]
    fn leaving_needs_an_empty_line() {
        let mut editor = Editor::default();
        assert_eq!(editor.press(Key::Interrupt), Edit::Leave);
        assert_eq!(editor.press(Key::EndOfInput), Edit::Leave);
        editor.press(Key::Char('x'));
        assert_eq!(editor.press(Key::Interrupt), Edit::Changed);
        assert_eq!(editor.press(Key::Interrupt), Edit::Leave);
    }

    #[test]
    fn growth_is_bounded() {
        let mut editor = Editor::default();
        typed(&mut editor, &"x".repeat(MAX_CHARS + 10));
        assert_eq!(editor.view().0.len(), MAX_CHARS);
        for n in 0..MAX_HISTORY + 10 {
            typed(&mut editor, &format!("{n}\r"));
        }
        assert_eq!(editor.history.len(), MAX_HISTORY);
    }
}
