//! Why did it end? Gathers the evidence of one run and lets the crash engine speak.
use crate::{
    host::{
        accounts,
        console_log::ConsoleLog,
        crash_files::{CrashFile, crash_files},
        file_manifest::{Limits, Manifest, changes, snapshot},
        store::{Durability, Store},
    },
    model::{
        crash::{Change, CrashReport, Verdict},
        settings::{self, Settings},
        workload::{ReadyProbe, WorkloadSpec},
    },
    policy::{
        crash::{self, EndedBy, Evidence, LogLine, Memory, Redactor, TAIL_BYTES, TAIL_LINES},
        game_server::effect::Ended,
    },
};
use std::{io, sync::Arc, time::Duration};

const GOOD_START: &str = "good-start";
/// Lines of the console that a report keeps.
const REPORT_LINES: usize = 200;
/// Characters of a crash file that a report keeps.
const CRASH_FILE_KEPT: usize = 64 << 10;

/// A restart without delay goes first: the engine takes some ten milliseconds of a core, more than the restart does.
const AFTER_YOU: Duration = Duration::from_millis(50);

/// Judges runs of one workload.
#[derive(Clone)]
pub struct Judge {
    console: ConsoleLog,
    records: Store,
    limits: settings::Limits,
    /// Without a probe everything that starts counts as ready at once. What dies sooner than this never worked.
    worked: Duration,
}

/// What was found lying about after a run.
#[derive(Default)]
struct Found {
    files: Vec<CrashFile>,
    changes: Vec<Change>,
}

impl Judge {
    pub fn new(console: ConsoleLog, records: Store, settings: &Settings) -> Judge {
        Judge { console, records, limits: settings.limits.clone(), worked: settings.restart.reset_after }
    }

    /// Remembers the watched files as they are now.
    pub async fn note_good_start(self, spec: Arc<WorkloadSpec>) {
        let noted = tokio::task::spawn_blocking(move || self.note(&spec)).await;
        match noted {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::warn!("the files of this good start could not be noted: {why}"),
            Err(e) => tracing::error!("noting the files of a good start broke off: {e}"),
        }
    }

    fn note(&self, spec: &WorkloadSpec) -> Result<(), String> {
        let before = self.noted();
        let now = snapshot(&spec.cwd, &spec.watched_files, self.watched(), &before).map_err(|e| e.to_string())?;
        if now == before {
            return Ok(());
        }
        self.records.save(GOOD_START, &now, Durability::Process).map_err(|e| e.to_string())
    }

    fn watched(&self) -> Limits {
        Limits { files: self.limits.watched_files, hash_bytes: self.limits.watched_hash_bytes }
    }

    fn noted(&self) -> Manifest {
        let noted = self.records.load(GOOD_START).unwrap_or_else(|e| {
            tracing::warn!("what the last good start looked like is lost: {e}");
            None
        });
        noted.unwrap_or_default()
    }

    /// Always an answer, at worst from the exit status alone. `secrets` never leave with it.
    pub async fn classify(self, ended: Ended, secrets: Vec<String>) -> CrashReport {
        tokio::time::sleep(AFTER_YOU).await;
        let (bytes, whole) = self.output(&ended).await;
        let (fallback, worked) = (ended.clone(), self.worked);
        let judged = tokio::task::spawn_blocking(move || self.judge(&ended, &bytes, whole, &secrets)).await;
        judged.unwrap_or_else(|e| {
            tracing::error!("the crash engine broke off: {e}");
            let evidence = evidence(&fallback, worked, &[], &[]);
            report(&fallback, crash::classify(&evidence), None, &[], &Found::default(), &no_secrets)
        })
    }

    /// The end of this run's console output, and whether that is all of it.
    async fn output(&self, ended: &Ended) -> (Vec<u8>, bool) {
        let (start, end) = (ended.exit.log_start, ended.exit.log_end);
        let mut next = start.max(end.saturating_sub(TAIL_BYTES as u64));
        let (first, mut bytes) = (next, Vec::new());
        while next < end {
            match self.console.read(next, (end - next) as usize).await {
                Ok(piece) if piece.bytes.is_empty() => break,
                Ok(piece) => {
                    next = piece.from + piece.bytes.len() as u64;
                    bytes.extend_from_slice(&piece.bytes);
                }
                Err(e) => {
                    tracing::warn!("the console's end could not be read: {e}");
                    break;
                }
            }
        }
        (bytes, first == start)
    }

