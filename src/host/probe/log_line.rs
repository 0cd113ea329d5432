//! Waits for a line on the console: fed with raw bytes as they come, in pieces of any size.
use crate::model::plain_text::plain_line;
use regex::{Regex, RegexBuilder};

/// The rest of a longer line is not looked at.
const LINE_BYTES: usize = 4 << 10;
/// A game definition's pattern may not compile to more.
const PATTERN_BYTES: usize = 1 << 20;

/// Looks for the first line that matches. Made anew for every run, so it sees only lines of that run.
#[derive(Debug)]
pub struct LogLineMatcher {
    pattern: Regex,
    /// The line that has no end yet.
    line: Vec<u8>,
}

impl LogLineMatcher {
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        let pattern = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build()?;
        Ok(LogLineMatcher { pattern, line: Vec::new() })
    }

    /// The matching line, as plain text. A line without an end counts too: prompts never get one.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<String> {
        let mut pieces = bytes.split(|b| *b == b'\n');
        // The last piece has no newline behind it.
        let unfinished = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.append(piece);
            let found = self.matching();
            self.line.clear();
            if found.is_some() {
                return found;
            }
        }
        self.append(unfinished);
        if unfinished.is_empty() { None } else { self.matching() }
    }

    fn append(&mut self, piece: &[u8]) {
        let room = LINE_BYTES - self.line.len();
        self.line.extend(&piece[..piece.len().min(room)]);
    }

    fn matching(&self) -> Option<String> {
        let text = plain_line(&self.line);
        self.pattern.is_match(&text).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_line_through_colours() {
        let mut matcher = LogLineMatcher::new(r"Done \([\d.]+s\)!").unwrap();
        assert_eq!(matcher.feed(b"Starting\r\n\x1b[32m[INFO]: Do"), None);
        assert_eq!(matcher.feed(b"ne (\x1b[1m3.2"), None);
        assert_eq!(matcher.feed(b"s)! For help\r\n").as_deref(), Some("[INFO]: Done (3.2s)! For help"));
    }

    #[test]
    fn a_prompt_without_newline_counts() {
        let mut matcher = LogLineMatcher::new("type 'help'").unwrap();
        assert_eq!(
            matcher.feed(b"For introductory help, type 'help'.\n> ").as_deref(),
            Some("For introductory help, type 'help'.")
        );
        let mut matcher = LogLineMatcher::new("^ready> $").unwrap();
        assert_eq!(matcher.feed(b"x\nready> ").as_deref(), Some("ready> "));
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut matcher = LogLineMatcher::new("z").unwrap();
        for _ in 0..100 {
            assert_eq!(matcher.feed(&[b'x'; 10_000]), None);
        }
        assert_eq!(matcher.line.len(), LINE_BYTES);
        assert_eq!(matcher.feed(b"z\nz\n").as_deref(), Some("z"));
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        assert!(LogLineMatcher::new(r"(\w{100}){100}").is_err());
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(cuts in prop::collection::vec(1..9usize, 1..40)) {
            let log = "zuerst §cgrün\r\n\u{1f600} läuft auf Port 1\r\nmehr\n".as_bytes();
            let mut matcher = LogLineMatcher::new("läuft auf Port 1$").unwrap();
            let (mut rest, mut found) = (log, None);
            for cut in cuts.iter().cycle() {
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                found = found.or(matcher.feed(piece));
                rest = later;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(found.as_deref(), Some("\u{1f600} läuft auf Port 1"));
        }
    }
}
