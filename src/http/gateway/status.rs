//! A server's status, as the collectors last heard it: one read of memory, or a stream of changes.
use super::Gateway;
use crate::{
    actors::{
        doorkeeper::{Admitted, StreamPermit},
        statuses::Cached,
    },
    http::{
        Response,
        problem::{Code, Problem},
        server::connection::Connection,
    },
    model::gateway::Access,
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
};
use bytes::Bytes;
use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval_at},
};

const RETRY: Duration = Duration::from_secs(1);
/// How often a stream says something though nothing changed.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// `lastSeen` says how old it is.
#[utoipa::path(get, path = "/api/servers/{id}/status", tag = "servers", params(("id" = u32, Path)), responses((status = 200, body = serde_json::Value), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn status(
    State(gateway): State<Arc<Gateway>>,
    Extension(Admitted { server, .. }): Extension<Admitted>,
) -> Result<Response, Problem> {
    let server = server.ok_or(Code::NO_SUCH_SERVER)?;
    let cached = gateway.statuses.read(server.vmid);
    let cached = cached.ok_or_else(|| Problem::from(Code::NO_STATUS).retry_after(RETRY))?;
    let mut response = Response::new(cached.shown().into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `status` on every change and every 5 s; ends when the caller may no longer see it.
#[utoipa::path(get, path = "/api/servers/{id}/events", tag = "servers", params(("id" = u32, Path)), responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem), (status = 429, body = Problem)))]
pub async fn events(
    State(gateway): State<Arc<Gateway>>,
    Extension(admitted): Extension<Admitted>,
    Extension(access): Extension<Access>,
    Extension(connection): Extension<Arc<Connection>>,
) -> Result<Response, Problem> {
    let server = admitted.server.clone().ok_or(Code::NO_SUCH_SERVER)?;
    let permit = gateway.doorkeeper.stream(&admitted).ok_or(Code::TOO_MANY_STREAMS)?;
    let mut tick = interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let newest = gateway.statuses.watch(server.vmid);
    let doorkeeper = gateway.doorkeeper.clone();
    let over = Box::pin(async move {
        tokio::select! {
            () = doorkeeper.until_over(access, &admitted) => {}
            () = connection.draining() => {}
        }
    });
    let feed = Feed { newest, tick, over, begun: false, _permit: permit };
    let chunks = futures_util::stream::unfold(feed, |mut feed| async move {
        let chunk = feed.next().await?;
        Some((Ok::<Bytes, Infallible>(chunk), feed))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Feed {
    newest: watch::Receiver<Option<Arc<Cached>>>,
    tick: Interval,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    begun: bool,
    _permit: StreamPermit,
}

impl Feed {
    /// The newest status when there is a newer one or it is time; what came in between is left out.
    async fn next(&mut self) -> Option<Bytes> {
        if self.begun {
            tokio::select! {
                biased;
                () = &mut self.over => return None,
                changed = self.newest.changed() => changed.ok()?,
                _ = self.tick.tick() => {}
            }
        }
        let mut text = if self.begun { Vec::new() } else { b"retry: 2000\n\n".to_vec() };
        self.begun = true;
        match self.newest.borrow_and_update().as_ref() {
            Some(cached) => {
                text.extend_from_slice(b"event: status\ndata: ");
                text.extend_from_slice(&cached.shown());
                text.extend_from_slice(b"\n\n");
            }
            None => text.extend_from_slice(b": nothing is known yet\n\n"),
        }
        Some(text.into())
    }
}
