//! Making a server root ready: account, folders, space, what the game needs, and whether its account gets there.
mod folders;
mod reach;

use super::{accounts, accounts::Account, find};
use crate::model::{settings::Game, workload::WorkloadSpec};
use nix::{
    sys::statvfs::{FsFlags, fstatvfs},
    unistd::geteuid,
};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A launch may follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// What the workload will run as.
    pub account: Account,
    /// The program as it was found, absolute.
    pub program: PathBuf,
    pub disk_free_bytes: u64,
}

/// Why a launch makes no sense now, and what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("account {0:?} does not exist; create it with `useradd --system {0}` or name another one as \"user\"")]
    NoSuchUser(String),
    #[error("account {name:?} could not be created: {source}; create it by hand or name another one as game.user")]
    CreateUser { name: String, source: io::Error },
    #[error("{0} is a symbolic link, which is not followed here; use a folder or a bind mount")]
    SymbolicLink(PathBuf),
    #[error("{0} exists and is not a folder")]
    NotAFolder(PathBuf),
    #[error("{0} lies on a read-only file system; make it writable (mount -o remount,rw)")]
    ReadOnly(PathBuf),
    #[error("{path}: {free} bytes free, {needed} are the least (game.min_disk_free_bytes); free some space")]
    DiskFull { path: PathBuf, free: u64, needed: u64 },
    #[error("{0}: no file can be created any more (no inodes left); delete some files")]
    NoInodes(PathBuf),
    #[error("{root} lacks {}; install the server first", what.join(", "))]
    Missing { root: PathBuf, what: Vec<String> },
    #[error("account {account:?} cannot get past {at} (mode {mode:03o}); chmod o+x {at}, or move the root")]
    Unreachable { account: String, at: PathBuf, mode: u32 },
    #[error("account {account:?} cannot write into {root}; chown it to {account}")]
    NotWritable { account: String, root: PathBuf },
    #[error("the program {program:?} cannot be run by account {account:?}: {reason}")]
    Program { program: String, account: String, reason: String },
    #[error("there is no {0}; install it or name another program")]
    NoProgram(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// The server root, made if it is not there, and the account it belongs to. Blocking.
pub fn open(root: &Path, spec: &WorkloadSpec, game: &Game) -> Result<Account, PrepareError> {
    let account = account(spec.user.as_deref(), game)?;
    let folder = folders::open_root(root, &spec.cwd, &account)?;
    check_disk(&folder, &spec.cwd, game.min_disk_free_bytes)?;
    Ok(account)
}

/// `root`: the agent's root, beneath which `spec.cwd` lies. Blocking. What exists already is kept; called before each
/// launch, it finds what has changed since.
pub fn prepare(root: &Path, spec: &WorkloadSpec, game: &Game) -> Result<Prepared, PrepareError> {
    let account = account(spec.user.as_deref(), game)?;
    let folder = folders::open_root(root, &spec.cwd, &account)?;
    let disk_free_bytes = check_disk(&folder, &spec.cwd, game.min_disk_free_bytes)?;
    check_required(spec)?;
    reach::check(&account, &spec.cwd)?;
    let program = reach::program(&account, spec)?;
    Ok(Prepared { account, program, disk_free_bytes })
}

/// What would fail for certain, before anything is prepared. Files beneath `root/opt/zlh` may still be installed.
pub fn foresee(root: &Path, spec: &WorkloadSpec, game: &Game) -> Result<(), PrepareError> {
    if let Some(name) = &spec.user
        && *name != game.user
        && accounts::look_up(name).is_ok_and(|account| account.is_none())
    {
        return Err(PrepareError::NoSuchUser(name.clone()));
    }
    let program = Path::new(spec.argv.first().map_or("", String::as_str));
    let absent = || fs::metadata(program).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    if program.is_absolute() && !program.starts_with(root.join("opt/zlh")) && absent() {
        return Err(PrepareError::NoProgram(program.to_owned()));
    }
    Ok(())
}

fn account(user: Option<&str>, game: &Game) -> Result<Account, PrepareError> {
    let io = |source| PrepareError::Io { path: "/etc/passwd".into(), source };
    let Some(name) = user else { return accounts::own().map_err(io) };
    match accounts::look_up(name).map_err(io)? {
        Some(account) => Ok(account),
        // Only the configured account is ours to make; one that somebody named is a slip or a missing step.
        None if name == game.user && geteuid().is_root() => {
            accounts::create(name).map_err(|source| PrepareError::CreateUser { name: name.to_owned(), source })
        }
        None => Err(PrepareError::NoSuchUser(name.to_owned())),
    }
}

fn check_disk(folder: &OwnedFd, path: &Path, needed: u64) -> Result<u64, PrepareError> {
    let about = fstatvfs(folder.as_fd()).map_err(|e| PrepareError::Io { path: path.into(), source: e.into() })?;
    if about.flags().contains(FsFlags::ST_RDONLY) {
        return Err(PrepareError::ReadOnly(path.into()));
    }
    let free = about.blocks_available() * about.fragment_size();
    if free < needed {
        return Err(PrepareError::DiskFull { path: path.into(), free, needed });
    }
    // Some file systems count no inodes at all.
    if about.files() > 0 && about.files_available() == 0 {
        return Err(PrepareError::NoInodes(path.into()));
    }
    Ok(free)
}

/// All that is missing at once. A name may be a pattern.
fn check_required(spec: &WorkloadSpec) -> Result<(), PrepareError> {
    let mut what = Vec::new();
    for name in &spec.requires {
        let literal = spec.cwd.join(name).symlink_metadata().is_ok();
        let pattern = || find::find(&spec.cwd, std::slice::from_ref(name)).is_ok_and(|found| !found[name].is_empty());
        if !literal && !pattern() {
            what.push(name.clone());
        }
    }
    if what.is_empty() { Ok(()) } else { Err(PrepareError::Missing { root: spec.cwd.clone(), what }) }
}

#[cfg(test)]
mod tests;
