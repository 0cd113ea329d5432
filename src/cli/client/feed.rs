//! The console as a stream that does not end when the agent does: connects, resumes at the byte, says what was lost.
//!
//! One task holds the connection and speaks through two bounded channels, so that a slow terminal slows only this
//! viewer, and a key can be read while a connection is being made.
use super::{
    agent::{Agent, Socket},
    cursor::{Cursor, Note, Place, Step},
};
use crate::cli::failure::{Failure, Problem};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::{collections::VecDeque, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

pub const PROTOCOL: &str = "zlh.console.v1";
/// Text of one input frame. JSON may need six bytes for one of ours, and the agent takes 64 KiB.
const MAX_INPUT: usize = 8 << 10;
/// Without a frame for this long the agent is asked for a sign of life, and after three of these given up.
const QUIET: Duration = Duration::from_secs(7);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// How long the agent may take to answer our goodbye.
pub const GOODBYE: Duration = Duration::from_secs(5);
const EVENTS: usize = 64;
const ORDERS: usize = 64;
/// Orders of at most a few KiB each that may wait beyond those.
const OUTBOX: usize = 1024;

#[derive(Debug)]
pub enum Event {
    /// Connected; `back` when it was before. Offsets, and with them what was lost, come first.
    Here {
        back: bool,
        step: Step,
        read_only: bool,
    },
    Output(Bytes),
    Broken(Step),
    Exit {
        code: Option<i32>,
        signal: i32,
    },
    Gone {
        why: String,
    },
    /// Input that was not taken: no connection, or the agent's code for it.
    Unsent {
        why: String,
    },
    /// The last event: refused, or closed as we asked (`None`).
    Over(Option<Failure>),
}

#[derive(Debug)]
enum Order {
    Input(String),
    Resize(u16, u16),
    Close,
}

/// One viewer.
pub struct Feed {
    events: mpsc::Receiver<Event>,
    orders: mpsc::Sender<Order>,
    /// What the task has no room for yet; [`Feed::next`] passes it on.
    outbox: VecDeque<Order>,
}

impl Feed {
    /// Begins at `place`, or with the recent scrollback. `session` names a dev shell.
    pub fn open(agent: Agent, place: Option<Place>, session: Option<&str>) -> Feed {
        let (events_in, events) = mpsc::channel(EVENTS);
        let (orders, orders_out) = mpsc::channel(ORDERS);
        let task = Task {
            agent,
            session: session.map(encode),
            cursor: place.map_or_else(Cursor::default, Cursor::at),
            size: None,
            events: events_in,
            orders: orders_out,
        };
        tokio::spawn(task.run());
        Feed { events, orders, outbox: VecDeque::new() }
    }

    /// The next event; meanwhile orders are passed on, so neither side ever waits for the other. Cancel safe.
    pub async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                event = self.events.recv() => return event.unwrap_or(Event::Over(None)),
                // A task that is gone has said `Over`, which is then the next event.
                Ok(permit) = self.orders.reserve(), if !self.outbox.is_empty() => {
                    if let Some(order) = self.outbox.pop_front() {
                        permit.send(order);
                    }
                }
            }
        }
    }

    /// Text for the PTY, cut into frames the agent takes. Ask [`Feed::is_full`] first.
    pub fn input(&mut self, mut text: &str) {
        while !text.is_empty() {
            let cut = (0..=MAX_INPUT.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            self.outbox.push_back(Order::Input(text[..cut].to_owned()));
            text = &text[cut..];
        }
    }

    /// The agent does not take input as fast as it comes: wait, or drop it.
    pub fn is_full(&self) -> bool {
        self.outbox.len() >= OUTBOX
    }

    /// Only the newest size matters.
    pub fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.outbox.retain(|order| !matches!(order, Order::Resize(..)));
        self.outbox.push_back(Order::Resize(columns, rows));
    }

    /// Everything sent so far is delivered first; [`Event::Over`] follows.
    pub fn close(&mut self) {
        self.outbox.push_back(Order::Close);
    }
}

struct Task {
    agent: Agent,
    session: Option<String>,
    cursor: Cursor,
    /// Last size asked for; each new connection is told.
    size: Option<(u16, u16)>,
    events: mpsc::Sender<Event>,
    orders: mpsc::Receiver<Order>,
}

/// Why a connection is not there any more.
enum End {
    Broken(String),
    Over(Option<Failure>),
}

