//! The life of the fake game: one loop over console lines, signals and due times.
use crate::{
    console::{self, Command, Crash, Flood},
    flags::{End, Flags},
    ping::{self, Front, MAX_PLAYERS, Protocol},
    tricks,
};
use std::{
    fs,
    io::{self, BufRead, Write},
    net::TcpListener,
    process::ExitCode,
    sync::{
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

/// Plays until something ends it.
pub fn run(flags: Flags) -> ExitCode {
    let (sender, events) = mpsc::channel();
    if flags.ignore_term {
        tricks::ignore_stop_signals();
    } else if flags.term_code.is_some() {
        tricks::hold_term();
    }
    say("Starting fake game server version 1.0");
    if let Err(e) = start_relatives(&flags) {
        say(&format!("could not start a process: {e}"));
        return ExitCode::from(1);
    }
    if let Some(text) = &flags.print {
        print(text);
    }
    listen_to_console(sender.clone());
    if flags.term_code.is_some() {
        thread::spawn(move || {
            tricks::wait_for_term();
            sender.send(Event::Term)
        });
    }
    Game::new(flags).play(&events)
}

/// Forked before any thread exists.
fn start_relatives(flags: &Flags) -> io::Result<()> {
    tricks::fork_children(flags.fork)?;
    if flags.daemonize_child {
        tricks::daemonize_child()?;
    }
    if flags.leave_grandchild_on_tty {
        tricks::leave_grandchild_on_tty()?;
    }
    Ok(())
}

enum Event {
    Line(String),
    Term,
}

/// End of input is not an end of the game: real servers run on without a console.
fn listen_to_console(sender: Sender<Event>) {
    thread::spawn(move || {
        let mut lines = io::stdin().lock().split(b'\n');
        while let Some(Ok(line)) = lines.next() {
            if sender.send(Event::Line(String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
        }
    });
}

/// What is due next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Ready,
    ScheduledEnd,
    /// The world is saved; end with this code.
    Saved(u8),
}

struct Game {
    flags: Flags,
    front: Front,
    started: Instant,
    due: Vec<(Instant, Due)>,
}

impl Game {
    fn new(flags: Flags) -> Game {
        let (started, front) = (Instant::now(), Front::default());
        front.players.store(flags.players, Ordering::Relaxed);
        let ready = flags.ready_after.map(|d| (started + d, Due::Ready));
        let end = flags.exit_after.map(|d| (started + d, Due::ScheduledEnd));
        Game { due: ready.into_iter().chain(end).collect(), flags, front, started }
    }

    fn play(mut self, events: &Receiver<Event>) -> ExitCode {
        loop {
            self.due.sort();
            let wait = self.due.first().map_or(Duration::from_secs(3600), |(at, _)| at.duration_since(Instant::now()));
            let ended = match events.recv_timeout(wait) {
                Ok(Event::Line(line)) => self.on_line(&line),
                Ok(Event::Term) => self.save_and_end(self.flags.term_code.unwrap_or(143)),
                Err(RecvTimeoutError::Timeout) if !self.due.is_empty() => self.on_due(),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(wait); // no console and no signal can come any more, only due times
                    if self.due.is_empty() { None } else { self.on_due() }
                }
            };
            if let Some(code) = ended {
                return ExitCode::from(code);
            }
        }
    }

    fn on_due(&mut self) -> Option<u8> {
        match self.due.remove(0).1 {
            Due::Ready => self.get_ready(),
            Due::ScheduledEnd => Some(self.end(self.flags.end.unwrap_or(End::Code(0)))),
            Due::Saved(code) => {
                say("All dimensions are saved");
                Some(code)
            }
        }
    }

    fn get_ready(&mut self) -> Option<u8> {
        if let Err(e) = self.open_port() {
            warn("**** FAILED TO BIND TO PORT!");
            warn(&format!("The exception was: java.net.BindException: {e}"));
            return Some(1);
        }
        say(&format!("Done ({:.3}s)! For help, type \"help\"", self.started.elapsed().as_secs_f64()));
        if let Err(e) = tricks::give_up(self.flags.close) {
            say(&format!("could not give up the terminal: {e}"));
        }
        if let Some(flood) = self.flags.flood {
            start_flood(flood);
        }
        if let Some(rate) = self.flags.oom {
            thread::spawn(move || tricks::eat_memory(rate));
        }
        if self.flags.hang {
            self.hang();
        }
        let now = self.flags.exit_after.is_none();
        self.flags.end.filter(|_| now).map(|end| self.end(end))
    }

    fn open_port(&self) -> io::Result<()> {
        let protocol = self.flags.protocol;
        if protocol == Protocol::None {
            return Ok(());
        }
        let listener = TcpListener::bind(("127.0.0.1", self.flags.port))?;
        say(&format!("Listening on {}", listener.local_addr()?));
        let front = self.front.clone();
        thread::spawn(move || ping::serve(&listener, protocol, &front));
        Ok(())
    }

    fn on_line(&mut self, line: &str) -> Option<u8> {
        let command = match console::parse(line, &self.flags.stop_command) {
            Ok(command) => command,
            Err(answer) => {
                say(&answer);
                return None;
            }
        };
        let players = &self.front.players;
        match command {
            Command::Stop => return self.save_and_end(0),
            Command::Crash(how) => return self.crash(how),
            Command::Say(text) => say(&format!("[Server] {text}")),
            Command::Players(n) => players.store(n, Ordering::Relaxed),
            Command::List => {
                let online = players.load(Ordering::Relaxed);
                say(&format!("There are {online} of a max of {MAX_PLAYERS} players online"));
            }
            Command::Saving(true) => say("Automatic saving is now enabled"),
            Command::Saving(false) => say("Automatic saving is now disabled"),
            Command::SaveAll => {
                say("Saving the game (this may take a moment!)");
                say("Saved the game");
            }
            Command::Info => say(&tricks::info()),
            Command::Env(name) => say(&format!("{name}={}", std::env::var(&name).unwrap_or_else(|e| e.to_string()))),
            Command::Print(text) => print(&text),
            Command::Help => print(crate::flags::HELP.split_once("Console lines\n").map_or("", |(_, lines)| lines)),
            Command::Flood(flood) => start_flood(flood),
            Command::Fork(n) => report("fork", tricks::fork_children(n)),
            Command::Empty => {}
        }
        None
    }

    fn save_and_end(&mut self, code: u8) -> Option<u8> {
        let saving = self.due.iter().any(|(_, due)| matches!(due, Due::Saved(_)));
        if !saving {
            say("Stopping server");
            say("Saving worlds");
            self.due = vec![(Instant::now() + self.flags.save_time, Due::Saved(code))];
        }
        None
    }

    fn crash(&mut self, how: Crash) -> Option<u8> {
        match how {
            Crash::Exit(code) => Some(self.end(End::Code(code))),
            Crash::Signal(signal) => Some(self.end(End::Signal(signal))),
            Crash::Throw => {
                print(tricks::STACK_TRACE);
                Some(self.end(End::Code(1)))
            }
            Crash::Oom(rate) => {
                thread::spawn(move || tricks::eat_memory(rate));
                None
            }
            Crash::Hang => self.hang(),
        }
    }

    /// An end nobody asked for: last words, crash report, and out.
    fn end(&self, how: End) -> u8 {
        if let Some(text) = &self.flags.last_words {
            print(text);
        }
        if self.flags.write_crash_report {
            report("crash report", write_crash_report());
        }
        match how {
            End::Code(code) => code,
            End::Signal(signal) => tricks::die_by(signal),
        }
    }

    fn hang(&self) -> ! {
        self.front.hung.store(true, Ordering::Relaxed);
        loop {
            thread::park();
        }
    }
}

fn write_crash_report() -> io::Result<()> {
    let head =
        "---- Minecraft Crash Report ----\n// Who set us up the TNT?\n\nDescription: Exception in server tick loop\n\n";
    fs::create_dir_all("crash-reports")?;
    fs::write("crash-reports/crash-fake-server.txt", format!("{head}{}", tricks::STACK_TRACE))
}

/// In a thread of its own, so that the console still answers.
fn start_flood(flood: Flood) {
    thread::spawn(move || report("flood", tricks::flood(flood, &mut io::stdout())));
}

fn report(what: &str, result: io::Result<()>) {
    if let Err(e) = result {
        say(&format!("{what}: {e}"));
    }
}

/// A file's content, or the text itself with `\n` and `\t` unfolded.
fn print(file_or_text: &str) {
    let text =
        fs::read_to_string(file_or_text).unwrap_or_else(|_| file_or_text.replace("\\n", "\n").replace("\\t", "\t"));
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write(format!("{text}{end}").as_bytes());
}

fn say(text: &str) {
    write(format!("[Server thread/INFO]: {text}\n").as_bytes());
}

fn warn(text: &str) {
    write(format!("[Server thread/WARN]: {text}\n").as_bytes());
}

/// One write a line, so that lines of several threads do not mix. A game whose terminal is gone plays on unheard.
fn write(bytes: &[u8]) {
    let mut out = io::stdout();
    let _gone = out.write_all(bytes).and_then(|()| out.flush());
}
