//! Can the workload's account get into the server root, write there, and run the program?
use super::PrepareError;
use crate::{
    host::accounts::{Account, as_account},
    model::workload::WorkloadSpec,
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, open},
    sys::stat::Mode,
    unistd::{AccessFlags, faccessat},
};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Names the first folder on the way that stops the account.
pub fn check(account: &Account, root: &Path) -> Result<(), PrepareError> {
    let io = |source| PrepareError::Io { path: root.to_owned(), source };
    let blocked = as_account(account, || first_blocked(root)).map_err(io)?.map_err(io)?;
    if let Some(at) = blocked {
        let mode = fs::metadata(&at).map_or(0, |about| about.permissions().mode() & 0o7777);
        return Err(PrepareError::Unreachable { account: account.name.clone(), at, mode });
    }
    match as_account(account, || allows(root, AccessFlags::W_OK)).map_err(io)? {
        Ok(()) => Ok(()),
        Err(Errno::EACCES) => Err(PrepareError::NotWritable { account: account.name.clone(), root: root.to_owned() }),
        Err(Errno::EROFS) => Err(PrepareError::ReadOnly(root.to_owned())),
        Err(e) => Err(io(e.into())),
    }
}

/// Passing a folder means being allowed to open what it calls `.`.
fn first_blocked(root: &Path) -> io::Result<Option<PathBuf>> {
    let mut ancestors: Vec<&Path> = root.ancestors().collect();
    ancestors.reverse();
    for folder in ancestors {
        match open(&folder.join("."), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(_) => {}
            Err(Errno::EACCES) => return Ok(Some(folder.to_owned())),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(None)
}

fn allows(path: &Path, what: AccessFlags) -> Result<(), Errno> {
    faccessat(AT_FDCWD, path, what, AtFlags::AT_EACCESS)
}

/// The program as the launch will find it: an absolute path, or the first hit in the workload's own `PATH`.
pub fn program(account: &Account, spec: &WorkloadSpec) -> Result<PathBuf, PrepareError> {
    let name = spec.argv.first().map(String::as_str).unwrap_or_default();
    let fault = |reason: String| PrepareError::Program { program: name.into(), account: account.name.clone(), reason };
    let path = spec.env.get("PATH").map(String::as_str).unwrap_or_default();
    let places: Vec<PathBuf> = match name {
        "" => return Err(fault("no program is named".into())),
        absolute if absolute.starts_with('/') => vec![absolute.into()],
        plain => path.split(':').filter(|folder| folder.starts_with('/')).map(|f| Path::new(f).join(plain)).collect(),
    };
    let found = as_account(account, || search(&places)).map_err(|e| fault(e.to_string()))?;
    found.map_err(|reason| match reason {
        Errno::ENOENT if name.starts_with('/') => fault("there is no such file; is it installed?".into()),
        Errno::ENOENT => fault(format!("it is in no folder of PATH ({path}); is it installed?")),
        Errno::EACCES => fault("it may not be executed by this account; check its mode and the folders above".into()),
        other => fault(other.desc().into()),
    })
}

/// Like execvp(3): a file that may not be run is passed over, but remembered as the reason.
fn search(places: &[PathBuf]) -> Result<PathBuf, Errno> {
    let mut reason = Errno::ENOENT;
    for place in places {
        match allows(place, AccessFlags::X_OK) {
            Ok(()) if place.is_file() => return Ok(place.clone()),
            Ok(()) => reason = Errno::EACCES,
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(e) => reason = e,
        }
    }
    Err(reason)
}
