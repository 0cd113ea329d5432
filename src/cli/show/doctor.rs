//! The doctor's report.
use super::{
    look::{Look, Tone},
    words,
};
use crate::model::doctor::{Finding, Health};

/// Columns before what was found.
const INDENT: usize = 18;

pub fn report(findings: &[Finding], look: Look) -> String {
    let mut out = String::new();
    for f in findings {
        let (mark, tone) = match f.health {
            Health::Ok => ("✓", Tone::Good),
            Health::Warn => ("!", Tone::Doubtful),
            Health::Fail => ("✗", Tone::Bad),
        };
        let mut margin = format!("{} {:16}", look.paint(tone, mark), f.name);
        let cure = if f.cure.is_empty() { String::new() } else { format!("→ {}", f.cure) };
        for (text, strong) in [(&f.found, false), (&cure, true)] {
            for line in wrapped(text, look) {
                let line = if strong { look.paint(Tone::Strong, &line) } else { line };
                out += &format!("{margin}{line}\n");
                margin = " ".repeat(INDENT);
            }
        }
    }
    out + &summary(findings, look)
}

fn wrapped(text: &str, look: Look) -> Vec<String> {
    let room = usize::from(look.width).saturating_sub(INDENT).max(20);
    text.lines().flat_map(|line| words::wrap(line, room)).collect()
}

fn summary(findings: &[Finding], look: Look) -> String {
    let count = |health| findings.iter().filter(|f| f.health == health).count();
    let (warn, fail) = (count(Health::Warn), count(Health::Fail));
    let tone = match (fail, warn) {
        (0, 0) => Tone::Good,
        (0, _) => Tone::Doubtful,
        _ => Tone::Bad,
    };
    let text = format!("{} checks: {fail} failed, {warn} to look at", findings.len());
    format!("\n{}\n", look.paint(tone, &text))
}
