//! The way in: what a viewer types or asks for. It goes on while the way out is blocked.
use super::{
    frames::{Said, Told},
    viewer::{Leave, Pulse},
};
use crate::http::{agent::backend::ConsoleLog, problem::Problem, websocket::Socket};
use bytes::Bytes;
use futures_util::{StreamExt, stream::SplitStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes, protocol::frame::coding::CloseCode};

/// Terminals beyond this are a mistake, and some programs allocate by it.
const MOST_COLUMNS_ROWS: u16 = 1000;

pub struct Input<'a> {
    pub log: &'a dyn ConsoleLog,
    pub is_v1: bool,
    pub readonly: bool,
    pub pulse: &'a Pulse,
    /// Replies, told by the way out.
    pub notes: mpsc::Sender<Told>,
}

impl Input<'_> {
    pub async fn run(self, stream: &mut SplitStream<Socket>) -> Leave {
        loop {
            let message = match stream.next().await {
                None => return Leave::Gone,
                Some(Err(error)) => return error.into(),
                Some(Ok(message)) => message,
            };
            self.pulse.beat();
            let taken = match message {
                Message::Text(text) if self.is_v1 => self.said(&text).await,
                Message::Binary(_) if self.is_v1 => Err(fault("input comes as JSON in text frames")),
                Message::Text(text) => self.typed(Bytes::from(text)).await,
                Message::Binary(bytes) => self.typed(bytes).await,
                Message::Close(_) => Err(Leave::Closed),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
            };
            if let Err(why) = taken {
                return why;
            }
        }
    }

    async fn said(&self, text: &Utf8Bytes) -> Result<(), Leave> {
        match serde_json::from_str(text).map_err(|e| fault(&e.to_string()))? {
            Said::Input { data } => self.typed(data.into()).await,
            Said::Resize { columns, rows } => {
                let sane = 1..=MOST_COLUMNS_ROWS;
                if !sane.contains(&columns) || !sane.contains(&rows) {
                    return Err(fault("columns and rows are 1 to 1000"));
                }
                if self.readonly {
                    self.refuse("read_only");
                } else {
                    self.log.resize(columns, rows);
                }
                Ok(())
            }
        }
    }

    /// A refusal is no reason to leave: the server may be back in a moment.
    async fn typed(&self, bytes: Bytes) -> Result<(), Leave> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.readonly {
            self.refuse("read_only");
        } else if let Err(denied) = self.log.write(bytes).await {
            self.refuse(Problem::from(denied).code);
        }
        Ok(())
    }

    /// Told if there is room: who floods a dead console need not hear of each byte.
    fn refuse(&self, code: &'static str) {
        if let Err(full) = self.notes.try_send(Told::Refused { code }) {
            tracing::trace!(%full, "a refused input was not told");
        }
    }
}

fn fault(what: &str) -> Leave {
    Leave::Close(CloseCode::Policy, what.to_owned())
}
