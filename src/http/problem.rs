//! Every error on the wire: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! [`Code::ALL`] is the one table; `docs/errors.md` is generated from it by the test at the end of this file.
use super::{Response, shortened};
use crate::{
    actors::game_server::Denied,
    model::{install::User, refusal::Refusal, time::WallTime},
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use std::{ops::Deref, time::Duration};

pub const CONTENT_TYPE: &str = "application/problem+json";
/// Longest `detail`: it may quote what the caller sent.
const DETAIL_BYTES: usize = 1000;

/// One row of the table: what a client may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable, snake_case.
    pub name: &'static str,
    pub status: StatusCode,
    pub title: &'static str,
    /// What the caller can do about it.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($constant:ident $status:ident $name:literal: $title:literal, $remedy:literal;)*) => {
        impl Code {
            $(pub const $constant: Code =
                Code { name: $name, status: StatusCode::$status, title: $title, remedy: $remedy };)*
            /// The whole table, in order of status.
            pub const ALL: &[Code] = &[$(Code::$constant),*];
        }
    };
}

codes! {
    MALFORMED BAD_REQUEST "malformed": "The request cannot be understood", "Correct what `detail` names and send it again.";
    MALFORMED_BODY BAD_REQUEST "malformed_body": "The body is not the JSON expected here", "Correct the field or position that `detail` names.";
    MALFORMED_QUERY BAD_REQUEST "malformed_query": "A query parameter is unknown or has a wrong value", "Correct the parameter that `detail` names.";
    INVALID_COMMAND BAD_REQUEST "invalid_command": "Not a console command", "Send one line without control characters, within the limit.";
    HOST_MISSING BAD_REQUEST "host_missing": "The Host header is missing or repeated", "Send exactly one Host header.";
    INVALID_SESSION BAD_REQUEST "invalid_session": "Not a name of a shell session", "Use 1 to 32 lower-case letters, digits and -, beginning with a letter or digit.";
    UNAUTHORIZED UNAUTHORIZED "unauthorized": "A valid bearer token is needed", "Send `Authorization: Bearer <token>` with this agent's token.";
    IDE_LOGIN UNAUTHORIZED "ide_login": "This IDE is not open to you now", "Open it again from the portal: the session has ended, or this is another container's.";
    IDE_TOKEN UNAUTHORIZED "ide_token": "The link to this IDE is used up", "Open the IDE again from the portal: a link works once, for five minutes, for one container.";
    WRONG_CREDENTIALS UNAUTHORIZED "wrong_credentials": "Name or password is wrong", "Try again; after some tries only slowly.";
    HOST_NOT_ALLOWED FORBIDDEN "host_not_allowed": "This agent is not known by that name", "Use one of its own names or addresses, or add the name to `allowed_hosts`.";
    FOREIGN_ORIGIN FORBIDDEN "foreign_origin": "Another site's page may not do this", "Call from a page of the same origin, or from a program that sends no Origin.";
    NOT_ALLOWED FORBIDDEN "not_allowed": "Only an administrator may do this", "Ask one.";
    WRONG_SCOPE FORBIDDEN "wrong_scope": "The token was not made for this", "Use a token with the scope that `detail` names, or log in.";
    WRONG_AUDIENCE FORBIDDEN "wrong_audience": "The token is for another part of the gateway", "Use one made for this audience.";
    IDE_PATH FORBIDDEN "ide_path": "The IDE may not be asked for this path", "Use a path without `..`; open ports as `/proxy/<port>/`, 1024 to 65535.";
    IDE_DENIED FORBIDDEN "ide_denied": "This opens no IDE", "Open the IDE from the portal again.";
    NOT_FOUND NOT_FOUND "not_found": "There is nothing at this path", "See `/openapi.json` for the paths there are.";
    NO_SUCH_OPERATION NOT_FOUND "no_such_operation": "No operation has this id", "List `/operations`; old ones are forgotten.";
    NO_SUCH_CRASH NOT_FOUND "no_such_crash": "No crash report has this id", "List `/crashes`; old ones are forgotten.";
    NO_SUCH_SESSION NOT_FOUND "no_such_session": "No shell session has this name", "Attach to it, which starts one.";
    PLAYERS_UNKNOWN NOT_FOUND "players_unknown": "This game does not tell who plays", "Nothing; the game's protocol has no such question.";
    NO_SUCH_SERVER NOT_FOUND "no_such_server": "There is no server with this number", "List `/api/servers`; only your own are there.";
    NO_SUCH_USER NOT_FOUND "no_such_user": "There is no user of this name", "List `/api/users`.";
    NO_SUCH_TOKEN NOT_FOUND "no_such_token": "There is no session or token with this id", "List `/api/tokens`; what has ended is not there.";
    NOT_INSTALLED NOT_FOUND "not_installed": "This version is not installed here", "Install it first; `GET /dev/runtimes` lists what is there.";
    NO_SUCH_BACKUP NOT_FOUND "no_such_backup": "No backup has this id", "List the backups; old ones are deleted (`backups.keep`).";
    METHOD_NOT_ALLOWED METHOD_NOT_ALLOWED "method_not_allowed": "This path does not know that method", "Use a method named in the Allow header.";
    REQUEST_TIMEOUT REQUEST_TIMEOUT "request_timeout": "The body did not arrive in time", "Send the body without pauses.";
    NO_CONFIG CONFLICT "no_config": "Nothing is configured yet", "POST a configuration to `/config` first.";
    NOT_A_GAME CONFLICT "not_a_game": "This container is not a game server", "Dev containers have no start, stop and restart.";
    NOT_A_DEV_CONTAINER CONFLICT "not_a_dev_container": "This container is no dev container", "Only dev containers have shells, runtimes and an editor.";
    NOT_PROVISIONED CONFLICT "not_provisioned": "The dev container is not set up yet", "Follow `installStep` in `/status`; if it says error, POST `/config` again.";
    EXISTS CONFLICT "exists": "There is one of that name or number already", "Choose another, or change that one.";
    OWNS_SERVERS CONFLICT "owns_servers": "This person owns servers", "Give them to somebody else first.";
    KEY_AT_WORK CONFLICT "idempotency_key_at_work": "The first request with this Idempotency-Key is still being answered", "Try again after `retryAfterMs`.";
    OPERATION_IN_PROGRESS CONFLICT "operation_in_progress": "Another operation holds the lock", "Wait until `deadlineAt`, or POST `/stop` or `/kill`.";
    UPDATE_IN_PROGRESS CONFLICT "update_in_progress": "The agent is being updated, or still on trial after an update", "`GET /agent/update/status` shows how it goes.";
    NOT_RUNNING CONFLICT "not_running": "The server is not running", "POST `/start` first.";
    NOT_STOPPED CONFLICT "not_stopped": "The server is not stopped", "POST `/stop` first: a backup is only put back while nothing runs.";
    BACKUP_DAMAGED CONFLICT "backup_damaged": "This backup is damaged", "Use another one; `detail` says what is wrong with it.";
    NO_PREVIOUS CONFLICT "no_previous": "There is no earlier version to go back to", "Activate a version by name; `GET /dev/runtimes` lists what is there.";
    IN_USE CONFLICT "in_use": "Processes use this version", "End the processes that `users` names, or let them end.";
    NOT_CANCELLABLE CONFLICT "not_cancellable": "This operation cannot be cancelled", "It has ended, or it is the workload's: POST `/stop` or `/kill`.";
    TOO_LARGE PAYLOAD_TOO_LARGE "too_large": "The body is too large", "Send at most `limit` bytes.";
    UNSUPPORTED_MEDIA_TYPE UNSUPPORTED_MEDIA_TYPE "unsupported_media_type": "The body has a type not understood here", "Send `application/json`, or no Content-Type.";
    UNUSABLE UNPROCESSABLE_ENTITY "unusable": "The configuration cannot be used", "Correct the `field` named; nothing was changed.";
    KEY_REUSED UNPROCESSABLE_ENTITY "idempotency_key_reused": "This Idempotency-Key came with another request", "Make a new key for each new request.";
    UPGRADE_REQUIRED UPGRADE_REQUIRED "upgrade_required": "This path speaks WebSocket only", "Send a WebSocket handshake, version 13.";
    TOO_MANY_VIEWERS TOO_MANY_REQUESTS "too_many_viewers": "This console has as many viewers as it may", "Close one, or raise `console.max_viewers`.";
    TOO_MANY_SESSIONS TOO_MANY_REQUESTS "too_many_sessions": "There are as many shell sessions as there may be", "End one, or raise `terminal.max_sessions`.";
    TOO_MANY_LOGINS TOO_MANY_REQUESTS "too_many_logins": "Too many tries to log in", "Try again after `retryAfterMs`.";
    TOO_MANY_REQUESTS TOO_MANY_REQUESTS "too_many_requests": "You ask more often than you may", "Try again after `retryAfterMs`.";
    TOO_MANY_STREAMS TOO_MANY_REQUESTS "too_many_streams": "You have as many event streams and consoles open as you may", "Close one, or raise `requests.streams_per_user`.";
    TOO_MANY_OPERATIONS TOO_MANY_REQUESTS "too_many_operations": "As many orders wait as may", "Wait until some have ended, or raise `install.queue`.";
    INTERNAL INTERNAL_SERVER_ERROR "internal": "The agent made a mistake", "Look into the agent's log; report it with what you did.";
    OPERATION_FAILED INTERNAL_SERVER_ERROR "operation_failed": "The operation waited for has failed", "See `detail` and `/operations/{id}`.";
    IDE_UNREACHABLE BAD_GATEWAY "ide_unreachable": "The IDE does not run", "Start it, or look at the container's status.";
    IDE_BROKE BAD_GATEWAY "ide_broke": "The IDE broke off its answer", "Try again; if it stays, restart the IDE.";
    AGENT_UNREACHABLE BAD_GATEWAY "agent_unreachable": "The server's agent cannot be reached", "Is its container running? Is the address in the registry right?";
    AGENT_BROKE_OFF BAD_GATEWAY "agent_broke_off": "The server's agent ended the connection without an answer", "Try again; its log says why.";
    BUSY SERVICE_UNAVAILABLE "busy": "The agent did not answer in time", "Try again after `retryAfterMs`.";
    RESTARTING SERVICE_UNAVAILABLE "restarting": "This part of the agent is being restarted", "Try again after `retryAfterMs`.";
    CATALOG_UNAVAILABLE SERVICE_UNAVAILABLE "catalog_unavailable": "What can be installed cannot be found out now", "See `detail`; try again when the artifact server answers.";
    NO_SHELL SERVICE_UNAVAILABLE "no_shell": "A shell could not be started", "See `detail`; the agent's log has more.";
    RECOVERING SERVICE_UNAVAILABLE "recovering": "The agent is finding out what still runs", "Try again after `retryAfterMs`.";
    SHUTTING_DOWN SERVICE_UNAVAILABLE "shutting_down": "The agent is going down", "Try again once it is back.";
    NO_STATUS SERVICE_UNAVAILABLE "no_status": "Nothing is known of this server yet", "Try again after `retryAfterMs`; its agent was not heard since the gateway started.";
    NO_CATALOG SERVICE_UNAVAILABLE "no_catalog": "The artifact server's catalog cannot be read", "Is `artifacts_url` right, and the server up?";
    DATABASE_UNAVAILABLE SERVICE_UNAVAILABLE "database_unavailable": "The gateway's database does not answer", "Try again after `retryAfterMs`.";
    TOO_MANY_CONNECTIONS SERVICE_UNAVAILABLE "too_many_connections": "This agent has as many connections as it may", "Close some, or raise `limits.connections`.";
    IDE_TIMEOUT GATEWAY_TIMEOUT "ide_timeout": "The IDE did not answer in time", "Try again; if it stays, restart the IDE.";
    AGENT_TIMEOUT GATEWAY_TIMEOUT "agent_timeout": "The server's agent did not answer in time", "Try again; if it stays so, look at its machine.";
    DISK_FULL INSUFFICIENT_STORAGE "disk_full": "There is not enough disk space", "Delete old backups or other files; `limit` is how many bytes must be free.";
}