impl Task {
    async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        let mut told = false;
        // Who knows a place was answered before: an agent that dies just now is waited for too.
        let mut met = self.cursor.place().is_some();
        let over = loop {
            let why = match self.agent.socket(&self.path(), PROTOCOL).await {
                Ok(socket) => match self.serve(socket, told).await {
                    (greeted, End::Broken(why)) => {
                        if greeted {
                            (retry, told, met) = (FIRST_RETRY, false, true);
                        }
                        why
                    }
                    (_, End::Over(over)) => break over,
                },
                Err(Failure::Unreachable { why, .. }) if met => why,
                Err(Failure::Refused(p)) if met && matches!(p.status, 429 | 503) => p.detail,
                Err(failure) => break Some(failure),
            };
            if !told && self.events.send(Event::Gone { why }).await.is_err() {
                return;
            }
            told = true;
            if self.pause(retry).await {
                break None;
            }
            retry = (retry * 2).min(LAST_RETRY);
        };
        // A viewer that went away needs no last word.
        let _ = self.events.send(Event::Over(over)).await;
    }

    fn path(&self) -> String {
        let mut query = Vec::new();
        if let Some(place) = self.cursor.place() {
            query.push(format!("from={}&epoch={}", place.offset, place.epoch));
        }
        query.extend(self.session.iter().map(|name| format!("session={name}")));
        format!("console/stream?{}", query.join("&")).trim_end_matches('?').to_owned()
    }

    /// Waits before the next try; true when told to close.
    async fn pause(&mut self, retry: Duration) -> bool {
        let until = Instant::now() + retry;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                order = self.orders.recv() => match order {
                    Some(Order::Resize(columns, rows)) => self.size = Some((columns, rows)),
                    Some(Order::Input(_)) if self.events.send(unconnected()).await.is_ok() => {}
                    Some(Order::Input(_)) | Some(Order::Close) | None => return true,
                },
            }
        }
    }

    /// One connection; true when the agent said hello on it.
    async fn serve(&mut self, mut socket: Socket, back: bool) -> (bool, End) {
        let mut greeted = false;
        let mut quiet = 0;
        loop {
            tokio::select! {
                frame = socket.next() => {
                    quiet = 0;
                    let hello = !greeted;
                    match self.take(frame, back).await {
                        Ok(said_hello) => greeted |= said_hello,
                        Err(end) => return (greeted, end),
                    }
                    if hello && greeted && let Err(end) = self.announce_size(&mut socket).await {
                        return (greeted, end);
                    }
                }
                // Orders wait until the hello: before it nobody knows who is listening.
                order = self.orders.recv(), if greeted => if let Err(end) = self.obey(order, &mut socket).await {
                    return (greeted, end);
                },
                () = tokio::time::sleep(QUIET) => {
                    quiet += 1;
                    if quiet > 2 || socket.send(Message::Ping(Bytes::new())).await.is_err() {
                        return (greeted, End::Broken("no sign of life".into()));
                    }
                }
            }
        }
    }

    async fn take(&mut self, frame: Option<Result<Message, Error>>, back: bool) -> Result<bool, End> {
        let event = match frame {
            Some(Ok(Message::Binary(bytes))) => {
                let known = self.cursor.advance(bytes.len());
                Event::Output(bytes.slice(known..))
            }
            Some(Ok(Message::Text(text))) => match self.note(&text, back)? {
                Some(event) => event,
                None => return Ok(false),
            },
            Some(Ok(Message::Close(close))) => return Err(farewell(close)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(false),
            Some(Err(e)) => return Err(End::Broken(e.to_string())),
            None => return Err(End::Broken("connection closed".into())),
        };
        let hello = matches!(event, Event::Here { .. });
        self.events.send(event).await.map_err(|_| End::Over(None))?;
        Ok(hello)
    }

    fn note(&mut self, text: &str, back: bool) -> Result<Option<Event>, End> {
        let note: Note = serde_json::from_str(text)
            .map_err(|e| End::Over(Some(self.agent.foreign(&format!("its console says {text:?}: {e}")))))?;
        Ok(match note {
            Note::Hello { epoch, offset, read_only } => {
                Some(Event::Here { back, step: self.cursor.begin(Place { epoch, offset }), read_only })
            }
            Note::Gap { to, .. } => broken(self.cursor.gap(to)),
            Note::Epoch { epoch, offset } => broken(self.cursor.begin(Place { epoch, offset })),
            Note::Refused { code } => Some(Event::Unsent { why: code.replace('_', " ") }),
            Note::Exit { code, signal } => Some(Event::Exit { code, signal }),
            Note::Unknown => None,
        })
    }

    async fn announce_size(&mut self, socket: &mut Socket) -> Result<(), End> {
        match self.size {
            Some((columns, rows)) => say(socket, resize(columns, rows)).await,
            None => Ok(()),
        }
    }

    async fn obey(&mut self, order: Option<Order>, socket: &mut Socket) -> Result<(), End> {
        match order {
            Some(Order::Input(data)) => say(socket, serde_json::json!({"type": "input", "data": data})).await,
            Some(Order::Resize(columns, rows)) => {
                self.size = Some((columns, rows));
                say(socket, resize(columns, rows)).await
            }
            Some(Order::Close) | None => Err(self.say_goodbye(socket).await),
        }
    }

    /// Closes in order: our frames arrive, and what the agent says until then is still shown.
    async fn say_goodbye(&mut self, socket: &mut Socket) -> End {
        let goodbye = async {
            let _ = socket.close(None).await;
            while let Some(Ok(frame)) = socket.next().await {
                if self.take(Some(Ok(frame)), true).await.is_err() {
                    break;
                }
            }
        };
        // An agent that does not answer has nothing more to say.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        End::Over(None)
    }
}

fn unconnected() -> Event {
    Event::Unsent { why: "not connected".into() }
}

fn broken(step: Step) -> Option<Event> {
    (step != Step::Unbroken).then_some(Event::Broken(step))
}

fn resize(columns: u16, rows: u16) -> serde_json::Value {
    serde_json::json!({"type": "resize", "columns": columns, "rows": rows})
}

async fn say(socket: &mut Socket, note: serde_json::Value) -> Result<(), End> {
    socket.send(Message::text(note.to_string())).await.map_err(|e| End::Broken(e.to_string()))
}

/// 1008 means we did something the agent does not allow: trying again would not help.
fn farewell(close: Option<CloseFrame>) -> End {
    match close {
        Some(frame) if frame.code == CloseCode::Policy => {
            let detail = if frame.reason.is_empty() { "the agent closed the console" } else { frame.reason.as_str() };
            End::Over(Some(Failure::Refused(Problem { status: 1008, detail: detail.into(), ..Default::default() })))
        }
        Some(frame) if !frame.reason.is_empty() => End::Broken(frame.reason.to_string()),
        _ => End::Broken("connection closed".into()),
    }
}

/// Percent-encoding for a query value.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (b as char).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}
