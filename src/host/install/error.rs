//! Why nothing was installed. Whatever was there before is still there.
use super::{rules::Refusal, smoke::CheckFailed};
use crate::host::artifacts::{FetchError, Trouble};
use std::{
    io,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("unpacking {archive}: {source}")]
    Unpack { archive: String, source: Box<InstallError> },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Damaged(String),
    #[error("{}: {source}{}", path.display(), cure(source))]
    Disk { path: PathBuf, source: io::Error },
    #[error("{} is in the way: it was not installed by zlh; move it away", .0.display())]
    InTheWay(PathBuf),
    #[error(transparent)]
    Check(#[from] CheckFailed),
    #[error("{first}{}", others.iter().map(|other| format!("; also tried: {other}")).collect::<String>())]
    Everywhere { first: Box<InstallError>, others: Vec<String> },
    #[error("the install was cancelled")]
    Cancelled,
}

impl InstallError {
    /// Names the whole path where a part of a tree could not be made.
    pub(super) fn beneath(self, folder: &Path) -> InstallError {
        match self {
            InstallError::Disk { path, source } => InstallError::Disk { path: folder.join(path), source },
            other => other,
        }
    }

    /// Would other bytes help?
    pub(super) fn trouble(&self) -> Trouble {
        match self {
            InstallError::Fetch(e) => Trouble::of(e),
            InstallError::Unpack { source, .. } => source.trouble(),
            InstallError::Damaged(_) | InstallError::Refused(_) => Trouble::Content,
            _ => Trouble::Local,
        }
    }

    /// The failures of several addresses as one, the first one's first.
    pub(super) fn of_all(failures: Vec<InstallError>) -> InstallError {
        let mut failures = failures.into_iter();
        let first = failures.next().unwrap_or(InstallError::Cancelled);
        let others: Vec<String> = failures.map(|other| other.to_string()).collect();
        if others.is_empty() { first } else { InstallError::Everywhere { first: Box::new(first), others } }
    }
}

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space, then install again",
        io::ErrorKind::ReadOnlyFilesystem => "; make it writable (mount -o remount,rw)",
        io::ErrorKind::PermissionDenied => "; run as root, or make the folder writable",
        _ => "",
    }
}

/// Turns a failure of the disk into one that names the place.
pub(super) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.into();
    move |source| InstallError::Disk { path, source }
}