impl Code {
    /// The row called `name`.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name == name)
    }

    /// The row for an error that a framework answered with a bare status.
    fn of_status(status: StatusCode) -> Code {
        match status {
            StatusCode::NOT_FOUND => Code::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => Code::METHOD_NOT_ALLOWED,
            StatusCode::PAYLOAD_TOO_LARGE => Code::TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UNSUPPORTED_MEDIA_TYPE,
            s if s.is_client_error() => Code::MALFORMED,
            _ => Code::INTERNAL,
        }
    }

    /// With a sentence of its own instead of the remedy.
    pub fn because(self, detail: impl AsRef<str>) -> Problem {
        let mut problem = Problem::from(self);
        problem.0.detail = shortened(detail.as_ref(), DETAIL_BYTES).to_owned();
        problem
    }
}

/// One error answer. Boxed, because every handler's result has room for one.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct Problem(Box<Members>);

/// What an error answer has; absent members are left out.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProblemMembers)]
pub struct Members {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub detail: String,
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What the operation in the way is doing: `start`, `config`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deadline_at: Option<WallTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Who uses what was to be removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    pub fn limit(mut self, limit: usize) -> Problem {
        self.0.limit = Some(limit as u64);
        self
    }

    pub fn operation(mut self, id: impl ToString) -> Problem {
        self.0.operation = Some(id.to_string());
        self
    }

