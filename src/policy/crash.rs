//! Why did it end? Decides class, cause, hint and chance of a retry from everything known about one finished run.
//!
//! Order of evidence: the program never ran (errno) · the kernel's out-of-memory counter · signatures of
//! `catalog/crash/` in the log's end and in a crash file · the exit status alone.
//!
//! Of several signatures the best one decides: fatal before mere evidence, then `oom`, `missing_dependency`,
//! `mod_or_plugin_error`, by status; then the earliest line, because the first error is the cause and the rest its
//! fallout. A fatal line that is old (120 s, 200 lines) or comes with the wrong exit code is evidence only; what was
//! said before the server was up ended nothing.
//!
//! Players write into logs. Chat is not looked at, lines that can carry a player's text are believed only by few rules
//! and only before anyone could join, a line with a missing beginning not at all. And a signature never makes a crash:
//! the caller asks only after an exit nobody wanted.
//!
//! Patterns are compiled for one decision and dropped: about 10 ms a crash, and nothing stays in memory.
mod catalog;
mod crash_file;
mod hint;
mod redact;
mod scan;
mod status;
mod suspect;
mod tail;

pub use catalog::is_signature_set;
pub use crash_file::CrashFile;
pub use redact::Redactor;
pub use suspect::suspected_mod;
pub use tail::{LINE_BYTES, LogLine, TAIL_BYTES, TAIL_LINES, log_tail};

use crate::model::{
    crash::{Classification, Confidence, Evidence as EvidenceLine, Retry, Verdict},
    exit::ExitStatus,
};
use catalog::{Class, Rule};
use scan::{Findings, Hit, Weight};

/// Lines that speak for a verdict, and characters of each.
const EVIDENCE_LINES: usize = 8;
const EVIDENCE_CHARS: usize = 300;

/// Who wanted the run to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndedBy {
    /// Nobody here.
    #[default]
    Itself,
    /// An accepted stop, restart or kill: never a crash, the verdict is for the history only.
    Stop,
    /// Supervision, because it was not ready in time.
    NotReady,
    /// Supervision, because it no longer answered.
    Hang,
}

/// The program could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecFailure {
    pub errno: i32,
    /// A sentence that names the step and the program.
    pub message: String,
}

/// Bytes; zero or `None` = unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub peak_bytes: u64,
    pub limit_bytes: Option<u64>,
}

/// Everything known about one finished run. Texts must be redacted already: they go into the verdict.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    pub status: ExitStatus,
    /// Was it ready at any time in this run?
    pub was_ready: bool,
    /// Did it prove that it can work: by a probe, or, where nothing probes it, by living for long enough?
    pub proven: bool,
    /// How far the kernel's oom_kill counter rose; `None` where it cannot be read.
    pub oom_kills: Option<u64>,
    pub memory: Memory,
    pub exec_failure: Option<&'a ExecFailure>,
    pub ended_by: EndedBy,
    /// Only lines of this run, see [`log_tail`].
    pub tail: &'a [LogLine],
    pub crash_file: Option<CrashFile<'a>>,
    /// Names of signature sets; `common` is always asked, `all` means every one.
    pub signatures: &'a [String],
}

impl<'a> Evidence<'a> {
    /// A run that ended by itself, of which only this is known.
    pub fn of(status: ExitStatus, tail: &'a [LogLine], signatures: &'a [String]) -> Self {
        Evidence {
            status,
            was_ready: false,
            proven: false,
            oom_kills: None,
            memory: Memory::default(),
            exec_failure: None,
            ended_by: EndedBy::Itself,
            tail,
            crash_file: None,
            signatures,
        }
    }
}

/// Decides. Takes about 10 ms, so a caller that must not wait asks in a task of its own.
pub fn classify(evidence: &Evidence) -> Verdict {
    if let Some(failure) = evidence.exec_failure {
        return status::never_ran(failure);
    }
    let facts = evidence.crash_file.as_ref().map(crash_file::parse).unwrap_or_default();
    let findings = scan::scan(evidence, &facts.lines);
    let hits = scan::ranked(&findings);
    let mut verdict = match (status::out_of_memory(evidence), hits.first()) {
        (Some(kernel), _) => kernel,
        (None, Some(best)) => by_rule(evidence, &findings, best),
        (None, None) => status::fallback(evidence),
    };
    add_suspect(&mut verdict, &findings, &hits);
    add_crash_file(&mut verdict, facts);
    add_evidence(&mut verdict, &findings, &hits);
    verdict
}

