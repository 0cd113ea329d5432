//! One viewer from handshake to goodbye. Output and input run side by side on one socket, in one task.
use super::{
    Counted, Dialect, How,
    frames::Told,
    input::Input,
    output::{self, Output},
    position,
};
use crate::http::{
    agent::backend::ConsoleLog,
    server::connection::Connection,
    shortened,
    websocket::{self, Opening, Socket},
};
use futures_util::{SinkExt, StreamExt};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Time to hand a close frame to the socket.
const GOODBYE: Duration = Duration::from_secs(1);
/// Replies to input that wait to be told; more are dropped.
const NOTES: usize = 8;
/// A close reason has at most 123 bytes (RFC 6455 §5.5).
const REASON_BYTES: usize = 123;

pub struct Viewer {
    pub(super) counted: Counted,
    pub log: Arc<dyn ConsoleLog>,
    pub connection: Arc<Connection>,
    pub dialect: Dialect,
    pub how: How,
    pub _place: Option<OwnedSemaphorePermit>,
}

/// Why a viewer is left.
pub enum Leave {
    /// The connection is gone.
    Gone,
    /// The peer said goodbye, which is answered.
    Closed,
    /// It took nothing, or gave no sign of life, for `console.stall`: nothing we could say would arrive.
    Stalled,
    /// We close, and say why.
    Close(CloseCode, String),
}

/// Without the reason, which may quote what was typed.
impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leave::Gone => f.write_str("the connection is gone"),
            Leave::Closed => f.write_str("it said goodbye"),
            Leave::Stalled => f.write_str("it stopped reading or answering"),
            Leave::Close(code, _) => write!(f, "closed with {code}"),
        }
    }
}

impl From<Error> for Leave {
    fn from(error: Error) -> Leave {
        match websocket::close_code(&error) {
            Some(code) => Leave::Close(code, error.to_string()),
            None => Leave::Gone,
        }
    }
}

impl From<io::Error> for Leave {
    fn from(error: io::Error) -> Leave {
        Leave::Close(CloseCode::Error, format!("the console log cannot be read: {error}"))
    }
}

/// When the peer was last known to live: it sent something, or took something.
pub struct Pulse {
    began: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    fn new() -> Pulse {
        Pulse { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    pub fn beat(&self) {
        self.last_ms.store(self.began.elapsed().as_millis() as u64, Relaxed);
    }

    pub fn silent_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Relaxed)))
    }
}

impl Viewer {
    pub async fn run(self, opening: Opening) {
        let socket = match opening.socket().await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%error, peer = %self.connection.peer, "a console viewer vanished in its handshake");
                return;
            }
        };
        let (mut sink, mut stream) = socket.split();
        let pulse = Pulse::new();
        let (notes, told) = mpsc::channel(NOTES);
        let why = tokio::select! {
            why = self.output(&mut sink, &pulse, told) => why,
            why = self.input(&pulse, notes).run(&mut stream) => why,
            () = self.connection.draining() => Leave::Close(CloseCode::Away, "the agent is going down".to_owned()),
        };
        tracing::debug!(%why, peer = %self.connection.peer, "a console viewer left");
        if let Ok(socket) = sink.reunite(stream) {
            part(socket, why).await;
        }
    }

    async fn output(&self, sink: &mut output::Sink, pulse: &Pulse, told: mpsc::Receiver<Told>) -> Leave {
        let (log, agent) = (&*self.log, &self.counted.0);
        let settings = &agent.console_settings;
        let range = log.range();
        match position::beginning(log, range, &self.how, settings.replay_bytes).await {
            Ok(cursor) => {
                let dialect = self.dialect.clone();
                let output = Output { log, settings, dialect, cursor, sink, pulse, missed: &agent.missed_bytes };
                output.run(range.start, self.how.readonly, told).await
            }
            Err(error) => error.into(),
        }
    }

    fn input<'a>(&'a self, pulse: &'a Pulse, notes: mpsc::Sender<Told>) -> Input<'a> {
        let is_v1 = matches!(self.dialect, Dialect::V1);
        Input { log: &*self.log, is_v1, readonly: self.how.readonly, pulse, notes }
    }
}

async fn part(mut socket: Socket, why: Leave) {
    let said = match why {
        Leave::Gone => return,
        Leave::Stalled => {
            // A reset frees what the kernel still holds for a peer that does not read.
            if let Err(error) = socket.get_ref().set_zero_linger() {
                tracing::trace!(%error, "a stalled viewer is closed in the ordinary way");
            }
            return;
        }
        Leave::Closed => timeout(GOODBYE, socket.flush()).await,
        Leave::Close(code, reason) => {
            let reason = shortened(&reason, REASON_BYTES).into();
            timeout(GOODBYE, socket.send(Message::Close(Some(CloseFrame { code, reason })))).await
        }
    };
    if let Ok(Ok(())) = said {
        websocket::linger(socket.into_inner()).await;
    }
}
