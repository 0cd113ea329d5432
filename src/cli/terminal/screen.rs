//! Output above, the line being typed below, on a terminal in raw mode. Pure: gives the bytes to print.
use super::{editor::Editor, filter::Filter};

const PROMPT: &str = "> ";
/// A line longer than this is printed in pieces.
const MAX_UNFINISHED: usize = 16 << 10;

#[derive(Debug, Default)]
pub struct Screen {
    filter: Filter,
    /// The server's last line as far as it has come; shown before the prompt until it is complete.
    unfinished: Vec<u8>,
    pub columns: u16,
}

impl Screen {
    pub fn new(columns: u16) -> Screen {
        Screen { columns, ..Default::default() }
    }

    /// New output: complete lines go above, the prompt is drawn anew.
    pub fn output(&mut self, bytes: &[u8], editor: &Editor) -> Vec<u8> {
        self.unfinished.extend_from_slice(&self.filter.pass(bytes));
        let mut out = b"\r\x1b[K".to_vec();
        let whole = match self.unfinished.iter().rposition(|b| *b == b'\n') {
            Some(at) => at + 1,
            None => 0,
        };
        let rest = self.unfinished.split_off(whole);
        for line in std::mem::replace(&mut self.unfinished, rest).split_inclusive(|b| *b == b'\n') {
            out.extend_from_slice(line.trim_ascii_end_of_line());
            out.extend_from_slice(b"\x1b[0m\r\n");
        }
        if self.unfinished.len() > MAX_UNFINISHED {
            out.append(&mut self.unfinished);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&self.line(editor));
        out
    }

    /// A remark of ours on a line of its own.
    pub fn remark(&mut self, text: &str, editor: &Editor) -> Vec<u8> {
        let mut out = self.clear();
        out.extend_from_slice(format!("\x1b[2m[{text}]\x1b[0m\r\n").as_bytes());
        out.extend_from_slice(&self.line(editor));
        out
    }

    /// The prompt after a key.
    pub fn prompt(&self, editor: &Editor) -> Vec<u8> {
        let mut out = b"\r\x1b[K".to_vec();
        out.extend_from_slice(&self.line(editor));
        out
    }

    /// Removes the prompt and finishes an unfinished line, before remarks and at the end.
    pub fn clear(&mut self) -> Vec<u8> {
        let mut out = b"\r\x1b[K".to_vec();
        if !self.unfinished.is_empty() {
            out.append(&mut self.unfinished);
            out.extend_from_slice(b"\x1b[0m\r\n");
        }
        out
    }

    /// What fits of unfinished output, prompt and input on one line, cursor in place.
    fn line(&self, editor: &Editor) -> Vec<u8> {
        let room = usize::from(self.columns.max(20)) - 1;
        let mut head = self.preview(room / 2);
        head.push_str(PROMPT);
        let head_width = width(head.chars());
        let (line, cursor) = editor.view();
        let shown = window(line, cursor, room - head_width);
        let text: String = line[shown.clone()].iter().collect();
        let column = head_width + width(line[shown.start..cursor].iter().copied());
        format!("{head}{text}\r\x1b[{column}C").into_bytes()
    }

    /// The end of the unfinished line, without colours.
    fn preview(&self, room: usize) -> String {
        let plain = strip_ansi_escapes::strip(&self.unfinished);
        let text = String::from_utf8_lossy(&plain);
        let visible: Vec<char> = text.rsplit('\r').next().unwrap_or_default().chars().map(tab_to_blank).collect();
        let mut start = visible.len();
        while start > 0 && width(visible[start - 1..].iter().copied()) <= room {
            start -= 1;
        }
        visible[start..].iter().collect()
    }
}

trait EndOfLine {
    fn trim_ascii_end_of_line(&self) -> &[u8];
}

impl EndOfLine for [u8] {
    fn trim_ascii_end_of_line(&self) -> &[u8] {
        let line = self.strip_suffix(b"\n").unwrap_or(self);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

fn tab_to_blank(c: char) -> char {
    if c == '\t' { ' ' } else { c }
}

/// The part of `line` around the cursor that fits into `room` columns.
fn window(line: &[char], cursor: usize, room: usize) -> std::ops::Range<usize> {
    let mut start = 0;
    while width(line[start..cursor].iter().copied()) >= room {
        start += 1;
    }
    let mut end = cursor;
    while end < line.len() && width(line[start..=end].iter().copied()) < room {
        end += 1;
    }
    start..end
}

/// Columns that characters take: two for the wide blocks of East Asia and emoji, none for combining marks.
fn width(chars: impl Iterator<Item = char>) -> usize {
    let columns = |c: char| match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    };
    chars.map(columns).sum()
}

#[cfg(test)]
mod tests {
    use super::{super::keys::Key, *};

    fn editor(text: &str) -> Editor {
        let mut editor = Editor::default();
        text.chars().for_each(|c| {
            editor.press(Key::Char(c));
        });
        editor
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn output_goes_above_the_line_being_typed() {
        let mut screen = Screen::new(80);
        let shown = text(screen.output(b"one\r\ntwo\n", &editor("say")));
        assert_eq!(shown, "\r\x1b[Kone\x1b[0m\r\ntwo\x1b[0m\r\n> say\r\x1b[5C");
    }

    #[test]
    fn an_unfinished_line_is_shown_and_completed() {
        let mut screen = Screen::new(80);
        assert_eq!(text(screen.output(b"load\x1b[1ming", &editor(""))), "\r\x1b[Kloading> \r\x1b[9C");
        let shown = text(screen.output(b" done\n", &editor("")));
        assert_eq!(shown, "\r\x1b[Kload\x1b[1ming done\x1b[0m\r\n> \r\x1b[2C");
        screen.output(b"end", &editor(""));
        assert_eq!(text(screen.clear()), "\r\x1b[Kend\x1b[0m\r\n");
        assert_eq!(text(screen.clear()), "\r\x1b[K");
    }

    #[test]
    fn the_prompt_never_takes_more_than_a_line() {
        for columns in [0, 20, 21, 40] {
            let mut screen = Screen::new(columns);
            screen.output("日本語の長い行".repeat(20).as_bytes(), &editor(""));
            let line = text(screen.line(&editor(&"long 日本 ".repeat(30))));
            let visible = line.split('\r').next().unwrap();
            assert!(width(visible.chars()) < usize::from(columns.max(20)), "{columns}: {visible}");
            assert!(visible.contains("> "), "{visible}");
        }
    }

    #[test]
    fn output_without_line_ends_is_bounded() {
        let mut screen = Screen::new(80);
        for _ in 0..100 {
            screen.output(&[b'x'; 1000], &editor(""));
        }
        assert!(screen.unfinished.len() <= MAX_UNFINISHED);
    }
}
