//! `zlh runtimes list` for people.
use super::{
    look::{Look, Tone, finish},
    words,
};
use crate::cli::client::wire::Runtimes;

/// Users of a version that are named; of more it is said how many.
const NAMED: usize = 3;

pub fn list(runtimes: &Runtimes, look: Look) -> String {
    let mut out = installed(runtimes, look);
    if let Some(why) = &runtimes.available_error {
        out += &format!("what could be installed is not known: {why}\n");
    } else if !runtimes.available.is_empty() {
        out += "available:\n";
        for row in &runtimes.available {
            out += &format!("  {}  {}\n", row.id, row.versions.join(" "));
        }
    }
    out
}

fn installed(runtimes: &Runtimes, look: Look) -> String {
    if runtimes.installed.is_empty() {
        return "no runtimes installed\n".into();
    }
    let mut table = look.table(&["ACTIVE", "RUNTIME", "VERSION", "SIZE", "CHECKED", "USED BY"]);
    for row in &runtimes.installed {
        let mark = if row.active { look.cell(Tone::Good, "●") } else { "".into() };
        let checked = match row.verified {
            true => look.cell(Tone::Good, "yes"),
            false => look.cell(Tone::Doubtful, "no hash"),
        };
        let mut users: Vec<String> =
            row.in_use_by.iter().take(NAMED).map(|user| format!("{} ({})", user.pid, user.name)).collect();
        if row.in_use_by.len() > NAMED {
            users.push(format!("and {} more", row.in_use_by.len() - NAMED));
        }
        table.add_row([
            mark,
            (&row.id).into(),
            (&row.version).into(),
            words::bytes(row.size).into(),
            checked,
            users.join(", ").into(),
        ]);
    }
    finish(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::wire::parse;

    #[test]
    fn a_list_says_what_is_there_and_what_could_be() {
        let body = br#"{"installed":[{"id":"node","version":"22","size":104857600,"active":true,"verified":true,
            "inUseBy":[{"pid":1,"name":"a"},{"pid":2,"name":"b"},{"pid":3,"name":"c"},{"pid":4,"name":"d"}]}],
            "available":[{"id":"go","versions":["1.22","1.25"]}]}"#;
        let text = list(&parse(body).unwrap(), Look::plain(120));
        assert!(text.contains("node") && text.contains("1 (a), 2 (b), 3 (c), and 1 more"), "{text}");
        assert!(text.ends_with("available:\n  go  1.22 1.25\n"), "{text}");
        let none = list(&parse(br#"{"availableError":"no artifacts_url"}"#).unwrap(), Look::plain(120));
        assert_eq!(none, "no runtimes installed\nwhat could be installed is not known: no artifacts_url\n");
    }
}
