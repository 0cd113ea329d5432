//! Backups of a workspace or a server root.
use std::time::Duration;

/// `backups.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Backups {
    /// Backups that are kept, without checkpoints.
    pub keep: usize,
    /// Checkpoints that are kept.
    pub keep_checkpoints: usize,
    /// Patterns of what backups of a workspace leave out ([`crate::model::exclude`]).
    pub exclude: Vec<String>,
    /// Names in one backup.
    pub max_entries: u64,
    /// Bytes of the files in one backup.
    pub max_bytes: u64,
    /// Disk space that making or unpacking a backup leaves free.
    pub min_free_bytes: u64,
    /// How long a game may take to say that its world is saved.
    pub hold_within: Duration,
    /// Work on a backup without any sign of progress for this long has failed.
    pub patience: Duration,
}

impl Default for Backups {
    fn default() -> Backups {
        Backups {
            keep: 7,
            keep_checkpoints: 2,
            // What a tool makes again from what is in the backup; folders with a CACHEDIR.TAG need no pattern.
            exclude: ["node_modules/", "__pycache__/", ".cache/"].map(str::to_owned).to_vec(),
            max_entries: 2_000_000,
            max_bytes: 64 << 30,
            min_free_bytes: 256 << 20,
            hold_within: Duration::from_secs(60),
            patience: Duration::from_secs(180),
        }
    }
}
