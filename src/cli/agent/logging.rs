//! The agent's own log: stderr, text for people or JSON for collectors; `ZLH_LOG` chooses what (default `info`).
use crate::cli::args::LogFormat;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::{EnvFilter, fmt};

pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("ZLH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    // A panic in an actor is one line of the log, not sixty of a backtrace between other people's lines.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(%place, what, "panic");
    }));
}
