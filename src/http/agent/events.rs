//! `/events`: server-sent events. `status` on every change and as a heartbeat, `operation` and `crash` when one changes.
//!
//! Only the newest revision is ever kept for a listener, and the next event is formed when the socket has room: a slow
//! one misses revisions in between, costs no memory, and is cut off by the server if it stops reading.
use super::Agent;
use crate::{
    actors::status::{Published, StatusReader},
    http::{Response, problem::Problem, server::connection::Connection},
    model::crash::CrashReport,
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
};
use bytes::Bytes;
use std::{convert::Infallible, sync::Arc};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

/// How soon a browser should come back.
const RETRY: &str = "retry: 2000\n\n";

/// `id` is the revision. A listener that comes back with an older `Last-Event-ID` also gets all operations and crashes
/// still kept: it may see one twice, but misses none.
#[utoipa::path(get, path = "/events", tag = "agent", responses((status = 200, content_type = "text/event-stream", body = String), (status = 401, body = Problem)))]
pub async fn events(
    State(agent): State<Arc<Agent>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
) -> Response {
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let mut tick = interval_at(tokio::time::Instant::now() + agent.interval, agent.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feed = Feed { reader: agent.status.clone(), sent: None, last_seen, tick, connection };
    let chunks = futures_util::stream::unfold(feed, |mut feed| async move {
        let chunk = feed.next().await?;
        Some((Ok::<Bytes, Infallible>(chunk), feed))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct Feed {
    reader: StatusReader,
    /// What the listener was told last.
    sent: Option<Arc<Published>>,
    last_seen: Option<String>,
    tick: Interval,
    connection: Arc<Connection>,
}

impl Feed {
    /// The next events in one piece; `None` when the agent goes down.
    async fn next(&mut self) -> Option<Bytes> {
        let Some(sent) = self.sent.clone() else { return Some(self.greeting()) };
        let revision = sent.snapshot.revision.0;
        let now = tokio::select! {
            biased;
            () = self.connection.draining() => return None,
            newer = self.reader.past(revision) => {
                if newer.snapshot.revision.0 <= revision {
                    return None; // nobody publishes any more
                }
                newer
            }
            _ = self.tick.tick() => sent.clone(),
        };
        let mut events = Vec::new();
        push(&mut events, &now);
        push_changes(&mut events, &sent, &now);
        self.sent = Some(now);
        Some(events.into())
    }

    fn greeting(&mut self) -> Bytes {
        let now = self.reader.current();
        let mut events = RETRY.as_bytes().to_vec();
        push(&mut events, &now);
        let is_behind = self.last_seen.take().is_some_and(|id| id != now.snapshot.revision.to_string());
        for operation in now.operations.iter().rev().filter(|o| is_behind || !o.state.is_final()) {
            push_json(&mut events, "operation", operation);
        }
        for crash in now.crashes.iter().rev().filter(|_| is_behind) {
            push_json(&mut events, "crash", &summary(crash));
        }
        self.sent = Some(now);
        events.into()
    }
}

fn push(events: &mut Vec<u8>, published: &Published) {
    let id = published.snapshot.revision;
    events.extend_from_slice(format!("id: {id}\nevent: status\ndata: ").as_bytes());
    events.extend_from_slice(&published.json);
    events.extend_from_slice(b"\n\n");
}

/// Oldest first, as they happened.
fn push_changes(events: &mut Vec<u8>, before: &Published, now: &Published) {
    for operation in now.operations.iter().rev().filter(|o| !before.operations.contains(o)) {
        push_json(events, "operation", operation);
    }
    for crash in now.crashes.iter().rev().filter(|c| !before.crashes.iter().any(|b| b.id == c.id)) {
        push_json(events, "crash", &summary(crash));
    }
}

fn push_json(events: &mut Vec<u8>, name: &str, value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(json) => events.extend_from_slice(format!("event: {name}\ndata: {json}\n\n").as_bytes()),
        Err(error) => tracing::error!(%error, name, "an event could not be written as JSON"),
    }
}

/// A report without its two long texts, which `/crashes/{id}` has.
fn summary(crash: &CrashReport) -> CrashReport {
    CrashReport { crash_file_text: None, log_tail: Vec::new(), ..crash.clone() }
}
