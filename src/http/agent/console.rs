//! The console: its WebSocket (`/console/stream`), its kept bytes ([`log`]) and single commands ([`command`]).
//!
//! Two dialects. Without a subprotocol: raw bytes both ways. With `zlh.console.v1`: output in binary frames, everything
//! else as JSON in text frames ([`frames`]), and a place to resume at. A [`viewer`] has a cursor of its own into the log and
//! at most one frame in flight, so it can slow neither the game nor another viewer.
pub mod command;
mod frames;
mod input;
pub mod log;
mod output;
mod position;
mod text;
mod viewer;

use super::Agent;
use crate::http::{
    Response,
    problem::{Code, Problem},
    query::Query,
    server::connection::Connection,
    websocket::Handshake,
};
use axum::{
    Extension,
    extract::{Request, State},
};
use serde::Deserialize;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use text::Utf8;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use utoipa::IntoParams;

const V1: &str = "zlh.console.v1";
/// Most output sent as one frame.
const FRAME_BYTES: usize = 64 << 10;
/// What a refused viewer should wait.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct How {
    /// Resume at this absolute offset …
    from: Option<u64>,
    /// … of this epoch; another epoch starts like a new viewer.
    epoch: Option<u64>,
    /// `binary` (default) or `text`: output as text frames, a character never split. Raw dialect only.
    #[serde(default)]
    frames: Frames,
    /// Watch only: input is not passed on.
    #[serde(default)]
    readonly: bool,
    /// Dev containers only: which shell; `main` by default.
    session: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Frames {
    #[default]
    Binary,
    Text,
}

/// What goes over the socket.
#[derive(Clone)]
enum Dialect {
    Raw,
    Text(Utf8),
    V1,
}

/// WebSocket. Subprotocol none (raw bytes) or `zlh.console.v1`.
#[utoipa::path(get, path = "/console/stream", tag = "console", params(How), responses((status = 101), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem), (status = 426, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn stream(
    State(agent): State<Arc<Agent>>,
    Extension(connection): Extension<Arc<Connection>>,
    Query(how): Query<How>,
    mut request: Request,
) -> Result<Response, Problem> {
    let handshake = Handshake::of(&mut request)?;
    let dialect = match (handshake.offers(V1), how.frames) {
        (true, Frames::Binary) => Dialect::V1,
        (true, Frames::Text) => {
            return Err(
                Code::MALFORMED_QUERY.because(format!("{V1} has text frames of its own: leave out frames=text."))
            );
        }
        (false, Frames::Binary) => Dialect::Raw,
        (false, Frames::Text) => Dialect::Text(Utf8::default()),
    };
    let log = agent.game.attach(how.session.clone()).await?;
    let place = if log.counts_viewers() { None } else { Some(place(&agent)?) };
    let protocol = matches!(dialect, Dialect::V1).then_some(V1);
    let (response, opening) = handshake.accept(protocol, socket_config(agent.console_settings.max_input_frame));
    let viewer = viewer::Viewer { counted: Counted::new(agent), log, connection, dialect, how, _place: place };
    tokio::spawn(viewer.run(opening));
    Ok(response)
}

fn place(agent: &Agent) -> Result<OwnedSemaphorePermit, Problem> {
    let limit = agent.console_settings.max_viewers;
    let place = agent.places.clone().try_acquire_owned();
    place.map_err(|_| Problem::from(Code::TOO_MANY_VIEWERS).limit(limit).retry_after(RETRY))
}

/// One viewer more for `/metrics`, until it is dropped.
struct Counted(Arc<Agent>);

impl Counted {
    fn new(agent: Arc<Agent>) -> Counted {
        agent.viewers.fetch_add(1, Relaxed);
        Counted(agent)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Relaxed);
    }
}

/// Written at once, read in small pieces: an idle viewer should cost little.
fn socket_config(max_input: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * FRAME_BYTES)
        .max_message_size(Some(max_input))
        .max_frame_size(Some(max_input))
}

#[cfg(test)]
mod tests;