    fn judge(&self, ended: &Ended, bytes: &[u8], whole: bool, secrets: &[String]) -> CrashReport {
        let redactor = Redactor::new(secrets.iter().map(String::as_str));
        let redactor = redactor.inspect_err(|e| tracing::error!("secrets cannot be taken out: {e}")).ok();
        // Without a redactor nothing is shown: a missing tail is better than a token in a status.
        let clean = |text: &str| redactor.as_ref().map_or_else(String::new, |r| r.redact(text));
        let mut tail = crash::log_tail(bytes, whole, TAIL_LINES);
        tail.iter_mut().for_each(|line| line.text = clean(&line.text));
        let mut found = self.look_around(ended);
        found.files.iter_mut().for_each(|file| file.text = clean(&file.text));
        let evidence = evidence(ended, self.worked, &tail, &found.files);
        let verdict = crash::classify(&evidence);
        let suspect = crash::suspected_mod(&verdict, &evidence);
        report(ended, verdict, suspect, &tail, &found, &clean)
    }

    fn look_around(&self, ended: &Ended) -> Found {
        let (root, exit) = (&ended.spec.cwd, &ended.exit);
        let span = (exit.started_at, exit.ended_at);
        let files = owner(&ended.spec).and_then(|uid| crash_files(root, uid, span, self.limits.crash_file_bytes));
        let files = files.inspect_err(|e| tracing::warn!("no crash files: {e}")).unwrap_or_default();
        let before = self.noted();
        let after = snapshot(root, &ended.spec.watched_files, self.watched(), &before);
        let after = after.inspect_err(|e| tracing::warn!("changed files are unknown: {e}"));
        let changes = match after {
            Ok(after) if before != Manifest::default() => changes(&before, &after),
            Ok(_) | Err(_) => Vec::new(),
        };
        Found { files, changes }
    }
}

/// Number of the account the workload ran as.
fn owner(spec: &WorkloadSpec) -> io::Result<u32> {
    let account = match &spec.user {
        None => accounts::own()?,
        Some(name) => accounts::look_up(name)?.ok_or_else(|| io::Error::other(format!("account {name:?} is gone")))?,
    };
    Ok(account.uid)
}

fn no_secrets(text: &str) -> String {
    text.to_owned()
}

fn evidence<'a>(ended: &'a Ended, worked: Duration, tail: &'a [LogLine], files: &'a [CrashFile]) -> Evidence<'a> {
    Evidence {
        was_ready: ended.was_ready,
        proven: match ended.spec.ready.probe {
            ReadyProbe::None => ended.exit.uptime() >= worked,
            _ => ended.was_ready,
        },
        oom_kills: ended.exit.oom_kills,
        memory: Memory { peak_bytes: ended.exit.max_rss_bytes, limit_bytes: ended.spec.memory_bytes },
        ended_by: if ended.hung { EndedBy::Hang } else { EndedBy::Itself },
        crash_file: files.first().map(|file| crash::CrashFile { path: &file.path, text: &file.text }),
        ..Evidence::of(ended.exit.status, tail, &ended.spec.signatures)
    }
}

fn report(
    ended: &Ended,
    verdict: Verdict,
    suspected_mod: Option<String>,
    tail: &[LogLine],
    found: &Found,
    clean: &dyn Fn(&str) -> String,
) -> CrashReport {
    let exit = &ended.exit;
    let file = found.files.first();
    CrashReport {
        id: uuid::Uuid::now_v7().to_string(),
        run: exit.run,
        time: exit.ended_at,
        exit_code: exit.status.code(),
        signal: exit.status.signal(),
        core_dumped: matches!(exit.status, crate::model::exit::ExitStatus::Signal { core_dumped: true, .. }),
        uptime_seconds: exit.uptime().as_secs(),
        was_ready: ended.was_ready,
        peak_memory_bytes: exit.max_rss_bytes,
        verdict,
        suspected_mod,
        crash_file: file.map(|f| f.path.clone()),
        crash_file_text: file.map(|f| clean(&f.text).chars().take(CRASH_FILE_KEPT).collect()),
        log_tail: tail.iter().skip(tail.len().saturating_sub(REPORT_LINES)).map(|l| l.text.clone()).collect(),
        changes: found.changes.clone(),
        decision: ended.decision.clone(),
        status: Some(exit.status),
    }
}
