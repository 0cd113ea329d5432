//! The status page: what a person at three in the morning needs, most important first.
use super::{
    look::{Look, Tone},
    words,
};
use crate::cli::client::wire::{Crash, Status};
use crate::model::time::WallTime;
use serde_json::Value;

/// Memory beyond this share of its limit is worth a colour.
const TIGHT: f64 = 0.9;
/// Columns before a value.
const INDENT: usize = 13;

/// `last_crash` adds the hint, which the status itself does not carry.
pub fn page(status: &Status, last_crash: Option<&Crash>, look: Look, now: WallTime) -> String {
    let mut page = Page { look, now, text: headline(status, look) };
    page.readiness(status);
    page.process(status);
    page.resources(status);
    page.operation(status);
    page.crash(status, last_crash);
    page.advice(status);
    page.text
}

/// One line for logs and pipes.
pub fn line(status: &Status, now: WallTime) -> String {
    let mut line = format!("{} {}", words::moment(now), status.state);
    let why = [status.error.as_deref().unwrap_or_default(), status.install_step.as_str(), status.ready_error.as_str()];
    match why.into_iter().find(|w| !w.is_empty()) {
        Some(why) => line += &format!(": {why}"),
        None if status.ready => line += " ready",
        None => {}
    }
    if let Some(at) = status.next_restart_at {
        line += &format!(", restart {}", words::relative(at, now));
    }
    line.replace('\n', " ")
}

fn headline(status: &Status, look: Look) -> String {
    let tone = match status.state.as_str() {
        "running" => Tone::Good,
        "crashed" | "error" => Tone::Bad,
        "idle" => Tone::Faint,
        _ => Tone::Doubtful,
    };
    let mut who = what_it_is(&status.config);
    if who.is_empty() {
        who = format!("{} container", status.container_type);
    }
    let agent = look.paint(Tone::Faint, &format!("agent {}", status.agent_version));
    format!("{}  {}  vmid {}  {agent}\n", look.paint(tone, &format!("● {}", status.state)), who, status.vmid)
}

