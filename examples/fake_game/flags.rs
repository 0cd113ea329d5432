//! The command line of the fake game: what it may be told to do, read without any dependency.
use crate::{
    console::{Flood, Style, parse_flood, parse_signal},
    ping::Protocol,
};
use std::time::Duration;

pub const HELP: &str = "\
fake_game - a game server that behaves and misbehaves on command

USAGE: fake_game [FLAG]...            durations: 250ms, 2s, 1m; signals: SEGV, SIGKILL, 11

Start
  --ready-after D        open the port and print the ready line after D (default 0s)
  --never-ready          never print it
  --port N               port to listen on (0: the kernel's choice, printed); needs --protocol
  --protocol P           none (default), tcp (accepts and closes), minecraft (server-list ping, old and new),
                         legacy (only the ping of Minecraft 1.6 and older)
  --players N            players shown in the ping (default 0)
  --print FILE|TEXT      print a file, or a text with \\n escapes, at the start

End
  --exit-after D         end by itself D after the start ...
  --code N               ... with this exit code (default 0)
  --crash-signal S       ... or by this signal; --code and --crash-signal alone end right after the ready line
  --last-words FILE|TEXT print this right before such an end (a Java stack trace, say)
  --write-crash-report   before such an end, write crash-reports/crash-fake-server.txt in the working directory
  --stop-command WORD    the console line that stops it with code 0 (default stop)
  --save-time D          how long saving takes on a stop (default 0s)
  --term-code N          on SIGTERM save and exit with N (as a JVM does with 143); default: die by the signal
  --ignore-term          ignore SIGTERM, SIGINT and SIGHUP

Misbehave
  --hang                 after the ready line: never read the console nor answer the port again
  --flood MB[@MB/s]      after the ready line write that many megabytes, as fast as possible or at a rate
  --flood-with KIND      lines (default, 100 bytes each, numbered), one-line (no newline at all), binary (NUL and
                         invalid UTF-8), ansi (cursor bombs and an OSC without end)
  --oom MB/s             after the ready line take and touch memory at this rate until something stops it
  --fork N               start N children in the same process group
  --daemonize-child      start a child that escapes into a session of its own (double fork)
  --leave-grandchild-on-tty  start a grandchild that ignores SIGHUP and keeps the terminal open after the game's end
  --close-stdout         send stdout and stderr to /dev/null after the ready line
  --close-terminal       the same with all three: nothing of the game holds its terminal any more

Console lines
  stop | say TEXT | players N | list | save-off | save-all | save-on | info | env NAME | print FILE|TEXT | help
  flood MB[@MB/s] [KIND] | fork N | crash exit N | crash throw | crash SIGNAL | crash oom [MB/s] | crash hang
";

/// Everything the command line can ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Flags {
    /// `None`: never ready.
    pub ready_after: Option<Duration>,
    pub port: u16,
    pub protocol: Protocol,
    pub players: u32,
    pub print: Option<String>,
    pub exit_after: Option<Duration>,
    pub end: Option<End>,
    pub last_words: Option<String>,
    pub write_crash_report: bool,
    pub stop_command: String,
    pub save_time: Duration,
    pub term_code: Option<u8>,
    pub ignore_term: bool,
    pub hang: bool,
    pub flood: Option<Flood>,
    /// Megabytes a second.
    pub oom: Option<u64>,
    pub fork: u32,
    pub daemonize_child: bool,
    pub leave_grandchild_on_tty: bool,
    pub close: Close,
}

/// How the game ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(u8),
    Signal(i32),
}

/// Which standard streams are given up after the ready line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    Nothing,
    Output,
    Terminal,
}

#[derive(Debug, PartialEq)]
pub enum Parsed {
    Help,
    Run(Box<Flags>),
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            ready_after: Some(Duration::ZERO),
            port: 0,
            protocol: Protocol::None,
            players: 0,
            print: None,
            exit_after: None,
            end: None,
            last_words: None,
            write_crash_report: false,
            stop_command: "stop".into(),
            save_time: Duration::ZERO,
            term_code: None,
            ignore_term: false,
            hang: false,
            flood: None,
            oom: None,
            fork: 0,
            daemonize_child: false,
            leave_grandchild_on_tty: false,
            close: Close::Nothing,
        }
    }
}

/// Reads the arguments after the program name; the error names the argument and what it should have been.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Parsed, String> {
    let (mut flags, mut args, mut style) = (Flags::default(), args, Style::Lines);
    while let Some(arg) = args.next() {
        if arg == "--help" || arg == "-h" {
            return Ok(Parsed::Help);
        }
        if switch(&mut flags, &arg) {
            continue;
        }
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--flood-with" => style = value()?.parse()?,
            _ if !is_valued(&arg) => return Err(format!("unknown flag {arg}")),
            _ => valued(&mut flags, &arg, &value()?)?,
        }
    }
    if let Some(flood) = &mut flags.flood {
        flood.style = style;
    }
    if flags.port != 0 && flags.protocol == Protocol::None {
        return Err("--port needs --protocol tcp, minecraft or legacy".into());
    }
    Ok(Parsed::Run(Box::new(flags)))
}

