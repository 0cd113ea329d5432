//! `/operations`: what was asked for and how it ended.
use super::Agent;
use crate::{
    actors::status::Published,
    http::problem::{Code, Problem},
    model::{operation::Operation, refusal::Refusal},
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

/// An id younger than this may be of an operation that the status is about to show.
const FRESH: Duration = Duration::from_secs(10);
/// How long a question for one may wait.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(1);

#[derive(Serialize, ToSchema)]
pub struct Operations {
    /// Newest first.
    #[schema(value_type = Vec<Operation>)]
    operations: Arc<Vec<Operation>>,
}

#[utoipa::path(get, path = "/operations", tag = "agent", responses((status = 200, body = Operations), (status = 401, body = Problem)))]
pub async fn list(State(agent): State<Arc<Agent>>) -> Json<Operations> {
    Json(Operations { operations: agent.status.current().operations.clone() })
}

#[utoipa::path(get, path = "/operations/{id}", tag = "agent", params(("id" = String, Path,)), responses((status = 200, body = Operation), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn one(State(agent): State<Arc<Agent>>, Path(id): Path<String>) -> Result<Json<Operation>, Problem> {
    let mut reader = agent.status.clone();
    let mut published = reader.current();
    let until = Instant::now() + PUBLISHED_WITHIN;
    loop {
        if let Some(found) = published.operations.iter().find(|operation| operation.id.0 == id) {
            return Ok(Json(found.clone()));
        }
        if !is_fresh(&id) && !published.recovering {
            return Err(unknown(&published));
        }
        let revision = published.snapshot.revision.0;
        let newer = timeout_at(until, reader.past(revision));
        published = match newer.await {
            Ok(newer) if newer.snapshot.revision.0 > revision => newer,
            // Nobody will publish it in time.
            Ok(_) | Err(_) => return Err(unknown(&published)),
        };
    }
}

/// It is only denied by who knows all that earlier lives left.
fn unknown(published: &Published) -> Problem {
    if published.recovering { Refusal::Recovering.into() } else { Code::NO_SUCH_OPERATION.into() }
}

/// Who was just told of an operation may ask before the status that shows it is out. Ids are UUIDv7: they tell their age.
fn is_fresh(id: &str) -> bool {
    let made = uuid::Uuid::parse_str(id).ok().and_then(|id| id.get_timestamp());
    let Some((seconds, nanos)) = made.map(|made| made.to_unix()) else { return false };
    let made = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    made.elapsed().is_ok_and(|age| age < FRESH)
}
