//! Console lines of the fake game, parsed; and the small values they share with the command line.
use std::str::FromStr;

/// One console line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Stop,
    Say(String),
    Players(u32),
    List,
    /// Writing the world by itself is turned off or on.
    Saving(bool),
    SaveAll,
    Info,
    Env(String),
    Print(String),
    Help,
    Flood(Flood),
    Fork(u32),
    Crash(Crash),
    /// Nothing typed.
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    Exit(u8),
    /// A Java stack trace, then exit 1.
    Throw,
    Signal(i32),
    /// Megabytes a second.
    Oom(u64),
    Hang,
}

/// A burst of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    pub bytes: u64,
    /// Bytes a second; `None`: as fast as the terminal takes them.
    pub rate: Option<u64>,
    pub style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Lines,
    OneLine,
    Binary,
    Ansi,
}

impl FromStr for Style {
    type Err = String;
    fn from_str(s: &str) -> Result<Style, String> {
        match s {
            "lines" => Ok(Style::Lines),
            "one-line" => Ok(Style::OneLine),
            "binary" => Ok(Style::Binary),
            "ansi" => Ok(Style::Ansi),
            _ => Err(format!("flood kind {s:?} is not lines, one-line, binary or ansi")),
        }
    }
}

/// Reads one line; `stop` is the word that stops this game. The error is what the game answers.
pub fn parse(line: &str, stop: &str) -> Result<Command, String> {
    let line = line.trim();
    if line == stop {
        return Ok(Command::Stop);
    }
    let (word, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(w, r)| (w, r.trim()));
    let usage = |what: &str| format!("Usage: {what}");
    match word {
        "" => Ok(Command::Empty),
        "say" => Ok(Command::Say(rest.into())),
        "players" => rest.parse().map(Command::Players).map_err(|_| usage("players N")),
        "list" => Ok(Command::List),
        "save-off" => Ok(Command::Saving(false)),
        "save-on" => Ok(Command::Saving(true)),
        "save-all" => Ok(Command::SaveAll),
        "info" => Ok(Command::Info),
        "env" => Ok(Command::Env(rest.into())),
        "print" => Ok(Command::Print(rest.into())),
        "help" => Ok(Command::Help),
        "fork" => rest.parse().map(Command::Fork).map_err(|_| usage("fork N")),
        "flood" => flood(rest).map(Command::Flood),
        "crash" => crash(rest).map(Command::Crash),
        _ => Err(format!("Unknown command: {word}. Type \"help\" for help.")),
    }
}

fn flood(rest: &str) -> Result<Flood, String> {
    let (size, style) = rest.split_once(' ').unwrap_or((rest, "lines"));
    Ok(Flood { style: style.trim().parse()?, ..parse_flood(size)? })
}

/// `MB` or `MB@MB/s`, both may be fractions.
pub fn parse_flood(text: &str) -> Result<Flood, String> {
    let (size, rate) = text.split_once('@').map_or((text, None), |(s, r)| (s, Some(r)));
    let bytes = |mb: &str| match mb.parse::<f64>() {
        Ok(mb) if mb > 0.0 && mb <= 1e9 => Ok((mb * 1e6) as u64),
        _ => Err(format!("flood {text:?}: {mb:?} is not a number of megabytes")),
    };
    Ok(Flood { bytes: bytes(size)?, rate: rate.map(bytes).transpose()?, style: Style::Lines })
}

fn crash(rest: &str) -> Result<Crash, String> {
    let (how, amount) = rest.split_once(' ').unwrap_or((rest, ""));
    let bad = || format!("crash {how}: {amount:?} is not a number in range");
    match how {
        "exit" => amount.trim().parse().map(Crash::Exit).map_err(|_| bad()),
        "throw" => Ok(Crash::Throw),
        "hang" => Ok(Crash::Hang),
        "oom" if amount.is_empty() => Ok(Crash::Oom(100)),
        "oom" => amount.trim().parse().map(Crash::Oom).map_err(|_| bad()),
        "" => Err("Usage: crash exit N | throw | SIGNAL | oom [MB/s] | hang".into()),
        signal => parse_signal(signal).map(Crash::Signal),
    }
}

/// `SEGV`, `sigsegv` or `11`; only signals that end a process.
pub fn parse_signal(text: &str) -> Result<i32, String> {
    let name = text.to_ascii_uppercase();
    const FATAL: [(&str, i32); 11] = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("ILL", libc::SIGILL),
        ("TRAP", libc::SIGTRAP),
        ("ABRT", libc::SIGABRT),
        ("BUS", libc::SIGBUS),
        ("FPE", libc::SIGFPE),
        ("KILL", libc::SIGKILL),
        ("SEGV", libc::SIGSEGV),
        ("TERM", libc::SIGTERM),
    ];
    let wanted = name.strip_prefix("SIG").unwrap_or(&name);
    let found = FATAL.iter().find(|(n, number)| *n == wanted || number.to_string() == wanted);
    found.map(|(_, number)| *number).ok_or_else(|| format!("{text:?} is not a signal that ends a process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands() {
        let cases = [
            ("", Command::Empty),
            ("stop\r", Command::Stop),
            ("say  hello  there", Command::Say("hello  there".into())),
            ("players 5", Command::Players(5)),
            ("save-off", Command::Saving(false)),
            ("save-all flush", Command::SaveAll),
            ("flood 2", Command::Flood(Flood { bytes: 2_000_000, rate: None, style: Style::Lines })),
            (
                "flood 0.5@1 binary",
                Command::Flood(Flood { bytes: 500_000, rate: Some(1_000_000), style: Style::Binary }),
            ),
            ("crash exit 7", Command::Crash(Crash::Exit(7))),
            ("crash throw", Command::Crash(Crash::Throw)),
            ("crash segv", Command::Crash(Crash::Signal(libc::SIGSEGV))),
            ("crash 9", Command::Crash(Crash::Signal(libc::SIGKILL))),
            ("crash oom", Command::Crash(Crash::Oom(100))),
            ("crash hang", Command::Crash(Crash::Hang)),
        ];
        for (line, command) in cases {
            assert_eq!(parse(line, "stop"), Ok(command), "{line}");
        }
    }

    #[test]
    fn the_stop_word_is_a_setting() {
        assert_eq!(parse("quit now", "quit now"), Ok(Command::Stop));
        assert!(parse("stop", "quit").is_err());
    }

    #[test]
    fn nonsense_is_answered() {
        for line in
            ["dance", "players many", "flood", "flood -1", "crash", "crash exit 300", "crash sigwinch", "flood 1 x"]
        {
            assert!(parse(line, "stop").is_err(), "{line}");
        }
    }
}
