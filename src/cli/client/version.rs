//! `zlh version`: this program's, and the agent's if one answers.
use super::{Session, print, print_json, wire};
use crate::cli::failure::Failure;

const OWN: &str = concat!("v", env!("CARGO_PKG_VERSION"));

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Version {
    version: String,
    commit: String,
}

pub async fn show(session: &Session) -> Result<(), Failure> {
    let agent = session.agent.read("version").await;
    if session.json {
        return print_json(&agent?.body);
    }
    let theirs = match agent {
        Ok(answer) => match wire::parse::<Version>(&answer.body) {
            Ok(v) if v.commit.is_empty() => v.version,
            Ok(v) => format!("{} ({})", v.version, v.commit),
            Err(e) => format!("unreadable: {e}"),
        },
        Err(Failure::Unreachable { .. }) => "none reachable".into(),
        Err(failure) => return Err(failure),
    };
    print(&format!("zlh   {OWN}\nagent {theirs}\n"))
}
