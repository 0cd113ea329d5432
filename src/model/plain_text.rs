//! Console bytes as the text a person reads: no escape sequences, no colour codes, no control characters.

/// One line of console output (without its newline) as plain text. Invalid UTF-8 becomes U+FFFD.
///
/// A redrawn prompt (`> `, then a carriage return or a jump to column 1) is taken away, because it would hide the
/// beginning of the line that is printed over it.
pub fn plain_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                if skip_escape(&mut rest) == Escape::LineStart {
                    drop_prompt(&mut plain);
                }
            }
            '\u{9b}' => {
                skip_csi(&mut rest);
            }
            // Minecraft's colour codes: a section sign and one more character.
            '§' => {
                rest.next();
            }
            '\r' => drop_prompt(&mut plain),
            '\t' => plain.push('\t'),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[derive(PartialEq)]
enum Escape {
    LineStart,
    Other,
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// After ESC: swallows one sequence; one that never ends takes the rest of the line with it.
fn skip_escape(rest: &mut Chars) -> Escape {
    match rest.next() {
        Some('[') => return skip_csi(rest),
        // OSC, DCS, SOS, PM, APC: strings up to BEL or ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        // Character sets and the like: one more byte.
        Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
            rest.next();
        }
        _ => {}
    }
    Escape::Other
}

fn skip_csi(rest: &mut Chars) -> Escape {
    let mut parameters = String::new();
    while let Some(c) = rest.next_if(|c| !c.is_control()) {
        if ('@'..='~').contains(&c) {
            let to_column_1 = c == 'G' && matches!(parameters.as_str(), "" | "0" | "1");
            return if to_column_1 { Escape::LineStart } else { Escape::Other };
        }
        if parameters.len() < 8 {
            parameters.push(c);
        }
    }
    Escape::Other
}

fn skip_string(rest: &mut Chars) {
    while let Some(c) = rest.next() {
        if c == '\x07' || (c == '\x1b' && rest.next_if_eq(&'\\').is_some()) {
            return;
        }
    }
}

fn drop_prompt(plain: &mut String) {
    if matches!(plain.trim(), ">" | "$" | "#") {
        plain.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_away_what_a_terminal_would_not_show() {
        for (raw, shown) in [
            (&b"\x1b[32mgreen\x1b[0m"[..], "green"),
            (b"\x1b]0;title\x07text", "text"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"a\x1b(Bb", "ab"),
            (b"> \x1b[1G\x1b[0K[INFO]: up", "[INFO]: up"),
            (b"> \r\x1b[KTerminating", "Terminating"),
            (b"line\r", "line"),
            (b"half\rwhole", "halfwhole"),
            (b"\tat com.example.Foo\x00", "\tat com.example.Foo"),
            (b"\x1b[9999999999999999999C!", "!"),
            (b"kept \x1b]never ends", "kept "),
            ("§cred §§x".as_bytes(), "red x"),
            (b"bad \xff utf", "bad \u{fffd} utf"),
            (b"\x1b", ""),
            (b"\x1b[31", ""),
        ] {
            assert_eq!(plain_line(raw), shown, "{raw:?}");
        }
    }
}
