//! `/dev/backups` and `/game/backups`: copies of the workspace and of the server root. Each order is an operation; with
//! `?wait=` the answer comes when it has ended.
use super::{Agent, HOLDER};
use crate::{
    http::{
        Response,
        problem::{Code, Problem},
        query::{Query, Wait},
        server::connection::Connection,
    },
    model::{
        backup::{Backup, BackupId, Backups, Reason},
        container::Kind,
        ids::OperationId,
    },
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use utoipa::{IntoParams, ToSchema};

/// How long a deletion is waited for before it is answered as under way.
const DELETED_WITHIN: Duration = Duration::from_millis(1500);

#[derive(Serialize, ToSchema)]
pub struct List {
    /// Newest first.
    #[schema(value_type = Vec<Backup>)]
    backups: Backups,
}

/// A backup, or the one that is being made.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Shown {
    Whole(Box<Backup>),
    Pending(Pending),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    #[schema(value_type = String)]
    id: BackupId,
    reason: Reason,
    /// `creating`
    state: &'static str,
}

/// An order that was taken, or (with `?wait=`) carried out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ordered {
    ok: bool,
    #[schema(value_type = String)]
    operation_id: OperationId,
    /// What it is about: the whole record once it is there.
    backup: Shown,
    /// Of a restore: what there was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Shown>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct How {
    /// Answer when it has ended, or with 202 after this time (`60s`; capped by `limits.max_wait`).
    #[param(value_type = Option<String>)]
    wait: Option<Wait>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    id: String,
    /// Answer when it has ended, or with 202 after this time (`60s`; capped by `limits.max_wait`).
    #[param(value_type = Option<String>)]
    wait: Option<Wait>,
}

/// What every handler is given.
pub struct Desk {
    agent: Arc<Agent>,
    connection: Arc<Connection>,
    kind: Kind,
}

impl Desk {
    /// True once it is done, false if it is not over in time.
    async fn ended(&self, operation: &OperationId, within: Option<Duration>) -> Result<bool, Problem> {
        let Some(within) = within else { return Ok(false) };
        let outcome = tokio::select! {
            outcome = self.agent.game.backup_outcome(operation.clone()) => outcome,
            () = sleep(within.min(self.agent.limits.max_wait)) => return Ok(false),
            () = self.connection.draining() => return Ok(false),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(why) => Err(Code::OPERATION_FAILED.because(why).operation(operation)),
        }
    }

    fn shown(&self, id: BackupId, reason: Reason) -> Shown {
        match self.agent.game.backup(self.kind, &id) {
            Some(backup) => Shown::Whole(Box::new(backup)),
            None => Shown::Pending(Pending { id, reason, state: "creating" }),
        }
    }

    async fn list(self) -> Result<Json<List>, Problem> {
        Ok(Json(List { backups: self.agent.game.backups(self.kind).await? }))
    }

    async fn make(self, wait: Option<Wait>) -> Result<Response, Problem> {
        let (operation, id) = self.agent.game.back_up(self.kind, HOLDER).await?;
        let ended = self.ended(&operation, wait.map(|wait| wait.0)).await?;
        let status = if ended { StatusCode::CREATED } else { StatusCode::ACCEPTED };
        let backup = self.shown(id, Reason::Manual);
        Ok((status, Json(Ordered { ok: true, operation_id: operation, backup, checkpoint: None })).into_response())
    }

    async fn restore(self, which: Which) -> Result<Response, Problem> {
        let begun = self.agent.game.put_back(self.kind, id(&which.id)?, HOLDER).await?;
        let ended = self.ended(&begun.operation, which.wait.map(|wait| wait.0)).await?;
        let checkpoint = Some(self.shown(begun.checkpoint, Reason::Checkpoint));
        let backup = Shown::Whole(Box::new(begun.of));
        Ok((status(ended), Json(Ordered { ok: true, operation_id: begun.operation, backup, checkpoint }))
            .into_response())
    }

    async fn verify(self, which: &str, wait: Option<Wait>) -> Result<Response, Problem> {
        let id = id(which)?;
        let operation = self.agent.game.verify_backup(self.kind, id.clone(), HOLDER).await?;
        let ended = self.ended(&operation, wait.map(|wait| wait.0)).await?;
        let backup = self.shown(id, Reason::Manual);
        Ok((status(ended), Json(Ordered { ok: true, operation_id: operation, backup, checkpoint: None }))
            .into_response())
    }

