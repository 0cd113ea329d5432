//! The house rules (ARCHITECTURE.md, CONTRIBUTING.md), enforced by reading the sources as text.
//!
//! Each rule is a function from sources to faults, with a test that it bites on a bad snippet. What must be excused is
//! named in [`exceptions`] with its reason; an exception that excuses nothing any more is a fault itself, so that list
//! can only shrink.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
mod exceptions;
mod papers;
mod rooms;
mod shape;
mod source;
mod twins;

use exceptions::EXCEPTIONS;
use source::{Project, Source};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub rule: &'static str,
    pub path: String,
    /// 1-based; 0 when it is about the whole file.
    pub line: usize,
    pub what: String,
}

impl Fault {
    pub fn new(rule: &'static str, source: &Source, line: usize, what: impl Into<String>) -> Fault {
        Fault { rule, path: source.path.clone(), line, what: what.into() }
    }
}

type Rule = fn(&Project) -> Vec<Fault>;

const RULES: [Rule; 17] = [
    rooms::bans,
    rooms::edges,
    rooms::accounts,
    rooms::environment,
    rooms::process_exit,
    twins::twins,
    twins::wildcards,
    shape::first_line,
    shape::sizes,
    shape::phrases,
    shape::sleeps,
    shape::module_files,
    papers::settings,
    papers::dependencies,
    papers::commands,
    papers::proofs,
    papers::run_tests,
];

/// Faults that no exception excuses, and exceptions that excuse none.
fn judge(faults: Vec<Fault>, exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let excuses = |f: &Fault, e: &(&str, &str, &str)| f.rule == e.0 && f.path == e.1;
    let stale = exceptions.iter().filter(|e| !faults.iter().any(|f| excuses(f, e)));
    let stale: Vec<String> = stale
        .map(|e| format!("tests/tidy/exceptions.rs: {} {} is excused for nothing: remove the line", e.0, e.1))
        .collect();
    let open = faults.iter().filter(|f| !exceptions.iter().any(|e| excuses(f, e)));
    open.map(|f| format!("{}:{}: {}: {}", f.path, f.line, f.rule, f.what)).chain(stale).collect()
}

#[test]
fn the_house_is_tidy() {
    let project = Project::read();
    let faults = RULES.iter().flat_map(|rule| rule(&project)).collect();
    let open = judge(faults, EXCEPTIONS);
    assert!(open.is_empty(), "{} faults:\n{}", open.len(), open.join("\n"));
}

#[test]
fn exceptions_excuse_one_rule_in_one_file_and_only_while_needed() {
    let fault = Fault { rule: "words", path: "src/a.rs".into(), line: 3, what: "todo!".into() };
    assert_eq!(judge(vec![fault.clone()], &[]), ["src/a.rs:3: words: todo!"]);
    assert!(judge(vec![fault.clone()], &[("words", "src/a.rs", "why")]).is_empty());
    assert_eq!(judge(vec![fault.clone()], &[("words", "src/b.rs", "why"), ("size", "src/a.rs", "why")]).len(), 3);
    assert_eq!(judge(vec![], &[("words", "src/a.rs", "why")]).len(), 1);
}

#[test]
fn every_exception_has_a_reason() {
    for (rule, path, reason) in EXCEPTIONS {
        assert!(reason.split_whitespace().count() >= 4, "{rule} {path}: {reason:?} is no reason");
    }
}
