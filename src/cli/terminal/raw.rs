//! Raw mode that ends on every way out: return, error, panic; signals end the command in order and so end it too.
use std::{io, sync::Once};

/// As long as this lives, keys arrive as typed. Standard input must be a terminal.
pub struct RawMode(());

impl RawMode {
    pub fn enter() -> io::Result<RawMode> {
        static PANICS_RESTORE: Once = Once::new();
        PANICS_RESTORE.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // First, or the report comes out as stairs. Without raw mode this does nothing.
                let _ = crossterm::terminal::disable_raw_mode();
                report(panic);
            }));
        });
        crossterm::terminal::enable_raw_mode()?;
        Ok(RawMode(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone (SIGHUP); then there is nothing to restore.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// Columns and rows of the window, if it has any.
pub fn window() -> Option<(u16, u16)> {
    crossterm::terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0)
}
