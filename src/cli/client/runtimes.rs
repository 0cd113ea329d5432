//! `zlh runtimes`: what is installed, and orders about it.
use super::{
    Session, power, print, print_json,
    wire::{Runtimes, parse},
};
use crate::cli::{
    args::{RuntimesVerb, WaitArgs},
    failure::Failure,
    show,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub async fn carry_out(session: &Session, verb: RuntimesVerb) -> Result<(), Failure> {
    match verb {
        RuntimesVerb::List => list(session).await,
        RuntimesVerb::Install { runtime, version, keep_active, wait } => {
            let body = json!({ "runtime": runtime, "version": version, "activate": !keep_active });
            order(session, "install", Method::POST, "dev/runtimes".into(), Some(body), wait).await
        }
        RuntimesVerb::Use { runtime, version, wait } => {
            let path = of(&runtime, "activate");
            order(session, "use", Method::POST, path, Some(json!({ "version": version })), wait).await
        }
        RuntimesVerb::Rollback { runtime, wait } => {
            order(session, "rollback", Method::POST, of(&runtime, "rollback"), None, wait).await
        }
        RuntimesVerb::Remove { runtime, version, wait } => {
            order(session, "remove", Method::DELETE, of(&runtime, &named(&version)), None, wait).await
        }
        RuntimesVerb::Verify { runtime, version, wait } => {
            let body = version.map(|version| json!({ "version": version }));
            order(session, "verify", Method::POST, of(&runtime, "verify"), body, wait).await
        }
        RuntimesVerb::Repair { runtime, version, wait } => {
            let body = version.map(|version| json!({ "version": version }));
            order(session, "repair", Method::POST, of(&runtime, "repair"), body, wait).await
        }
        RuntimesVerb::Gc(wait) => order(session, "gc", Method::POST, "dev/runtimes/gc".into(), None, wait).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let answer = session.agent.read("dev/runtimes").await?;
    if session.json {
        return print_json(&answer.body);
    }
    let runtimes: Runtimes = parse(&answer.body).map_err(|e| session.agent.foreign(&e.to_string()))?;
    print(&show::runtimes::list(&runtimes, session.look))
}

async fn order(
    session: &Session,
    verb: &str,
    method: Method,
    path: String,
    body: Option<Value>,
    wait: WaitArgs,
) -> Result<(), Failure> {
    let answer = session.agent.give(method, &path, body.as_ref()).await?;
    if answer.status == StatusCode::OK && !session.json {
        return print("nothing to do: it is the active version already\n");
    }
    power::follow(session, verb, answer, wait).await
}

fn of(runtime: &str, what: &str) -> String {
    format!("dev/runtimes/{}/{what}", named(runtime))
}

fn named(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}
