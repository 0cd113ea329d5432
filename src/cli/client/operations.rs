//! `zlh operations`: what was asked for and how it ended.
use super::{Session, names, now, print, print_json, wire::Operation};
use crate::cli::{failure::Failure, show};
use reqwest::Method;

pub async fn show(session: &Session, which: Option<&str>) -> Result<(), Failure> {
    let answer = session.agent.read("operations").await?;
    let operations: Vec<Operation> = session.parse_list(&answer.body)?;
    let Some(which) = which else {
        return match session.json {
            true => print_json(&answer.body),
            false => print(&show::lists::operations(&operations, session.look, now())),
        };
    };
    let found: Vec<Operation> = operations.into_iter().filter(|o| names(which, &o.id)).collect();
    match (session.json, found.as_slice()) {
        (_, []) => Err(Failure::Answer(format!("no operation {which:?}; `zlh operations` lists those that are kept"))),
        (true, [one]) => session.view::<Operation>(&format!("operations/{}", one.id)).await.map(drop),
        (true, _) => Err(Failure::Usage(format!("{which:?} may be one of {} operations", found.len()))),
        (false, _) => print(&show::lists::operations(&found, session.look, now())),
    }
}

/// Ends the one operation that `which` means.
pub async fn cancel(session: &Session, which: &str) -> Result<(), Failure> {
    let answer = session.agent.read("operations").await?;
    let operations: Vec<Operation> = session.parse_list(&answer.body)?;
    let found: Vec<&Operation> = operations.iter().filter(|o| names(which, &o.id)).collect();
    let [one] = found[..] else {
        return Err(Failure::Usage(format!("{which:?} may be one of {} operations", found.len())));
    };
    let answer = session.agent.give(Method::DELETE, &format!("operations/{}", one.id), None).await?;
    if session.json { print_json(&answer.body) } else { print(&format!("cancelling {} {}\n", one.kind, one.subject)) }
}
