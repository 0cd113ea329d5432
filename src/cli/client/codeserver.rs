//! `zlh codeserver`: the editor in the browser of a dev container.
use super::{Session, logs, now, power, print, wire::Status};
use crate::cli::{
    args::{WaitArgs, codeserver::CodeserverVerb},
    failure::Failure,
    show,
};

pub async fn carry_out(session: &Session, verb: CodeserverVerb) -> Result<(), Failure> {
    match verb {
        CodeserverVerb::Status => status(session).await,
        CodeserverVerb::Start(wait) => order(session, "start", wait).await,
        CodeserverVerb::Stop(wait) => order(session, "stop", wait).await,
        CodeserverVerb::Restart(wait) => order(session, "restart", wait).await,
        CodeserverVerb::Logs { lines } => logs::tail_of(session, "dev/codeserver/log", lines).await,
    }
}

async fn order(session: &Session, verb: &str, wait: WaitArgs) -> Result<(), Failure> {
    let answer = session.agent.order(&format!("dev/codeserver/{verb}"), None).await?;
    power::follow(session, verb, answer, wait).await
}

async fn status(session: &Session) -> Result<(), Failure> {
    let body = session.agent.read("status").await?.body;
    let status: Status = session.parse(&body)?;
    match session.json {
        true => super::print_json(&body)?,
        false => print(&show::codeserver::page(&status, session.look, now()))?,
    }
    if status.code_server_running { Ok(()) } else { Err(Failure::No) }
}
