//! Output as UTF-8: characters are never split across frames, invalid bytes become U+FFFD.

/// Holds the beginning of a character until its rest arrives.
#[derive(Clone, Debug, Default)]
pub struct Utf8 {
    begun: Vec<u8>,
}

impl Utf8 {
    /// All characters that are complete with `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let keep = all.len() - incomplete_tail(&all);
        self.begun = all.split_off(keep);
        match String::from_utf8(all) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        }
    }
}

/// Length of the beginning of a character at the end of `bytes`: 0 to 3.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let tail = &bytes[bytes.len() - back..];
        // Only a lead byte can begin a character; a continuation byte says: look further back.
        if tail[0] & 0xC0 != 0x80 {
            let is_incomplete = matches!(std::str::from_utf8(tail), Err(e) if e.error_len().is_none());
            return if is_incomplete { back } else { 0 };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_waits_for_its_rest() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.push("gr\u{fc}n".as_bytes().split_at(3).0), "gr");
        assert_eq!(utf8.push("gr\u{fc}n".as_bytes().split_at(3).1), "\u{fc}n");
        assert_eq!(utf8.push(b"\xF0\x9F\x98"), "");
        assert_eq!(utf8.push(b"\x80!"), "\u{1F600}!");
    }

    #[test]
    fn invalid_bytes_are_replaced_at_once() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.push(b"a\xFFb\x80c\xC0"), "a\u{FFFD}b\u{FFFD}c\u{FFFD}");
        assert_eq!(utf8.push(b"\xE2\x82"), "");
        assert_eq!(utf8.push(b"x"), "\u{FFFD}x");
    }

    proptest! {
        #[test]
        fn cuts_do_not_show(text in "\\PC{0,60}", cuts in proptest::collection::vec(1usize..5, 0..60)) {
            let mut utf8 = Utf8::default();
            let (mut rest, mut out) = (text.as_bytes(), String::new());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                out += &utf8.push(piece);
                rest = after;
            }
            out += &utf8.push(rest);
            prop_assert_eq!(out, text);
        }

        #[test]
        fn any_bytes_end_as_lossy_text(bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0usize..80) {
            let mut utf8 = Utf8::default();
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut out = utf8.push(a) + &utf8.push(b);
            out += &String::from_utf8_lossy(&utf8.begun);
            prop_assert_eq!(out, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}