/// `minecraft/paper 1.21.4 world`, from the saved configuration.
fn what_it_is(config: &Value) -> String {
    let field = |name: &str| config.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let name = match (field("game"), field("variant"), field("runtime")) {
        (Some(game), Some(variant), _) => format!("{game}/{variant}"),
        (Some(name), None, _) | (None, _, Some(name)) => name.to_owned(),
        (None, _, None) => return String::new(),
    };
    [Some(name.as_str()), field("version")].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

struct Page {
    look: Look,
    now: WallTime,
    text: String,
}

impl Page {
    fn row(&mut self, name: &str, tone: Option<Tone>, value: &str) {
        let room = usize::from(self.look.width).saturating_sub(INDENT).max(20);
        let mut name = self.look.paint(Tone::Faint, &format!("  {name:11}"));
        for line in value.lines().flat_map(|line| words::wrap(line, room)) {
            let line = tone.map_or(line.clone(), |tone| self.look.paint(tone, &line));
            self.text += &format!("{name}{line}\n");
            name = " ".repeat(INDENT);
        }
    }

    fn readiness(&mut self, s: &Status) {
        if let Some(error) = s.error.as_deref().filter(|e| !e.is_empty()) {
            self.row("problem", Some(Tone::Bad), error);
        }
        if let Some(error) = s.provisioning_error.as_deref().filter(|e| Some(*e) != s.error.as_deref()) {
            self.row("install", Some(Tone::Bad), error);
        }
        if !s.install_step.is_empty() {
            let share = s.install_progress.map(|p| format!(" ({:.0} %)", p * 100.0)).unwrap_or_default();
            self.row("install", None, &format!("{}{share}", s.install_step));
        }
        let by = if s.ready_source.is_empty() { String::new() } else { format!(", by {}", s.ready_source) };
        match (s.ready, s.ready_error.as_str()) {
            (true, _) => self.row("ready", Some(Tone::Good), &format!("yes{by}")),
            (false, "") => self.row("ready", None, "no"),
            (false, why) => self.row("ready", Some(Tone::Doubtful), &format!("no: {why}")),
        }
    }

    fn process(&mut self, s: &Status) {
        if !s.process_running {
            return;
        }
        let pid = s.pid.map(|p| format!(", pid {p}")).unwrap_or_default();
        let since = s.started_at.map(|at| format!(", since {}", words::moment(at))).unwrap_or_default();
        self.row("uptime", None, &format!("{}{pid}{since}", words::duration(s.uptime_seconds)));
        if let Some(players) = &s.players {
            let names = match players.players.is_empty() {
                true => String::new(),
                false => format!(": {}", players.players.join(", ")),
            };
            self.row("players", None, &format!("{} of {}{names}", players.online, players.max));
        }
    }

    fn resources(&mut self, s: &Status) {
        let u = &s.usage;
        if !s.process_running {
            // What a server that is down uses says nothing.
        } else if u.memory_limit_bytes > 0 {
            let share = u.memory_bytes as f64 / u.memory_limit_bytes as f64;
            let tone = (share >= TIGHT).then_some(Tone::Bad);
            let (used, limit) = (words::bytes(u.memory_bytes), words::bytes(u.memory_limit_bytes));
            self.row("memory", tone, &format!("{} {:.0} % ({used} of {limit})", words::bar(share, 20), share * 100.0));
        } else if u.memory_bytes > 0 {
            self.row("memory", None, &format!("{} (no limit)", words::bytes(u.memory_bytes)));
        }
        if s.process_running {
            self.row("cpu", None, &format!("{:.0} %", u.cpu_percent));
        }
        if u.disk_free_bytes > 0 {
            self.row("disk", None, &format!("{} free", words::bytes(u.disk_free_bytes)));
        }
    }

    fn operation(&mut self, s: &Status) {
        if !s.operation_in_progress {
            return;
        }
        let kind = s.operation_type.as_deref().unwrap_or("operation");
        let since = s.operation_started_at.map(|at| format!(", began {}", words::relative(at, self.now)));
        let step = s.operation_message.as_deref().filter(|m| !m.is_empty()).map(|m| format!(": {m}"));
        self.row(
            "doing",
            Some(Tone::Doubtful),
            &format!("{kind}{}{}", since.unwrap_or_default(), step.unwrap_or_default()),
        );
    }

    fn crash(&mut self, s: &Status, report: Option<&Crash>) {
        let Some(at) = s.last_crash_time else { return };
        let class = s.last_crash_classification.as_deref().unwrap_or("unknown");
        let after = s.last_crash_uptime_seconds.map(|u| format!(" after {}", words::duration(u))).unwrap_or_default();
        let count = if s.crash_count > 1 { format!(", {} crashes in all", s.crash_count) } else { String::new() };
        let exit = words::exit(s.last_crash_exit_code, s.last_crash_signal);
        let what = format!("{}: {class}{after} ({exit}){count}", words::relative(at, self.now));
        // Old news stays on the page, but not in red.
        self.row("last crash", (!s.ready).then_some(Tone::Bad), &what);
        if let Some(reason) = s.last_crash_reason.as_deref().filter(|r| !r.is_empty()) {
            self.row("", None, reason);
        }
        if let Some(hint) = report.map(|r| r.hint.as_str()).filter(|h| !h.is_empty() && !s.ready) {
            self.row("hint", Some(Tone::Strong), hint);
        }
        if let Some(at) = s.next_restart_at {
            let text = format!("attempt {} {}", s.restart_attempt.max(1), words::relative(at, self.now));
            self.row("restart", Some(Tone::Doubtful), &text);
        }
    }

    fn advice(&mut self, s: &Status) {
        for warning in &s.warnings {
            self.row("warning", Some(Tone::Doubtful), &format!("{} [{}]", warning.message, warning.code));
        }
        let next = match s.state.as_str() {
            "crashed" | "error" if s.crash_count > 0 => {
                "`zlh crashes last` explains it, `zlh start` tries again at once"
            }
            "error" => "`zlh doctor` looks for causes, `zlh start` tries again",
            "idle" if s.config.as_object().is_none_or(|c| c.is_empty()) => "nothing is installed yet: POST /config",
            "idle" => "`zlh start` starts it",
            _ => return,
        };
        self.row("next", None, next);
    }
}
