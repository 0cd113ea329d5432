//! Finds what the rules say about a log: which lines may be believed, which rules hit, and what each hit is worth.
use super::{
    Evidence, catalog,
    catalog::{Rule, Set, Strength},
    status,
};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::time::Duration;

/// A fatal line that is older, or lies further back, did not end this run by itself.
const RECENT: Duration = Duration::from_secs(120);
const RECENT_LINES: usize = 200;
/// Room for the compiled sets; all of them together need about 10 MiB.
const REGEX_BYTES: usize = 64 << 20;

/// What a hit is worth in this case, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    Fatal,
    /// Evidence only, or fatal elsewhere: too old, or with another exit code.
    Evidence,
    /// From before the server was up.
    History,
}

/// One rule on one line.
#[derive(Debug)]
pub(super) struct Hit {
    /// Index into [`Findings::rules`].
    pub rule: usize,
    /// Index into [`Findings::lines`].
    pub line: usize,
    pub weight: Weight,
}

/// One line that rules looked at.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub text: String,
    /// 1-based within the tail, 0 in a crash file.
    pub number: u32,
    /// A player may have brought text into it.
    distrusted: bool,
    recent: bool,
    before_ready: bool,
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub rules: Vec<Rule>,
    pub lines: Vec<Line>,
    pub hits: Vec<Hit>,
    /// What could not be used, as sentences.
    pub faults: Vec<String>,
}

/// Looks at the tail and at the lines of a crash file.
pub(super) fn scan(evidence: &Evidence, file_lines: &[String]) -> Findings {
    let (sets, faults) = catalog::load(evidence.signatures);
    let mut findings = Findings { faults, ..Findings::default() };
    if let Err(e) = find(evidence, file_lines, sets, &mut findings) {
        findings.faults.push(format!("the crash signatures could not be used: {e}"));
    }
    findings
}

fn find(evidence: &Evidence, file: &[String], sets: Vec<Set>, findings: &mut Findings) -> Result<(), regex::Error> {
    findings.lines = believable(evidence, file, &sets)?;
    findings.rules = sets.into_iter().flat_map(|s| s.rules).collect();
    drop_false_alarms(findings)?;
    findings.hits = hits(evidence, &findings.rules, &findings.lines)?;
    Ok(())
}

/// Lines no player can have written, each with what makes it more or less worth.
fn believable(evidence: &Evidence, file: &[String], sets: &[Set]) -> Result<Vec<Line>, regex::Error> {
    let chat = any_of(sets.iter().flat_map(|s| &s.chat))?;
    let distrust = any_of(sets.iter().flat_map(|s| &s.distrust))?;
    let ready = any_of(sets.iter().flat_map(|s| &s.ready))?;
    let tail = evidence.tail;
    let usable = |index: usize| !tail[index].torn && !chat.is_match(&tail[index].text);
    let up_from = (0..tail.len()).rev().find(|i| usable(*i) && ready.is_match(&tail[*i].text)).unwrap_or(0);
    let log = (0..tail.len()).filter(|i| usable(*i)).map(|i| Line {
        number: u32::try_from(i + 1).unwrap_or(u32::MAX),
        distrusted: distrust.is_match(&tail[i].text),
        recent: tail.len() - i <= RECENT_LINES && tail[i].age.is_none_or(|age| age <= RECENT),
        before_ready: i < up_from,
        text: tail[i].text.clone(),
    });
    let from_file =
        |text: &String| Line { text: text.clone(), number: 0, distrusted: false, recent: true, before_ready: false };
    Ok(log.chain(file.iter().map(from_file)).collect())
}

/// A line that looks like a crash and is none must not be taken for one by another rule.
fn drop_false_alarms(findings: &mut Findings) -> Result<(), regex::Error> {
    let alarms = any_of(findings.rules.iter().filter(|r| r.strength == Strength::Never).map(|r| &r.pattern))?;
    findings.lines.retain(|l| !alarms.is_match(&l.text));
    Ok(())
}

/// Two stages: one pass over the whole text tells which rules are there at all, then only these look at each line.
fn hits(evidence: &Evidence, rules: &[Rule], lines: &[Line]) -> Result<Vec<Hit>, regex::Error> {
    let text = lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>().join("\n");
    let present = any_of(rules.iter().map(|r| &r.pattern))?.matches(&text);
    let mut hits = Vec::new();
    for index in present.iter().filter(|i| rules[*i].strength != Strength::Never) {
        let rule = &rules[index];
        let regex = compile(&rule.pattern)?;
        let means = |l: &Line| {
            let excepted = rule.unless.as_ref().is_some_and(|u| l.text.contains(u));
            !excepted && (!l.distrusted || (rule.info && !evidence.was_ready)) && regex.is_match(&l.text)
        };
        for (line, found) in lines.iter().enumerate().filter(|(_, l)| means(l)) {
            hits.push(Hit { rule: index, line, weight: weight(evidence, rule, found) });
        }
    }
    Ok(hits)
}

fn weight(evidence: &Evidence, rule: &Rule, line: &Line) -> Weight {
    if line.before_ready {
        return Weight::History;
    }
    match rule.strength == Strength::Fatal && line.recent && gate_open(evidence, rule) {
        true => Weight::Fatal,
        false => Weight::Evidence,
    }
}

pub(super) fn gate_open(evidence: &Evidence, rule: &Rule) -> bool {
    let code = status::gate_code(evidence.status);
    rule.gate.is_empty() || code.is_some_and(|code| rule.gate.contains(&code))
}

/// The named groups of a hit.
pub(super) fn captures(rule: &Rule, text: &str) -> Vec<(String, String)> {
    // It matched a moment ago, so it compiles.
    let Ok(regex) = compile(&rule.pattern) else { return Vec::new() };
    let Some(found) = regex.captures(text) else { return Vec::new() };
    let named = regex.capture_names().flatten();
    named.filter_map(|n| found.name(n).map(|m| (n.to_owned(), m.as_str().chars().take(200).collect()))).collect()
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).build()
}

fn any_of<'a>(patterns: impl Iterator<Item = &'a String>) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns).multi_line(true).size_limit(REGEX_BYTES).build()
}

/// Best first: weight, class, what says most, the first error before its fallout; on one line the more specific set.
pub(super) fn ranked(findings: &Findings) -> Vec<&Hit> {
    let mut hits: Vec<&Hit> = findings.hits.iter().filter(|h| h.weight != Weight::History).collect();
    hits.sort_by_key(|h| {
        let rule = &findings.rules[h.rule];
        (h.weight, rule.class, rule.generic, h.line, h.rule)
    });
    hits
}
