//! Why a backup was not made, not checked or not put back. What was there before still is, unless the text says otherwise.
use std::{
    io,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the disk is full{}; delete old backups or other files", reserve(*least))]
    Full { least: u64 },
    #[error(
        "{what} is more than the {most} that {setting} allows; leave something out (.zlhignore, backups.exclude) or raise it"
    )]
    TooMuch { what: &'static str, most: u64, setting: &'static str },
    #[error("the backup is damaged: {0}; use another one")]
    Damaged(String),
    #[error("the backup is refused: entry {entry:?} {why}")]
    Refused { entry: String, why: String },
    #[error("{}: {why}", path.display())]
    Unsuitable { path: PathBuf, why: String },
    #[error("it was cancelled")]
    Cancelled,
    /// A restore that failed while names were being exchanged.
    #[error("{source}; everything is again as it was")]
    Undone { source: Box<BackupError> },
    #[error("{source}; and taking it back failed: {undoing}. The agent's next start tries again; {} holds what was there", kept.display())]
    Half { source: Box<BackupError>, undoing: Box<BackupError>, kept: PathBuf },
}

fn reserve(least: u64) -> String {
    if least == 0 {
        String::new()
    } else {
        format!(": less than {least} bytes would be left free (backups.min_free_bytes)")
    }
}

/// No space in the middle of a stream: the way through `std::io` to [`BackupError::Full`].
#[derive(Debug, thiserror::Error)]
#[error("no space is left")]
pub(super) struct NoRoom {
    pub least: u64,
}

/// Turns a failure of the disk into one that says what was being done, and where.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| {
        let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let planned = source.get_ref().and_then(|inner| inner.downcast_ref::<NoRoom>()).map(|room| room.least);
        match planned.or(full.then_some(0)) {
            Some(least) => BackupError::Full { least },
            None => BackupError::Io { doing, path, source },
        }
    }
}
