//! What is noted of what people do.
use super::Doorkeeper;
use crate::host::{clock, database::NewEntry};
use std::net::IpAddr;

/// Longest text of a field: paths and names come from outside.
const LONGEST: usize = 300;

/// One deed; its outcome is known later.
#[derive(Clone, Debug)]
pub struct Note {
    pub actor: String,
    pub peer: Option<IpAddr>,
    pub action: String,
    pub object: String,
}

impl Doorkeeper {
    /// Appends to the audit log. One that cannot be written is told loudly, but undoes nothing: the deed is done.
    pub async fn note(&self, note: Note, status: u16) {
        let entry = NewEntry {
            at: clock::wall_time(),
            actor: plain(&note.actor),
            peer: note.peer.map_or("-".into(), |peer| peer.to_string()),
            action: plain(&note.action),
            object: plain(&note.object),
            outcome: status.to_string(),
        };
        let (directory, keep) = (&self.shared.directory, self.shared.settings.audit.keep);
        if let Err(error) = directory.database().append_audit(&entry, keep, &directory.keyring()).await {
            tracing::error!(%error, actor = entry.actor, action = entry.action, "the audit log cannot be written");
        }
    }
}

/// Without what could pass for something else on a screen or in a table; cut to a bearable length.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LONGEST).collect()
}
