//! Crashes: the table of all, and one explained.
use super::{
    look::{Look, Tone, finish},
    words,
};
use crate::cli::client::wire::Crash;
use crate::model::time::WallTime;

/// Lines of the log shown before and after the deciding one.
const CONTEXT: usize = 8;
/// Lines shown when no line decided.
const TAIL: usize = 20;

pub fn table(crashes: &[Crash], look: Look, now: WallTime) -> String {
    if crashes.is_empty() {
        return "no crashes\n".into();
    }
    let mut table = look.table(&["ID", "WHEN", "CLASS", "CODE", "UPTIME", "REASON → DECISION"]);
    for c in crashes {
        let when = c.time.map_or_else(|| "unknown".into(), |at| words::relative(at, now));
        table.add_row([
            look.cell(Tone::Faint, short(&c.id)),
            when.into(),
            look.cell(Tone::Bad, &c.classification),
            (&c.code).into(),
            words::duration(c.uptime_seconds).into(),
            format!("{}\n→ {}", first_line(&c.reason), c.decision).into(),
        ]);
    }
    finish(table)
}

/// Enough of an id to name it: the random end of a UUIDv7, whose beginning is the time and alike for all.
pub fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The whole report, cause first.
pub fn report(c: &Crash, look: Look, now: WallTime) -> String {
    let class = format!("✗ {}", c.classification);
    let mut out = format!("{}  {}  {}\n\n", look.paint(Tone::Bad, &class), c.code, look.paint(Tone::Faint, &c.id));
    let memory =
        if c.peak_memory_bytes > 0 { format!("{} at most", words::bytes(c.peak_memory_bytes)) } else { String::new() };
    let rows = [
        ("why", look.paint(Tone::Strong, &c.reason)),
        ("what to do", c.hint.clone()),
        ("suspect", c.suspected_mod.clone().unwrap_or_default()),
        ("when", words::when(c.time, now)),
        ("after", life(c)),
        ("ended by", ending(c)),
        ("memory", memory),
        ("then", c.decision.clone()),
        ("decided by", judge(c)),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let value = value.trim_end().replace('\n', &format!("\n  {:11}", ""));
        out += &format!("  {}{value}\n", look.paint(Tone::Faint, &format!("{name:11}")));
    }
    out += &changes(c, look);
    out += &log(c, look);
    out += &file(c, look);
    out
}

fn life(c: &Crash) -> String {
    let ready = if c.was_ready { "had been ready" } else { "never became ready" };
    format!("{} ({ready})", words::duration(c.uptime_seconds))
}

fn ending(c: &Crash) -> String {
    let core = if c.core_dumped { ", core dumped" } else { "" };
    format!("{}{core}", words::exit(c.exit_code, c.signal))
}

fn judge(c: &Crash) -> String {
    match (c.rule.as_str(), c.confidence.as_str()) {
        ("", _) => "the exit status alone".into(),
        (rule, "") => format!("rule {rule}"),
        (rule, confidence) => format!("rule {rule}, {confidence}"),
    }
}

fn changes(c: &Crash, look: Look) -> String {
    if c.changes.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", look.paint(Tone::Strong, "Changed since the last good start"));
    for change in &c.changes {
        let detail = if change.detail.is_empty() { String::new() } else { format!("  {}", change.detail) };
        out += &format!("  {:8} {}{detail}\n", change.kind, change.what);
    }
    out
}

/// The deciding line with its neighbours, or the end of the log.
fn log(c: &Crash, look: Look) -> String {
    if c.log_tail.is_empty() {
        return String::new();
    }
    let lines = c.log_tail.len();
    let decided: Vec<usize> = c.evidence.iter().map(|e| e.line).filter(|n| (1..=lines).contains(n)).collect();
    let (from, to, title) = match decided.first() {
        Some(&line) => (
            line.saturating_sub(CONTEXT + 1),
            (line + CONTEXT).min(lines),
            format!("Log around line {line} of the last {lines}"),
        ),
        None => (lines.saturating_sub(TAIL), lines, "End of the log".to_owned()),
    };
    let mut out = format!("\n{}\n", look.paint(Tone::Strong, &title));
    for (at, line) in c.log_tail.iter().enumerate().take(to).skip(from) {
        let (mark, line) = match decided.contains(&(at + 1)) {
            true => (look.paint(Tone::Bad, ">"), look.paint(Tone::Bad, line)),
            false => (" ".into(), line.clone()),
        };
        out += format!("{mark} {line}").trim_end();
        out.push('\n');
    }
    out
}

fn file(c: &Crash, look: Look) -> String {
    let Some(path) = &c.crash_file else { return String::new() };
    let mut out = format!("\n{} {path}\n", look.paint(Tone::Strong, "Crash file"));
    for line in c.crash_file_text.as_deref().unwrap_or_default().lines().take(2 * TAIL) {
        out += format!("  {line}").trim_end();
        out.push('\n');
    }
    out
}
