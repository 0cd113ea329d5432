//! Numbers as people say them: durations, sizes, moments, exit statuses.
use crate::model::time::WallTime;

/// `3 s`, `2 min 22 s`, `2 h 15 min`, `3 d 4 h`: the two largest units.
pub fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
    let (name, size) = units[first];
    let rest = units.get(first + 1).map(|(next, next_size)| (next, seconds % size / next_size));
    match rest {
        Some((next, n)) if n > 0 => format!("{} {name} {n} {next}", seconds / size),
        _ => format!("{} {name}", seconds / size),
    }
}

/// The largest unit alone: for moments, where the second one is noise.
fn roughly(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `3 min ago`, `in 25 s`, `now`.
pub fn relative(at: WallTime, now: WallTime) -> String {
    let seconds = now.0.div_euclid(1000) - at.0.div_euclid(1000);
    match seconds {
        0 => "now".into(),
        1.. => format!("{} ago", roughly(seconds.unsigned_abs())),
        _ => format!("in {}", roughly(seconds.unsigned_abs())),
    }
}

/// `2026-03-10 18:00:07 UTC`.
pub fn moment(at: WallTime) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, time)) => format!("{day} {} UTC", time.split('.').next().unwrap_or_default()),
        None => text,
    }
}

/// Whole seconds from one moment to another; 0 if that is backwards.
pub fn between(from: WallTime, to: WallTime) -> u64 {
    u64::try_from((to.0 - from.0) / 1000).unwrap_or_default()
}

/// The moment and how long ago that is.
pub fn when(at: Option<WallTime>, now: WallTime) -> String {
    match at {
        Some(at) => format!("{} ({})", moment(at), relative(at, now)),
        None => "unknown".into(),
    }
}

/// `775 MiB`, `2.0 GiB`; one decimal below ten.
pub fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 9.95 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

/// `exit code 1`, `signal 9 (SIGKILL)`, or that nobody knows.
pub fn exit(code: Option<i32>, signal: i32) -> String {
    match (code, signal) {
        (Some(code), 0) => format!("exit code {code}"),
        (_, 0) => "unknown exit status".into(),
        (_, signal) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(name) => format!("signal {signal} ({})", name.as_str()),
            Err(_) => format!("signal {signal}"),
        },
    }
}

/// A share as a bar of `cells` cells.
pub fn bar(share: f64, cells: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(cells - full))
}

/// Lines of at most `room` characters, broken at blanks where there are any.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split_inclusive(' ') {
        let chars = word.chars().count();
        if length > 0 && length + word.trim_end().chars().count() > room {
            lines.push(String::new());
            length = 0;
        }
        length += chars;
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (142, "2 min 22 s"),
            (8123, "2 h 15 min"),
            (86_400 * 3 + 4 * 3600 + 59, "3 d 4 h"),
            (86_400 + 59, "1 d"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }

    #[test]
    fn moments() {
        let at = |text: &str| -> WallTime { serde_json::from_value(text.into()).unwrap() };
        let now = at("2026-03-10T18:00:00Z");
        for (moment, said) in [
            ("2026-03-10T18:00:00Z", "now"),
            ("2026-03-10T17:57:00Z", "3 min ago"),
            ("2026-03-10T18:00:25Z", "in 25 s"),
            ("2026-03-08T18:00:00Z", "2 d ago"),
            ("2026-03-10T20:30:00Z", "in 2 h"),
        ] {
            assert_eq!(relative(at(moment), now), said);
        }
        assert_eq!(when(Some(now), now), "2026-03-10 18:00:00 UTC (now)");
    }

    #[test]
    fn sizes() {
        for (n, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (812_345_678, "775 MiB"),
            (2 << 30, "2.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(n), said);
        }
    }

    #[test]
    fn exits() {
        assert_eq!(exit(Some(1), 0), "exit code 1");
        assert_eq!(exit(None, 9), "signal 9 (SIGKILL)");
        assert_eq!(exit(None, 40), "signal 40");
        assert_eq!(exit(None, 0), "unknown exit status");
    }

    #[test]
    fn wrapping() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("one two", 7), ["one two"]);
        assert_eq!(wrap("incomprehensible word", 5), ["incomprehensible", "word"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn bars() {
        assert_eq!(bar(0.5, 4), "██░░");
        assert_eq!(bar(7.0, 2), "██");
    }
}
