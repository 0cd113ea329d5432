//! `zlh ready`: the readiness checks, and an exit code for scripts.
use super::{Session, agent::ANSWER_TIMEOUT, now, print, print_json, wire::Ready};
use crate::cli::{failure::Failure, show};
use reqwest::StatusCode;

pub async fn show(session: &Session) -> Result<(), Failure> {
    let answer = session.agent.read_or("ready", &[StatusCode::SERVICE_UNAVAILABLE], ANSWER_TIMEOUT).await?;
    let ready: Ready = session.parse(&answer.body)?;
    match session.json {
        true => print_json(&answer.body)?,
        false => print(&show::lists::ready(&ready, session.look, now()))?,
    }
    if answer.status.is_success() && ready.ready { Ok(()) } else { Err(Failure::No) }
}
