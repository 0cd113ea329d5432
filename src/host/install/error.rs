//! Why nothing was installed. Whatever was there before is still there.
use super::{rules::Refusal, smoke::CheckFailed};
use crate::host::artifacts::FetchError;
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

    /// Could bytes that were kept on disk be to blame?
    pub(super) fn may_be_stale(&self) -> bool {
        match self {
            InstallError::Fetch(e) => !e.fault.is_local(),
            InstallError::Unpack { source, .. } => source.may_be_stale(),
            InstallError::Damaged(_) | InstallError::Refused(_) => true,
            _ => false,
        }
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
