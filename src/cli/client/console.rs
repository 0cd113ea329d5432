//! `zlh console`: the server's own console on this terminal.
//!
//! Four ways of input: keys as typed (dev shells, `--raw`), lines edited here (games, whose PTY does not echo),
//! nothing (`--no-input`), and lines from a pipe. The connection is [`Feed`]'s business: it comes back by itself.
use super::{
    Session,
    cursor::Step,
    feed::{Event, Feed, GOODBYE},
    wire::Status,
    write_out,
};
use crate::cli::{
    args::ConsoleArgs,
    failure::Failure,
    show::words,
    terminal::{
        editor::{Edit, Editor},
        filter::Filter,
        keys::{DetachKey, KeyReader, Utf8Joiner},
        raw::{self, RawMode},
        screen::Screen,
    },
};
use std::{
    io::{IsTerminal, Read},
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

/// Bytes of one read from the keyboard, and how many reads may wait.
const READ: usize = 4096;
const READS: usize = 16;

pub async fn attach(session: &Session, args: ConsoleArgs) -> Result<(), Failure> {
    let status: Status = session.parse(&session.agent.read("status").await?.body)?;
    let shell = status.container_type == "dev";
    let terminal = std::io::stdin().is_terminal();
    let raw_mode = if terminal { Some(RawMode::enter()?) } else { None };
    let feed = Feed::open(session.agent.clone(), None, args.session.as_deref());
    let face = match (terminal, args.no_input, args.raw || shell) {
        (_, true, _) => Face::Watching(Filter::default()),
        (false, false, _) => Face::Piped(Utf8Joiner::default()),
        (true, false, true) => Face::Keys { joiner: Utf8Joiner::default(), game: !shell },
        (true, false, false) => Face::Lines(Box::new(Lines::new())),
    };
    let mut console =
        Console { feed, face, shell, raw: raw_mode.is_some(), detach: args.detach_key, here: false, leaving: None };
    let ended = console.run().await;
    let _ = write_out(&console.face.leave());
    drop(raw_mode);
    ended
}

/// How input and output look.
enum Face {
    Keys {
        joiner: Utf8Joiner,
        /// A game's PTY does not turn line feeds into new lines.
        game: bool,
    },
    Lines(Box<Lines>),
    Watching(Filter),
    Piped(Utf8Joiner),
}

struct Lines {
    keys: KeyReader,
    editor: Editor,
    screen: Screen,
}

impl Lines {
    fn new() -> Lines {
        let columns = raw::window().map_or(80, |(columns, _)| columns);
        Lines { keys: KeyReader::default(), editor: Editor::default(), screen: Screen::new(columns) }
    }
}

impl Face {
    fn output(&mut self, bytes: &[u8], raw: bool) -> Vec<u8> {
        match self {
            Face::Keys { game: false, .. } => bytes.to_vec(),
            Face::Keys { game: true, .. } => crlf(bytes),
            Face::Lines(lines) => lines.screen.output(bytes, &lines.editor),
            Face::Watching(filter) if raw => crlf(&filter.pass(bytes)),
            Face::Watching(_) | Face::Piped(_) => bytes.to_vec(),
        }
    }

    fn leave(&mut self) -> Vec<u8> {
        match self {
            Face::Lines(lines) => lines.screen.clear(),
            Face::Keys { .. } | Face::Watching(_) | Face::Piped(_) => Vec::new(),
        }
    }
}

/// Line feeds as a terminal in raw mode needs them.
fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

struct Console {
    feed: Feed,
    face: Face,
    shell: bool,
    /// Is the terminal in raw mode?
    raw: bool,
    detach: DetachKey,
    /// Is there a connection?
    here: bool,
    /// When the goodbye is cut short.
    leaving: Option<Instant>,
}

/// Should the loop go on?
enum Next {
    On,
    /// Say goodbye to the agent, show what it still says, and end.
    Close,
    End(Result<(), Failure>),
}

impl Console {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut input = keyboard();
        let mut signals = Signals::new()?;
        let mut window = signal(SignalKind::window_change())?;
        let mut input_ended = false;
        self.greet()?;
        self.follow_window();
        loop {
            let next = tokio::select! {
                event = self.feed.next() => self.show(event)?,
                bytes = input.recv(), if !input_ended && self.listens() => match bytes {
                    Some(bytes) => self.typed(&bytes)?,
                    None => {
                        input_ended = true;
                        self.input_over()
                    }
                },
                () = reached(self.leaving) => return Ok(()),
                _ = window.recv() => { self.follow_window(); Next::On }
                (number, name) = signals.last() => return Err(signalled(number, name)),
            };
            match next {
                Next::On => {}
                Next::Close => self.begin_to_leave(),
                Next::End(ended) => return ended,
            }
        }
    }

    /// A pipe is read only while somebody takes its lines; a person's keys always, or there would be no way out.
    fn listens(&self) -> bool {
        self.raw || (self.here && !self.feed.is_full())
    }

    /// What was typed is delivered first, unless nobody takes it, or the person insists.
    fn begin_to_leave(&mut self) {
        let patience = if self.leaving.is_some() { Duration::ZERO } else { GOODBYE };
        self.leaving = Some(Instant::now() + patience);
        self.feed.close();
    }

    fn greet(&mut self) -> Result<(), Failure> {
        match (&self.face, self.raw) {
            (Face::Piped(_), _) | (_, false) => Ok(()),
            _ => self.remark(&format!("{} leaves the console, the server keeps running", self.detach)),
        }
    }

    /// A shell's PTY takes our size. A game's log does not: its other viewers, and its line breaks, would suffer.
    fn follow_window(&mut self) {
        let Some(window) = raw::window() else { return };
        match &mut self.face {
            Face::Keys { .. } => self.feed.resize(window),
            Face::Lines(lines) => lines.screen.columns = window.0,
            Face::Watching(_) | Face::Piped(_) => {}
        }
    }

    fn show(&mut self, event: Event) -> Result<Next, Failure> {
        match event {
            Event::Output(bytes) => write_out(&self.face.output(&bytes, self.raw))?,
            Event::Here { back, step, read_only } => self.arrived(back, step, read_only)?,
            Event::Broken(step) => self.remark(&lost(step))?,
            Event::Gone { why } => {
                self.here = false;
                self.remark(&format!("agent gone ({why}), reconnecting…"))?;
            }
            Event::Unsent { why } => self.remark(&format!("{why}: that was not sent"))?,
            Event::Exit { code, signal } => {
                self.remark(&exited(code, signal))?;
                if self.shell {
                    return Ok(Next::Close);
                }
            }
            Event::Over(None) => return Ok(Next::End(Ok(()))),
            Event::Over(Some(failure)) => return Ok(Next::End(Err(failure))),
        }
        Ok(Next::On)
    }

    fn arrived(&mut self, back: bool, step: Step, read_only: bool) -> Result<(), Failure> {
        self.here = true;
        match (back, step) {
            (true, Step::Unbroken) => self.remark("back, nothing lost")?,
            (true, step) => self.remark(&format!("back, {}", lost(step)))?,
            (false, _) => {}
        }
        if read_only { self.remark("this console is read-only") } else { Ok(()) }
    }

    fn typed(&mut self, bytes: &[u8]) -> Result<Next, Failure> {
        let (bytes, leaving) = match self.detach.split(bytes).filter(|_| self.raw) {
            Some(before) => (before, true),
            None => (bytes, false),
        };
        let next = match &mut self.face {
            Face::Keys { joiner, .. } | Face::Piped(joiner) => {
                let text = joiner.join(bytes);
                self.send(&text)?
            }
            // In raw mode Ctrl-C is a key like any other.
            Face::Watching(_) if bytes.contains(&3) => Next::Close,
            Face::Watching(_) => Next::On,
            Face::Lines(_) => self.edit(bytes)?,
        };
        Ok(if leaving { Next::Close } else { next })
    }

    fn send(&mut self, text: &str) -> Result<Next, Failure> {
        match self.raw && self.feed.is_full() {
            true => self.remark("the server takes no input: that was not sent")?,
            false => self.feed.input(text),
        }
        Ok(Next::On)
    }

    fn edit(&mut self, bytes: &[u8]) -> Result<Next, Failure> {
        let Face::Lines(lines) = &mut self.face else { return Ok(Next::On) };
        let mut sent = String::new();
        for key in lines.keys.read(bytes) {
            match lines.editor.press(key) {
                Edit::Changed => {}
                Edit::Leave => {
                    self.send(&sent)?;
                    return Ok(Next::Close);
                }
                Edit::Line(line) if self.here => {
                    // The game does not echo, so the line stays on the screen as it was typed.
                    write_out(&lines.screen.remark(&format!("> {line}"), &lines.editor))?;
                    sent.push_str(&line);
                    sent.push('\n');
                }
                Edit::Line(line) => {
                    lines.editor.put_back(&line);
                    write_out(&lines.screen.remark("not connected: that was not sent", &lines.editor))?;
                    return Ok(Next::On);
                }
            }
        }
        write_out(&lines.screen.prompt(&lines.editor))?;
        self.send(&sent)
    }

    /// The end of a pipe ends the console, that of a terminal (hung up) too; a watcher needs no input.
    fn input_over(&self) -> Next {
        match self.face {
            Face::Watching(_) if !self.raw => Next::On,
            Face::Watching(_) | Face::Keys { .. } | Face::Lines(_) | Face::Piped(_) => Next::Close,
        }
    }

    /// Our own words: in brackets, and on stderr where output may be piped on.
    fn remark(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.face {
            Face::Lines(lines) => write_out(&lines.screen.remark(text, &lines.editor)),
            Face::Keys { .. } | Face::Watching(_) if self.raw => write_out(format!("\r\n[{text}]\r\n").as_bytes()),
            Face::Keys { .. } | Face::Watching(_) | Face::Piped(_) => {
                eprintln!("[{text}]");
                Ok(())
            }
        }
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn lost(step: Step) -> String {
    match step {
        Step::Unbroken => "nothing lost".into(),
        Step::Lost(n) => format!("gap: {n} bytes lost"),
        Step::Anew => "the console's history begins anew".into(),
    }
}

fn exited(code: Option<i32>, signal: i32) -> String {
    match code {
        Some(code) if signal == 0 => format!("exited with code {code}"),
        _ => format!("ended: {}", words::exit(code, signal)),
    }
}

fn signalled(number: i32, name: &str) -> Failure {
    Failure::Signalled { signal: u8::try_from(number).unwrap_or_default(), said: format!("left the console on {name}") }
}

/// A thread of its own reads the keyboard: a blocking read there can neither hold up the console nor its end, and
/// the terminal stays in blocking mode for whoever uses it next.
fn keyboard() -> mpsc::Receiver<Vec<u8>> {
    let (typed, keys) = mpsc::channel(READS);
    std::thread::spawn(move || {
        let mut buffer = [0; READ];
        let mut stdin = std::io::stdin().lock();
        while let Ok(n @ 1..) = stdin.read(&mut buffer) {
            if typed.blocking_send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    keys
}

/// Signals that end the command, in order, so that the terminal is restored.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Resolves when the command is to end: its number and name.
    async fn last(&mut self) -> (i32, &'static str) {
        tokio::select! {
            _ = self.interrupt.recv() => (nix::libc::SIGINT, "SIGINT"),
            _ = self.terminate.recv() => (nix::libc::SIGTERM, "SIGTERM"),
            _ = self.hangup.recv() => (nix::libc::SIGHUP, "SIGHUP"),
            _ = self.quit.recv() => (nix::libc::SIGQUIT, "SIGQUIT"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_feeds_become_new_lines_once() {
        assert_eq!(crlf(b"a\nb\r\nc\n"), b"a\r\nb\r\nc\r\n");
    }

    #[test]
    fn ends_in_words() {
        assert_eq!(exited(Some(1), 0), "exited with code 1");
        assert_eq!(exited(None, 9), "ended: signal 9 (SIGKILL)");
        assert_eq!(lost(Step::Lost(7)), "gap: 7 bytes lost");
    }
}