/// Flags without a value; false if `arg` is none of them.
fn switch(flags: &mut Flags, arg: &str) -> bool {
    match arg {
        "--never-ready" => flags.ready_after = None,
        "--write-crash-report" => flags.write_crash_report = true,
        "--ignore-term" => flags.ignore_term = true,
        "--hang" => flags.hang = true,
        "--daemonize-child" => flags.daemonize_child = true,
        "--leave-grandchild-on-tty" => flags.leave_grandchild_on_tty = true,
        "--close-stdout" => flags.close = Close::Output,
        "--close-terminal" => flags.close = Close::Terminal,
        _ => return false,
    }
    true
}

const VALUED: [&str; 15] = [
    "--ready-after",
    "--port",
    "--protocol",
    "--players",
    "--print",
    "--exit-after",
    "--code",
    "--crash-signal",
    "--last-words",
    "--stop-command",
    "--save-time",
    "--term-code",
    "--flood",
    "--oom",
    "--fork",
];

fn is_valued(arg: &str) -> bool {
    VALUED.contains(&arg)
}

fn valued(flags: &mut Flags, arg: &str, value: &str) -> Result<(), String> {
    match arg {
        "--ready-after" => flags.ready_after = Some(duration(value)?),
        "--port" => flags.port = number(arg, value)?,
        "--protocol" => flags.protocol = value.parse()?,
        "--players" => flags.players = number(arg, value)?,
        "--print" => flags.print = Some(value.into()),
        "--exit-after" => flags.exit_after = Some(duration(value)?),
        "--code" => flags.end = Some(End::Code(number(arg, value)?)),
        "--crash-signal" => flags.end = Some(End::Signal(parse_signal(value)?)),
        "--last-words" => flags.last_words = Some(value.into()),
        "--stop-command" => flags.stop_command = value.into(),
        "--save-time" => flags.save_time = duration(value)?,
        "--term-code" => flags.term_code = Some(number(arg, value)?),
        "--flood" => flags.flood = Some(parse_flood(value)?),
        "--oom" => flags.oom = Some(number(arg, value.trim_end_matches("MB/s"))?),
        "--fork" => flags.fork = number(arg, value)?,
        _ => return Err(format!("unknown flag {arg}")),
    }
    Ok(())
}

fn number<N: std::str::FromStr>(arg: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{arg}: {value:?} is not a number in range"))
}

/// `250ms`, `2s`, `1.5s`, `1m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{text:?}: unit {unit:?} is not ms, s or m")),
    };
    let value: f64 = digits.parse().map_err(|_| format!("{text:?} is not a duration such as 250ms or 2s"))?;
    Duration::try_from_secs_f64(value * scale).map_err(|e| format!("{text:?}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Flags {
        match parse(line.split_whitespace().map(String::from)) {
            Ok(Parsed::Run(flags)) => *flags,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn fault(line: &str) -> String {
        parse(line.split_whitespace().map(String::from)).unwrap_err()
    }

    #[test]
    fn no_flags_is_a_quiet_server_that_is_ready_at_once() {
        assert_eq!(run(""), Flags::default());
    }

    #[test]
    fn every_flag_of_the_help_is_read() {
        let flags = HELP.lines().filter_map(|l| l.trim().strip_prefix("--"));
        for flag in flags.filter_map(|l| l.split_whitespace().next()) {
            let arg = format!("--{flag}");
            let known = switch(&mut Flags::default(), &arg) || is_valued(&arg) || arg == "--flood-with";
            assert!(known, "{arg} is in the help but not read");
        }
        for arg in VALUED {
            assert!(HELP.contains(arg), "{arg} is read but not in the help");
        }
    }

    #[test]
    fn values_land_where_they_belong() {
        let f = run("--ready-after 500ms --port 25565 --protocol minecraft --exit-after 2s --code 3 --players 7");
        assert_eq!(f.ready_after, Some(Duration::from_millis(500)));
        assert_eq!((f.port, f.protocol, f.players), (25565, Protocol::Minecraft, 7));
        assert_eq!((f.exit_after, f.end), (Some(Duration::from_secs(2)), Some(End::Code(3))));
        let f = run("--crash-signal SEGV --flood-with ansi --flood 5@2 --oom 50MB/s --close-stdout --never-ready");
        assert_eq!(f.end, Some(End::Signal(libc::SIGSEGV)));
        assert_eq!(f.flood, Some(Flood { bytes: 5_000_000, rate: Some(2_000_000), style: Style::Ansi }));
        assert_eq!((f.oom, f.close, f.ready_after), (Some(50), Close::Output, None));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        for bad in ["", "s", "2h", "-1s", "1e400s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn faults_name_the_argument() {
        assert_eq!(fault("--frobnicate"), "unknown flag --frobnicate");
        assert_eq!(fault("--code"), "--code needs a value");
        assert_eq!(fault("--code 256"), "--code: \"256\" is not a number in range");
        assert!(fault("--protocol quic").contains("quic"));
        assert!(fault("--port 25565").contains("--protocol"));
        assert!(fault("--crash-signal SIGWINE").contains("SIGWINE"));
    }

    #[test]
    fn help_wins() {
        assert_eq!(parse(["--port", "1", "--help"].map(String::from).into_iter()), Ok(Parsed::Help));
    }
}
