//! `zlh backup`: of a dev container its workspace, of a game its server root; the agent says which it is.
use super::{
    Session, names, now, power, print, print_json,
    wire::{Backup, Status},
};
use crate::cli::{
    args::{BackupVerb, WaitArgs},
    failure::Failure,
    show::{self, look::Tone},
};
use reqwest::{Method, StatusCode};

pub async fn carry_out(session: &Session, verb: BackupVerb) -> Result<(), Failure> {
    let status: Status = session.parse(&session.agent.read("status").await?.body)?;
    let base = format!("{}/backups", if status.container_type == "dev" { "dev" } else { "game" });
    match verb {
        BackupVerb::List => list(session, &base).await,
        BackupVerb::Create(wait) => order(session, "backup", Method::POST, &base, wait).await,
        BackupVerb::Restore { id, wait } => {
            let id = found(session, &base, &id).await?;
            order(session, "restore", Method::POST, &format!("{base}/restore?id={id}"), wait).await
        }
        BackupVerb::Verify { id, wait } => {
            let id = found(session, &base, &id).await?;
            order(session, "verify", Method::POST, &format!("{base}/{id}/verify"), wait).await
        }
        BackupVerb::Delete { id } => {
            let id = found(session, &base, &id).await?;
            order(session, "delete", Method::DELETE, &format!("{base}/{id}"), WaitArgs { no_wait: false }).await
        }
    }
}

async fn list(session: &Session, base: &str) -> Result<(), Failure> {
    let answer = session.agent.read(base).await?;
    match session.json {
        true => print_json(&answer.body),
        false => print(&show::backups::list(&session.parse_list::<Backup>(&answer.body)?, session.look, now())),
    }
}

async fn order(session: &Session, verb: &str, method: Method, path: &str, wait: WaitArgs) -> Result<(), Failure> {
    let answer = session.agent.give(method, path, None).await?;
    if answer.status == StatusCode::NO_CONTENT {
        let tick = session.look.paint(Tone::Good, "✓");
        return if session.json { Ok(()) } else { print(&format!("{tick} deleted\n")) };
    }
    power::follow(session, verb, answer, wait).await
}

/// The whole id of the one backup that `which` means.
async fn found(session: &Session, base: &str, which: &str) -> Result<String, Failure> {
    let backups: Vec<Backup> = session.parse_list(&session.agent.read(base).await?.body)?;
    if let ("last", Some(newest)) = (which, backups.iter().find(|backup| backup.reason != "checkpoint")) {
        return Ok(newest.id.clone());
    }
    match backups.iter().filter(|backup| names(which, &backup.id)).collect::<Vec<_>>().as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Failure::Answer(format!("no backup {which:?}; `zlh backup list` shows those there are"))),
        many => Err(Failure::Usage(format!("{which:?} may be one of {} backups", many.len()))),
    }
}