    pub fn retry_after(mut self, wait: Duration) -> Problem {
        self.0.retry_after_ms = Some(wait.as_millis() as u64);
        self
    }
}

impl Deref for Problem {
    type Target = Members;
    fn deref(&self) -> &Members {
        &self.0
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Problem {
        Problem(Box::new(Members {
            kind: format!("urn:zlh:problem:{}", code.name),
            title: code.title,
            status: code.status.as_u16(),
            detail: code.remedy.to_owned(),
            code: code.name,
            operation: None,
            holder: None,
            deadline_at: None,
            field: None,
            users: Vec::new(),
            limit: None,
            retry_after_ms: None,
        }))
    }
}

/// Time after which a caller may try again when the agent itself was in the way.
const RETRY: Duration = Duration::from_secs(1);
/// The same when all places are taken: people leave slowly.
const FULL_RETRY: Duration = Duration::from_secs(5);

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        match denied {
            Denied::Refused(refusal) => refusal.into(),
            Denied::Busy => Problem::from(Code::BUSY).retry_after(RETRY),
            Denied::Gone => Problem::from(Code::RESTARTING).retry_after(RETRY),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let code = Code::named(refusal.code()).unwrap_or(Code::INTERNAL);
        let mut problem = Problem::from(code);
        match refusal {
            Refusal::OperationInProgress { holder, kind, deadline_at } => {
                let kind = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned));
                let what = kind.as_deref().unwrap_or("operation");
                problem.0.detail = format!("A {what} ({holder}) is going on and ends by {deadline_at}.");
                problem.0.holder = kind;
                problem.0.deadline_at = Some(deadline_at);
                problem.operation(holder)
            }
            Refusal::Unusable { field, detail } => {
                problem.0.detail = format!("{field}: {detail}");
                problem.0.field = Some(field);
                problem
            }
            Refusal::CatalogUnavailable { detail } => code.because(detail).retry_after(RETRY),
            Refusal::InvalidSession { detail } | Refusal::NoShell { detail } => code.because(detail),
            Refusal::TooManySessions { limit } | Refusal::TooManyViewers { limit } => {
                problem.limit(limit).retry_after(FULL_RETRY)
            }
            Refusal::NotInstalled { what, installed } => {
                let installed = if installed.is_empty() { "none".into() } else { installed.join(", ") };
                problem.0.detail = format!("{what} is not installed here; installed versions: {installed}.");
                problem
            }
            Refusal::NoSuchBackup { id } => code.because(format!("There is no backup {id}.")),
            Refusal::BackupDamaged { fault } => code.because(fault),
            Refusal::DiskFull { needed, free } => {
                problem.0.detail =
                    format!("{free} bytes are free and {needed} are needed; delete old backups or other files.");
                problem.limit(usize::try_from(needed).unwrap_or(usize::MAX))
            }
            Refusal::NoPrevious { family } => {
                problem.0.detail = format!("No formerly active version of {family} is left here.");
                problem
            }
            Refusal::InUse { what, users } => {
                let named: Vec<String> = users.iter().map(|u| format!("{} ({})", u.pid, u.name)).collect();
                problem.0.detail = format!("{what} is in use by {}.", named.join(", "));
                problem.0.users = users;
                problem
            }
            Refusal::TooManyOperations { limit } => problem.limit(limit).retry_after(RETRY),
            Refusal::NotCancellable { operation } => problem.operation(operation),
            Refusal::Recovering | Refusal::ShuttingDown => problem.retry_after(RETRY),
            Refusal::NoConfig | Refusal::NotAGame | Refusal::NotRunning | Refusal::NotStopped => problem,
            Refusal::UpdateInProgress => problem,
            Refusal::NotADevContainer | Refusal::NotProvisioned | Refusal::NoSuchSession => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000)));
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"zlh\""));
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}

/// Gives an error that the framework made by itself (404, 405, a bad path: plain text or nothing) the form of all others.
pub fn dress(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !is_error || kind.is_some_and(|kind| !kind.as_bytes().starts_with(b"text/plain")) {
        return response;
    }
    let mut dressed = Problem::from(Code::of_status(status)).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        dressed.headers_mut().insert(header::ALLOW, allow.clone());
    }
    dressed
}

#[cfg(test)]
mod tests;
