//! The end of a run's console output, cut into plain lines: bounded, whole characters, nothing a terminal would hide.
use crate::model::plain_text::plain_line;
use regex::Regex;
use std::time::Duration;

/// How much of a log is looked at: its last lines, and their bytes.
pub const TAIL_LINES: usize = 400;
pub const TAIL_BYTES: usize = 128 << 10;
/// The rest of a longer line is cut off.
pub const LINE_BYTES: usize = 4 << 10;

/// One line, oldest first in a tail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLine {
    pub text: String,
    /// Time from this line to the last one, where lines tell the time of day.
    pub age: Option<Duration>,
    /// The beginning of the line is missing: a person may read it, a rule must not (its chat prefix may be gone).
    pub torn: bool,
}

/// The last `lines` lines (at most [`TAIL_LINES`]) of `bytes`.
///
/// `whole`: `bytes` begin where the run's output begins. If not, the first line counts as torn.
pub fn log_tail(bytes: &[u8], whole: bool, lines: usize) -> Vec<LogLine> {
    let from = bytes.len().saturating_sub(TAIL_BYTES);
    let torn_start = if from == 0 { !whole } else { bytes[from - 1] != b'\n' };
    let recent = &bytes[from..];
    let recent = recent.strip_suffix(b"\n").unwrap_or(recent);
    if recent.is_empty() {
        return Vec::new();
    }
    let all: Vec<&[u8]> = recent.split(|b| *b == b'\n').collect();
    let skipped = all.len().saturating_sub(lines.min(TAIL_LINES));
    let torn = |index: usize| index == 0 && torn_start;
    let kept = all.iter().enumerate().skip(skipped);
    let mut tail: Vec<_> =
        kept.map(|(index, line)| LogLine { text: capped(line), age: None, torn: torn(index) }).collect();
    tell_ages(&mut tail);
    tail
}

/// A time of day at the beginning of a line, bare or in brackets, with or without a date: `[12:00:01`,
/// `2026-03-10 12:00:01`, `[10Mar2026 12:00:01`. Further right a player may have said it.
const STAMP: &str =
    r"^[\[(]?(?:\d{1,4}[-/.]?(?:\d{1,2}|[A-Z][a-z]{2})[-/.]?\d{2,4}[ T_])?([01]\d|2[0-3]):([0-5]\d):([0-5]\d)";
const DAY: u64 = 24 * 60 * 60;

/// A line without a time is as old as the one before it: the frames of a stack trace.
fn tell_ages(tail: &mut [LogLine]) {
    let Ok(stamp) = Regex::new(STAMP) else { return };
    let times: Vec<Option<u64>> = tail.iter().map(|line| time_of_day(&stamp, &line.text)).collect();
    let Some(last) = times.iter().rev().find_map(|time| *time) else { return };
    let mut current = None;
    for (line, time) in tail.iter_mut().zip(times) {
        current = time.or(current);
        line.age = current.map(|time| Duration::from_secs(between(time, last)));
    }
}

fn time_of_day(stamp: &Regex, text: &str) -> Option<u64> {
    let (_, [hours, minutes, seconds]) = stamp.captures(text)?.extract();
    let number = |digits: &str| digits.parse::<u64>().ok();
    Some(number(hours)? * 3600 + number(minutes)? * 60 + number(seconds)?)
}

/// Over midnight if need be. Threads write a little out of order: what seems to lie ahead is not a day old.
fn between(earlier: u64, later: u64) -> u64 {
    let seconds = (later + DAY - earlier) % DAY;
    if seconds > DAY / 2 { 0 } else { seconds }
}

/// At most [`LINE_BYTES`] of a line; a character that the cut went through is left out.
fn capped(line: &[u8]) -> String {
    if line.len() <= LINE_BYTES {
        return plain_line(line);
    }
    let mut end = LINE_BYTES;
    while end > LINE_BYTES - 4 && line[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    plain_line(&line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8], whole: bool, lines: usize) -> Vec<String> {
        log_tail(bytes, whole, lines).into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn the_last_lines_come_oldest_first() {
        assert_eq!(texts(b"a\r\nb\r\nc\r\n", true, 2), ["b", "c"]);
        assert_eq!(texts(b"a\nlast without newline", true, 9), ["a", "last without newline"]);
        assert_eq!(texts(b"a\n\nb\n", true, 9), ["a", "", "b"]);
        assert!(texts(b"", true, 9).is_empty());
        assert_eq!(texts("x\n".repeat(1000).as_bytes(), true, 5000).len(), TAIL_LINES);
    }

    #[test]
    fn a_line_whose_beginning_is_missing_is_torn() {
        assert!(log_tail(b"half\nnext\n", false, 9)[0].torn);
        assert!(!log_tail(b"half\nnext\n", false, 9)[1].torn);
        assert!(!log_tail(b"whole\n", true, 9)[0].torn);
        let mut long = vec![b'x'; TAIL_BYTES + 10];
        long.extend(b"\nnext\n");
        let tail = log_tail(&long, true, 9);
        assert!(tail[0].torn && !tail[1].torn && tail[1].text == "next");
    }

    #[test]
    fn times_of_day_tell_the_age() {
        let log = "before any time\n[23:58:30] [main/INFO]: a\n\tat frame\n[10Mar2026 23:59:59.123] [x]: b\n\
            2026-03-11 00:00:31: c\n<bob> 12:00:00 d\n[00:00:30 INFO]: e\n";
        let ages: Vec<_> =
            log_tail(log.as_bytes(), true, 9).iter().map(|line| line.age.map(|age| age.as_secs())).collect();
        assert_eq!(ages, [None, Some(120), Some(120), Some(31), Some(0), Some(0), Some(0)]);
        assert!(log_tail(b"no\ntimes\n", true, 9).iter().all(|line| line.age.is_none()));
    }

    #[test]
    fn a_cut_never_goes_through_a_character() {
        for shift in 0..4 {
            let line = format!("{}{}", "x".repeat(shift), "\u{1f600}".repeat(LINE_BYTES));
            let text = &texts(format!("{line}\n").as_bytes(), true, 1)[0];
            assert!(!text.contains('\u{fffd}') && text.len() <= LINE_BYTES && text.len() > LINE_BYTES - 4, "{shift}");
        }
    }

    #[test]
    fn garbage_is_bounded_and_does_not_panic() {
        let noise: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let tail = log_tail(&noise, false, 400);
        assert!(tail.len() <= 400 && tail.iter().all(|l| l.text.len() <= 3 * LINE_BYTES));
    }
}