fn by_rule(evidence: &Evidence, findings: &Findings, hit: &Hit) -> Verdict {
    let rule = &findings.rules[hit.rule];
    let line = findings.lines[hit.line].text.trim();
    let mut captures = scan::captures(rule, &findings.lines[hit.line].text).into_iter().collect();
    hint::add_derived(&mut captures);
    Verdict {
        classification: classification(rule.class, evidence.status),
        code: rule.code.clone(),
        confidence: confidence(rule, hit),
        retry: retry(evidence, rule, hit),
        rule: rule.id.clone(),
        reason: shortened(line),
        hint: hint::filled(&rule.hint, &captures),
        captures,
        evidence: Vec::new(),
    }
}

fn classification(class: Class, status: ExitStatus) -> Classification {
    match class {
        Class::Oom => Classification::Oom,
        Class::MissingDependency => Classification::MissingDependency,
        Class::ModOrPluginError => Classification::ModOrPluginError,
        Class::Status => status::class(status),
    }
}

fn confidence(rule: &Rule, hit: &Hit) -> Confidence {
    match hit.weight {
        Weight::Fatal if !rule.gate.is_empty() => Confidence::Certain,
        Weight::Fatal => Confidence::Likely,
        Weight::Evidence | Weight::History => Confidence::Weak,
    }
}

/// "Never" is only for what cannot get better: not for mere evidence, and not for a server that worked in this very run.
fn retry(evidence: &Evidence, rule: &Rule, hit: &Hit) -> Retry {
    let doubtful = hit.weight != Weight::Fatal || evidence.proven;
    match rule.retry {
        Retry::Never if doubtful => Retry::Once,
        other => other,
    }
}

/// Where the deciding line names no mod, another line that speaks of one names the suspect.
fn add_suspect(verdict: &mut Verdict, findings: &Findings, hits: &[&Hit]) {
    if verdict.classification == Classification::Oom || suspect::captured(verdict).is_some() {
        return;
    }
    let named = hits.iter().take(EVIDENCE_LINES).find_map(|hit| {
        let captures = scan::captures(&findings.rules[hit.rule], &findings.lines[hit.line].text);
        captures.into_iter().find(|(name, _)| suspect::CAPTURES.contains(&name.as_str()))
    });
    verdict.captures.extend(named);
}

/// A crash file says in words what the log only hints at: it completes a verdict that no specific rule made.
fn add_crash_file(verdict: &mut Verdict, facts: crash_file::Facts) {
    let unspecific = matches!(verdict.classification, Classification::NonzeroExit | Classification::UnexpectedExit);
    if let Some(library) = facts.library {
        verdict.hint = verdict.hint.replace("see the hs_err file", &library);
        verdict.captures.insert("library".to_owned(), library);
    }
    if let Some(description) = facts.description {
        if unspecific {
            verdict.reason = shortened(&description);
        }
        verdict.captures.insert("description".to_owned(), shortened(&description));
    }
}

fn add_evidence(verdict: &mut Verdict, findings: &Findings, hits: &[&Hit]) {
    if verdict.rule.is_empty() && verdict.confidence >= Confidence::Likely {
        verdict.evidence.push(EvidenceLine { rule: verdict.code.clone(), line: 0, text: verdict.reason.clone() });
    }
    let lines = hits.iter().map(|hit| EvidenceLine {
        rule: findings.rules[hit.rule].id.clone(),
        line: findings.lines[hit.line].number,
        text: shortened(findings.lines[hit.line].text.trim()),
    });
    let faults =
        findings.faults.iter().map(|f| EvidenceLine { rule: "catalog".to_owned(), line: 0, text: shortened(f) });
    verdict.evidence.extend(lines.take(EVIDENCE_LINES).chain(faults));
}

fn shortened(text: &str) -> String {
    text.chars().take(EVIDENCE_CHARS).collect()
}

#[cfg(test)]
mod tests;
