//! Smaller answers: operations, readiness checks, players.
use super::{
    look::{Look, Tone, finish},
    words,
};
use crate::cli::client::wire::{Operation, Players, Ready};
use crate::model::time::WallTime;

pub fn operations(operations: &[Operation], look: Look, now: WallTime) -> String {
    if operations.is_empty() {
        return "no operations\n".into();
    }
    let mut table = look.table(&["ID", "KIND", "STATE", "BY", "BEGAN", "TOOK", "WHAT"]);
    for o in operations {
        let began = o.started_at.map_or_else(|| "?".into(), |at| words::relative(at, now));
        table.add_row([
            look.cell(Tone::Faint, super::crash::short(&o.id)),
            (&o.kind).into(),
            look.cell(operation_tone(&o.state), &o.state),
            (&o.holder).into(),
            began.into(),
            took(o, now).into(),
            what(o).into(),
        ]);
    }
    finish(table)
}

fn operation_tone(state: &str) -> Tone {
    match state {
        "done" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Doubtful,
    }
}

fn took(o: &Operation, now: WallTime) -> String {
    let end = if o.has_ended() { o.ended_at } else { Some(now) };
    match (o.started_at, end) {
        (Some(from), Some(to)) => words::duration(words::between(from, to)),
        _ => "?".into(),
    }
}

/// The error of a failed operation, the step of a running one.
fn what(o: &Operation) -> String {
    let said = o.error.as_deref().unwrap_or(&o.step).replace('\n', " ");
    let said = if said.is_empty() { o.subject.clone() } else { said };
    match o.progress.filter(|_| !o.has_ended()) {
        Some(share) => format!("{said} ({:.0} %)", share * 100.0),
        None => said,
    }
}

pub fn ready(ready: &Ready, look: Look, now: WallTime) -> String {
    let mut out = match (ready.ready, ready.reason.as_str()) {
        (true, _) => look.paint(Tone::Good, "✓ ready"),
        (false, "") => look.paint(Tone::Bad, "✗ not ready"),
        (false, why) => look.paint(Tone::Bad, &format!("✗ not ready: {why}")),
    };
    out.push('\n');
    if ready.checks.is_empty() {
        return out;
    }
    let mut table = look.table(&["", "CHECK", "WHEN", "RESULT"]);
    for check in &ready.checks {
        let mark = if check.ok { look.cell(Tone::Good, "✓") } else { look.cell(Tone::Bad, "✗") };
        let when = check.at.map_or_else(|| "never".into(), |at| words::relative(at, now));
        table.add_row([mark, (&check.name).into(), when.into(), (&check.detail).into()]);
    }
    out + &finish(table)
}

pub fn players(players: &Players) -> String {
    let mut out = format!("{} of {} playing\n", players.online, players.max);
    for name in &players.players {
        out += &format!("  {name}\n");
    }
    let unnamed = (players.online as usize).saturating_sub(players.players.len());
    if unnamed > 0 && !players.players.is_empty() {
        out += &format!("  and {unnamed} more\n");
    }
    out
}
