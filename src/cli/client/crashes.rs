//! `zlh crashes`: all of them, or one explained.
use super::{Session, names, now, print, print_json, wire::Crash};
use crate::cli::{failure::Failure, show};

pub async fn show(session: &Session, which: Option<&str>) -> Result<(), Failure> {
    let answer = session.agent.read("crashes").await?;
    let Some(which) = which else {
        if session.json {
            return print_json(&answer.body);
        }
        let crashes: Vec<Crash> = session.parse_list(&answer.body)?;
        return print(&show::crash::table(&crashes, session.look, now()));
    };
    let crashes: Vec<Crash> = session.parse_list(&answer.body)?;
    let id = pick(&crashes, which)?;
    match session.view::<Crash>(&format!("crashes/{id}")).await? {
        Some(crash) => print(&show::crash::report(&crash, session.look, now())),
        None => Ok(()),
    }
}

/// The one crash that `which` means.
fn pick<'a>(crashes: &'a [Crash], which: &str) -> Result<&'a str, Failure> {
    if which == "last" {
        let newest = crashes.iter().max_by_key(|c| c.time);
        return newest.map(|c| c.id.as_str()).ok_or_else(|| Failure::Answer("it never crashed".into()));
    }
    let mut found = crashes.iter().map(|c| c.id.as_str()).filter(|id| names(which, id));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(Failure::Answer(format!("no crash {which:?}; `zlh crashes` lists those that are kept"))),
        (Some(a), Some(b)) => Err(Failure::Usage(format!("{which:?} may be {a} or {b}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::WallTime;

    #[test]
    fn a_crash_is_named_by_either_end_of_its_id() {
        let crash = |id: &str, time| Crash { id: id.into(), time: Some(WallTime(time)), ..Default::default() };
        let crashes = [crash("01-aa", 1), crash("01-bb", 2)];
        assert_eq!(pick(&crashes, "aa").unwrap(), "01-aa");
        assert_eq!(pick(&crashes, "last").unwrap(), "01-bb");
        assert_eq!(pick(&crashes, "01").unwrap_err().code(), 2);
        assert_eq!(pick(&crashes, "cc").unwrap_err().code(), 1);
        assert_eq!(pick(&[], "last").unwrap_err().code(), 1);
    }
}
