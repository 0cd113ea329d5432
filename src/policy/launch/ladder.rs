//! The stop ladder: the words of a body or a definition become rungs with numbers.
use super::{unusable, warning};
use crate::model::{game::StopText, refusal::Refusal, snapshot::Warning, workload::StopStep};
use std::time::Duration;

const MAX_STEPS: usize = 8;
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const LONGEST_LINE: usize = 1024;

/// Signals a program may be asked with. SIGKILL is the last rung anyhow and SIGSTOP would only make it deaf.
const SIGNALS: [(&str, i32); 7] =
    [("HUP", 1), ("INT", 2), ("QUIT", 3), ("USR1", 10), ("USR2", 12), ("TERM", 15), ("WINCH", 28)];

pub fn resolve(steps: &[StopText]) -> Result<Vec<StopStep>, Refusal> {
    if steps.len() > MAX_STEPS {
        return Err(unusable("stop", format!("{} steps; at most {MAX_STEPS}", steps.len())));
    }
    steps.iter().enumerate().map(|(at, step)| rung(&format!("stop[{at}]"), step)).collect()
}

fn rung(field: &str, step: &StopText) -> Result<StopStep, Refusal> {
    let wait = duration(&format!("{field}.wait"), &step.wait, Duration::ZERO)?;
    match (&step.stdin, &step.signal) {
        (Some(line), None) if step.group => {
            Err(unusable(format!("{field}.group"), format!("{line:?} is typed, only a signal can go to a group")))
        }
        (Some(line), None) => {
            check_line(&format!("{field}.stdin"), line)?;
            Ok(StopStep::Stdin { line: line.clone(), wait })
        }
        (None, Some(name)) => {
            let signal = signal(&format!("{field}.signal"), name)?;
            Ok(if step.group { StopStep::GroupSignal { signal, wait } } else { StopStep::Signal { signal, wait } })
        }
        _ => Err(unusable(field, "a step has either \"stdin\" (a line to type) or \"signal\", and \"wait\"")),
    }
}

fn check_line(field: &str, line: &str) -> Result<(), Refusal> {
    if line.is_empty() || line.len() > LONGEST_LINE || line.chars().any(char::is_control) {
        return Err(unusable(field, format!("one line of 1 to {LONGEST_LINE} bytes without control characters")));
    }
    Ok(())
}

fn signal(field: &str, text: &str) -> Result<i32, Refusal> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = SIGNALS.iter().find(|(known, number)| *known == name || number.to_string() == name);
    let allowed = SIGNALS.map(|(name, _)| format!("SIG{name}")).join(", ");
    found.map(|(_, number)| *number).ok_or_else(|| unusable(field, format!("allowed: {allowed}")))
}

/// A time span like `20s` or `1m 30s`, from `least` to one hour.
pub fn duration(field: &str, text: &str, least: Duration) -> Result<Duration, Refusal> {
    let allowed = || format!("a time like 20s or 1m30s, {} to 1h", humantime::format_duration(least));
    match humantime::parse_duration(text.trim()) {
        Ok(d) if (least..=LONGEST_WAIT).contains(&d) => Ok(d),
        Ok(_) => Err(unusable(field, format!("{text:?} is out of range; allowed: {}", allowed()))),
        Err(why) => Err(unusable(field, format!("{why}; allowed: {}", allowed()))),
    }
}

/// Console lines after which exit 0 is what was asked for.
pub fn commands(steps: &[StopStep], more: &[String]) -> Vec<String> {
    let typed = steps.iter().filter_map(|step| match step {
        StopStep::Stdin { line, .. } => Some(line),
        StopStep::Signal { .. } | StopStep::GroupSignal { .. } => None,
    });
    let mut out: Vec<String> = Vec::new();
    for line in typed.chain(more) {
        if !out.contains(line) {
            out.push(line.clone());
        }
    }
    out
}

/// A ladder longer than the grace is cut short by SIGKILL.
pub fn budget_warning(steps: &[StopStep], grace: Duration) -> Option<Warning> {
    let total: Duration = steps.iter().map(StopStep::wait).sum();
    let text = || {
        let (total, grace) = (humantime::format_duration(total), humantime::format_duration(grace));
        format!(
            "the stop steps may take {total}, but stop.grace is {grace}: then SIGKILL; raise the one or shorten the other"
        )
    };
    (total > grace).then(|| warning("stop_budget_exceeds_grace", text()))
}
