//! `zlh codeserver status` for people.
use super::{
    look::{Look, Tone},
    words,
};
use crate::{cli::client::wire::Status, model::time::WallTime};

/// Columns before a value.
const INDENT: usize = 13;

pub fn page(status: &Status, look: Look, now: WallTime) -> String {
    let mut page = headline(status, look);
    let mut row = |name: &str, text: String| {
        let room = usize::from(look.width).saturating_sub(INDENT).max(20);
        let mut name = look.paint(Tone::Faint, &format!("  {name:11}"));
        for line in words::wrap(&text, room) {
            page += &format!("{name}{line}\n");
            name = " ".repeat(INDENT);
        }
    };
    if let Some(pid) = status.pid {
        row("uptime", format!("{}, pid {pid}", words::duration(status.uptime_seconds)));
    }
    if let Some(bytes) = status.code_server_memory_bytes {
        row("memory", words::bytes(bytes));
    }
    if let Some(used) = &status.code_server_activity {
        let by = if used.last_activity == "start" { "" } else { &format!(" ({})", used.last_activity) };
        row("last used", format!("{}{by}, {} connections", words::when(used.last_active_at, now), used.connections));
        row("idle stop", words::when(used.idle_stop_at, now));
    }
    if let Some(at) = status.last_crash_time {
        let exit = words::exit(status.last_crash_exit_code, status.last_crash_signal);
        let why = status.last_crash_reason.as_deref().filter(|why| !why.is_empty());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        row("last crash", format!("{} ({exit}){why}", words::relative(at, now)));
    }
    if let Some(at) = status.next_restart_at {
        row("restart", words::relative(at, now));
    }
    for warning in status.warnings.iter().filter(|w| w.code.starts_with("code_server")) {
        row("warning", format!("{} [{}]", warning.message, warning.code));
    }
    page
}

fn headline(status: &Status, look: Look) -> String {
    let state = status.code_server_state.as_deref().unwrap_or("not installed");
    let tone = match state {
        "running" => Tone::Good,
        "crashed" | "error" => Tone::Bad,
        "starting" | "stopping" => Tone::Doubtful,
        _ => Tone::Faint,
    };
    let port = status.code_server_port.map(|port| format!("  port {port}")).unwrap_or_default();
    format!("{}  code-server{port}\n", look.paint(tone, &format!("● {state}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::wire::parse;

    const NOW: WallTime = WallTime(1_773_165_600_000);

    fn shown(body: &str) -> String {
        page(&parse(body.as_bytes()).unwrap(), Look::plain(100), NOW)
    }

    #[test]
    fn one_that_is_used_says_by_whom_and_until_when() {
        let text = shown(
            r#"{"state":"running","codeServerState":"running","codeServerRunning":true,"codeServerPort":8080,"pid":4121,
                "uptimeSeconds":90,"codeServerMemoryBytes":314572800,"codeServerActivity":{"lastActivity":"terminal",
                "lastActiveAt":"2026-03-10T17:59:00.000Z","connections":2,"idleStopAt":"2026-03-10T18:29:00.000Z"}}"#,
        );
        for part in
            ["● running  code-server  port 8080\n", "pid 4121", "300 MiB", "(terminal), 2 connections", "idle stop"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn one_that_is_down_says_why() {
        let text = shown(
            r#"{"state":"running","codeServerState":"idle","warnings":[{"code":"config_pending","message":"x"},
                {"code":"code_server_idle_stopped","message":"nobody used it"}]}"#,
        );
        assert!(text.starts_with("● idle  code-server\n") && text.contains("nobody used it"), "{text}");
        assert!(!text.contains("config_pending"));
        assert!(shown("{}").starts_with("● not installed  code-server"));
    }
}