    async fn delete(self, which: &str) -> Result<Response, Problem> {
        let id = id(which)?;
        let backup = self.shown(id.clone(), Reason::Manual);
        let operation = self.agent.game.delete_backup(self.kind, id, HOLDER).await?;
        if self.ended(&operation, Some(DELETED_WITHIN)).await? {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Ok((StatusCode::ACCEPTED, Json(Ordered { ok: true, operation_id: operation, backup, checkpoint: None }))
            .into_response())
    }
}

fn status(ended: bool) -> StatusCode {
    if ended { StatusCode::OK } else { StatusCode::ACCEPTED }
}

/// What is no id is the id of nothing.
fn id(text: &str) -> Result<BackupId, Problem> {
    BackupId::parse(text).ok_or_else(|| Code::NO_SUCH_BACKUP.because("The ids of backups are lower-case UUIDs."))
}

type Given = (State<Arc<Agent>>, Extension<Arc<Connection>>);

fn desk((State(agent), Extension(connection)): Given, kind: Kind) -> Desk {
    Desk { agent, connection, kind }
}

#[utoipa::path(get, path = "/dev/backups", tag = "backups", responses((status = 200, body = List), (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn list_dev(agent: State<Arc<Agent>>, of: Extension<Arc<Connection>>) -> Result<Json<List>, Problem> {
    desk((agent, of), Kind::Dev).list().await
}

/// Copies the workspace, while people go on working in it.
#[utoipa::path(post, path = "/dev/backups", tag = "backups", params(How), responses((status = 202, body = Ordered), (status = 201, body = Ordered, description = "Made, if `wait` was given"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem)))]
pub async fn make_dev(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Query(how): Query<How>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Dev).make(how.wait).await
}

/// Makes a checkpoint, then puts the backup back; open shells and editors see its files.
#[utoipa::path(post, path = "/dev/backups/restore", tag = "backups", params(Which), responses((status = 202, body = Ordered), (status = 200, body = Ordered, description = "Restored, if `wait` was given"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem)))]
pub async fn restore_dev(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Dev).restore(which).await
}

#[utoipa::path(delete, path = "/dev/backups/{id}", tag = "backups", params(("id" = String, Path,)), responses((status = 204, description = "Deleted"), (status = 202, body = Ordered, description = "Its space comes back a little later"), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem)))]
pub async fn delete_dev(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Dev).delete(&id).await
}

/// Reads all of it again and compares each file with its hash.
#[utoipa::path(post, path = "/dev/backups/{id}/verify", tag = "backups", params(("id" = String, Path,), How), responses((status = 202, body = Ordered), (status = 200, body = Ordered, description = "Sound, if `wait` was given"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem)))]
pub async fn verify_dev(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Path(id): Path<String>,
    Query(how): Query<How>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Dev).verify(&id, how.wait).await
}

#[utoipa::path(get, path = "/game/backups", tag = "backups", responses((status = 200, body = List), (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn list_game(agent: State<Arc<Agent>>, of: Extension<Arc<Connection>>) -> Result<Json<List>, Problem> {
    desk((agent, of), Kind::Game).list().await
}

/// Copies the server root; a running game saves its world first and holds its writes, where it can.
#[utoipa::path(post, path = "/game/backups", tag = "backups", params(How), responses((status = 202, body = Ordered), (status = 201, body = Ordered, description = "Made, if `wait` was given"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem)))]
pub async fn make_game(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Query(how): Query<How>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Game).make(how.wait).await
}

/// Makes a checkpoint, then puts the backup back. Only while the server is stopped.
#[utoipa::path(post, path = "/game/backups/restore", tag = "backups", params(Which), responses((status = 202, body = Ordered), (status = 200, body = Ordered, description = "Restored, if `wait` was given"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem)))]
pub async fn restore_game(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Game).restore(which).await
}

#[utoipa::path(delete, path = "/game/backups/{id}", tag = "backups", params(("id" = String, Path,)), responses((status = 204, description = "Deleted"), (status = 202, body = Ordered, description = "Its space comes back a little later"), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem)))]
pub async fn delete_game(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Game).delete(&id).await
}

/// Reads all of it again and compares each file with its hash.
#[utoipa::path(post, path = "/game/backups/{id}/verify", tag = "backups", params(("id" = String, Path,), How), responses((status = 202, body = Ordered), (status = 200, body = Ordered, description = "Sound, if `wait` was given"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem)))]
pub async fn verify_game(
    agent: State<Arc<Agent>>,
    of: Extension<Arc<Connection>>,
    Path(id): Path<String>,
    Query(how): Query<How>,
) -> Result<Response, Problem> {
    desk((agent, of), Kind::Game).verify(&id, how.wait).await
}
