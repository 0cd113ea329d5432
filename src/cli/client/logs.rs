//! `zlh logs`: the console's history, and what follows, across agent restarts without loss or repetition.
use super::{
    Session,
    agent::Answer,
    cursor::{Place, Step},
    feed::{Event, Feed},
    write_out,
};
use crate::cli::{args::LogsArgs, failure::Failure, terminal::filter::Filter};
use bytes::Bytes;
use std::io::IsTerminal;

/// Bytes asked for at once.
const PAGE: u64 = 256 << 10;
/// First guess of how many bytes hold the lines asked for.
const FIRST_GUESS: u64 = 64 << 10;

pub async fn show(session: &Session, args: LogsArgs) -> Result<(), Failure> {
    let mut printer = Printer::new();
    tokio::select! {
        ended = history_and_more(session, &args, &mut printer) => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

/// The last lines of another log than the console's.
pub async fn tail_of(session: &Session, path: &'static str, lines: usize) -> Result<(), Failure> {
    let log = Log { session, path };
    let tail = log.last_lines(lines).await?;
    Printer::new().write(&tail.bytes)
}

async fn history_and_more(session: &Session, args: &LogsArgs, printer: &mut Printer) -> Result<(), Failure> {
    let log = Log { session, path: "console/log" };
    let first = match args.from {
        Some(from) => log.read(from).await?,
        None => log.last_lines(args.lines).await?,
    };
    // What is printed ends where the log ended when asked: a busy server must not keep `zlh logs` from ending.
    let (goal, epoch) = (first.end, first.epoch);
    if let Some(from) = args.from.filter(|from| *from >= 0 && first.from > from.unsigned_abs()) {
        lost(Step::Lost(first.from - from.unsigned_abs()));
    }
    let mut place = printer.take(first)?;
    while place.offset < goal {
        let page = log.read(i64::try_from(place.offset).unwrap_or(i64::MAX)).await?;
        if page.epoch != epoch || page.bytes.is_empty() {
            break;
        }
        if page.from > place.offset {
            lost(Step::Lost(page.from - place.offset));
        }
        place = printer.take(page)?;
    }
    if args.follow { follow(session, place, printer).await } else { Ok(()) }
}

/// A stretch of the log.
struct Page {
    epoch: u64,
    /// Absolute offset of the first byte.
    from: u64,
    bytes: Bytes,
    /// Absolute end of the log, and the oldest byte kept, when this was read.
    end: u64,
    start: u64,
}

impl Page {
    fn place(&self) -> Place {
        Place { epoch: self.epoch, offset: self.from + self.bytes.len() as u64 }
    }
}

/// A log of the agent's, by the path it is read at.
struct Log<'a> {
    session: &'a Session,
    path: &'static str,
}

impl Log<'_> {
    /// `from` as on the wire: absolute, or from the end if negative.
    async fn read(&self, from: i64) -> Result<Page, Failure> {
        let answer = self.session.agent.read(&format!("{}?from={from}&limit={PAGE}", self.path)).await?;
        let number = |name: &str| -> Result<u64, Failure> { header_number(self.session, &answer, name) };
        let (start, end, epoch) = (number("Log-Start")?, number("Log-End")?, number("Log-Epoch")?);
        let asked = if from < 0 { end.saturating_sub(from.unsigned_abs()) } else { from.unsigned_abs().min(end) };
        let from = match answer.header("Log-From") {
            Some(_) => number("Log-From")?,
            None => asked.max(start),
        };
        Ok(Page { epoch, from, bytes: answer.body, end, start })
    }

    /// The stretch that begins with the last `lines` lines, or with the oldest byte if there are fewer.
    async fn last_lines(&self, lines: usize) -> Result<Page, Failure> {
        let mut guess = FIRST_GUESS;
        loop {
            let tail = self.tail(guess).await?;
            let whole = tail.from <= tail.start;
            match last_lines_at(&tail.bytes, lines) {
                Some(at) => {
                    let bytes = tail.bytes.slice(at..);
                    return Ok(Page { from: tail.from + at as u64, bytes, ..tail });
                }
                None if whole => return Ok(tail),
                None => guess = guess.saturating_mul(4),
            }
        }
    }

    /// Everything from `length` bytes before the end on.
    async fn tail(&self, length: u64) -> Result<Page, Failure> {
        let mut tail = self.read(-i64::try_from(length).unwrap_or(i64::MAX)).await?;
        let mut bytes = tail.bytes.to_vec();
        while tail.from + (bytes.len() as u64) < tail.end {
            let next = self.read(i64::try_from(tail.from + bytes.len() as u64).unwrap_or(i64::MAX)).await?;
            if next.bytes.is_empty() || next.epoch != tail.epoch || next.from != tail.from + bytes.len() as u64 {
                break;
            }
            bytes.extend_from_slice(&next.bytes);
        }
        tail.bytes = bytes.into();
        Ok(tail)
    }
}

fn header_number(session: &Session, answer: &Answer, name: &str) -> Result<u64, Failure> {
    let text = answer.header(name).unwrap_or_default();
    text.parse().map_err(|_| session.agent.foreign(&format!("header {name} is {text:?}")))
}

/// Where the last `lines` lines begin; an unfinished line counts. `None` if there are fewer.
fn last_lines_at(bytes: &[u8], lines: usize) -> Option<usize> {
    if lines == 0 {
        return Some(bytes.len());
    }
    let end = bytes.len() - usize::from(bytes.ends_with(b"\n"));
    let breaks = bytes[..end].iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
    breaks.map(|(at, _)| at + 1).nth(lines - 1)
}

async fn follow(session: &Session, place: Place, printer: &mut Printer) -> Result<(), Failure> {
    let mut feed = Feed::open(session.agent.clone(), Some(place), None);
    loop {
        match feed.next().await {
            Event::Output(bytes) => printer.write(&bytes)?,
            Event::Here { step, .. } | Event::Broken(step) => lost(step),
            Event::Gone { why } => eprintln!("[agent gone ({why}), reconnecting…]"),
            Event::Exit { .. } | Event::Unsent { .. } => {}
            Event::Over(Some(failure)) => return Err(failure),
            Event::Over(None) => return Ok(()),
        }
    }
}

/// On stderr: what is piped on stays the server's own words.
fn lost(step: Step) {
    match step {
        Step::Unbroken => {}
        Step::Lost(n) => eprintln!("[gap: {n} bytes lost]"),
        Step::Anew => eprintln!("[the console's history begins anew]"),
    }
}

/// To a terminal only what cannot drive it; to files and pipes every byte.
struct Printer {
    filter: Option<Filter>,
}

impl Printer {
    fn new() -> Printer {
        Printer { filter: std::io::stdout().is_terminal().then(Filter::default) }
    }

    fn take(&mut self, page: Page) -> Result<Place, Failure> {
        self.write(&page.bytes)?;
        Ok(page.place())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.filter {
            Some(filter) => write_out(&filter.pass(bytes)),
            None => write_out(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_begin_after_the_right_newline() {
        let text = b"one\ntwo\nthree\n";
        for (lines, found) in [(0, Some(14)), (1, Some(8)), (2, Some(4)), (3, None), (9, None)] {
            assert_eq!(last_lines_at(text, lines), found, "{lines}");
        }
        assert_eq!(last_lines_at(b"one\ntwo\nunfinish", 1), Some(8));
        assert_eq!(last_lines_at(b"", 1), None);
    }
}
