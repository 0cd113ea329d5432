//! `zlh backup list` for people.
use super::{
    crash::short,
    look::{Look, Tone, finish},
    words,
};
use crate::{cli::client::wire::Backup, model::time::WallTime};

pub fn list(backups: &[Backup], look: Look, now: WallTime) -> String {
    if backups.is_empty() {
        return "no backups; `zlh backup create` makes one\n".into();
    }
    let mut table = look.table(&["ID", "MADE", "WHAT", "FILES", "SIZE", "UNPACKED", "VERIFIED"]);
    for backup in backups {
        let verified = match &backup.verified {
            None => look.cell(Tone::Faint, "not yet"),
            Some(verified) if verified.sound => look.cell(Tone::Good, &words::when(verified.at, now)),
            Some(verified) => look.cell(Tone::Bad, &format!("DAMAGED: {}", verified.fault)),
        };
        let what = match backup.warning_count {
            0 => backup.reason.clone(),
            n => format!("{}, {n} warnings", backup.reason),
        };
        table.add_row([
            short(&backup.id).into(),
            words::when(backup.created_at, now).into(),
            what.into(),
            backup.entries.to_string().into(),
            words::bytes(backup.archive_bytes).into(),
            words::bytes(backup.bytes).into(),
            verified,
        ]);
    }
    finish(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::wire::parse_list;

    #[test]
    fn a_list_says_what_there_is_and_whether_it_can_be_trusted() {
        let body = br#"{"backups":[
            {"id":"0198c0de-7a11-7abc-8def-0123456789ab","reason":"manual","createdAt":"1970-01-01T00:00:10.000Z","entries":12,
             "bytes":2097152,"archiveBytes":1048576,"warningCount":2,"verified":{"at":"1970-01-01T00:00:20.000Z","sound":true}},
            {"id":"0198c0de-7a11-7abc-8def-0123456789aa","reason":"checkpoint","entries":1,
             "verified":{"at":"1970-01-01T00:00:20.000Z","sound":false,"fault":"a byte"}}]}"#;
        let text = list(&parse_list(body).unwrap(), Look::plain(200), WallTime(70_000));
        for said in
            ["(1 min ago)", "manual, 2 warnings", "1.0 MiB", "2.0 MiB", "(50 s ago)", "DAMAGED: a byte", "checkpoint"]
        {
            assert!(text.contains(said), "{said}:\n{text}");
        }
        assert!(list(&[], Look::plain(80), WallTime(0)).contains("zlh backup create"));
    }
}
