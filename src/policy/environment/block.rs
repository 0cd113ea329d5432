//! A marked block in a file that belongs to somebody else: put in, replaced, and nothing else touched.

const BEGIN: &[u8] = b"# >>> zlh >>>";
const END: &[u8] = b"# <<< zlh <<<";
const NOTE: &[u8] = b" managed: changes between these lines are overwritten\n";

/// Where the block goes in a file that has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before lines that may end the reading (`[ -z "$PS1" ] && return`).
    First,
    /// After lines that would otherwise have the last word.
    Last,
}

/// The file with `lines` (each ended by a newline) as its only block. Blocks that somebody doubled become one; a begin
/// without its end is one line of its own, so that what follows it is never lost.
pub fn with_block(file: &[u8], lines: &str, place: Place) -> Vec<u8> {
    let (mut rest, at) = without_block(file);
    let mut block = [BEGIN, NOTE, lines.as_bytes(), END, b"\n"].concat();
    let at = at.unwrap_or(match place {
        Place::First => 0,
        Place::Last => rest.len(),
    });
    if at > 0 && rest[at - 1] != b'\n' {
        block.insert(0, b'\n');
    }
    rest.splice(at..at, block);
    rest
}

/// The file without any block, and where the first one was.
fn without_block(file: &[u8]) -> (Vec<u8>, Option<usize>) {
    let lines: Vec<&[u8]> = file.split_inclusive(|b| *b == b'\n').collect();
    let (mut rest, mut first, mut next) = (Vec::new(), None, 0);
    while let Some(line) = lines.get(next) {
        if !line.starts_with(BEGIN) {
            // An end without its beginning is what a hand left over.
            if !line.starts_with(END) {
                rest.extend_from_slice(line);
            }
            next += 1;
            continue;
        }
        first.get_or_insert(rest.len());
        let more = lines[next + 1..].iter().take_while(|l| !l.starts_with(BEGIN));
        let end = more.clone().position(|l| l.starts_with(END));
        next += end.map_or(1, |end| end + 2);
    }
    (rest, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(file: &str, lines: &str, place: Place) -> String {
        String::from_utf8(with_block(file.as_bytes(), lines, place)).unwrap()
    }

    fn block(lines: &str) -> String {
        format!("# >>> zlh >>> managed: changes between these lines are overwritten\n{lines}# <<< zlh <<<\n")
    }

    #[test]
    fn the_block_goes_where_it_belongs_and_stays_there() {
        assert_eq!(put("", "a\n", Place::Last), block("a\n"));
        assert_eq!(put("x\n", "a\n", Place::First), format!("{}x\n", block("a\n")));
        assert_eq!(put("x", "a\n", Place::Last), format!("x\n{}", block("a\n")));
        let moved = format!("x\n{}y\n", block("old\nlines\n"));
        assert_eq!(put(&moved, "a\n", Place::First), format!("x\n{}y\n", block("a\n")));
    }

    #[test]
    fn damaged_blocks_lose_nothing_of_others() {
        let doubled = format!("{0}x\n{0}y\n", block("a\n"));
        assert_eq!(put(&doubled, "b\n", Place::Last), format!("{}x\ny\n", block("b\n")));
        assert_eq!(put("x\n# >>> zlh >>>\ny\n", "b\n", Place::Last), format!("x\n{}y\n", block("b\n")));
        assert_eq!(put("x\n# <<< zlh <<<\ny\n", "b\n", Place::Last), format!("x\ny\n{}", block("b\n")));
    }

    proptest! {
        #[test]
        fn again_changes_nothing_and_others_lines_stay(
            lines in prop::collection::vec("[ -~]{0,8}", 0..6), first in any::<bool>(), newline in any::<bool>(),
        ) {
            let mut file = lines.join("\n");
            if newline { file.push('\n'); }
            let place = if first { Place::First } else { Place::Last };
            let once = with_block(file.as_bytes(), "a\nb\n", place);
            prop_assert_eq!(&with_block(&once, "a\nb\n", place), &once);
            let (rest, at) = without_block(&once);
            prop_assert!(at.is_some());
            // A newline may have been added to the last line; nothing else.
            let rest = String::from_utf8(rest).unwrap();
            prop_assert_eq!(rest.trim_end_matches('\n'), file.trim_end_matches('\n'));
        }
    }
}
