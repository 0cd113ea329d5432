//! Copies of a tree that somebody works in, and their way back.
//!
//! ```text
//! <root>/opt/zlh-agent/backups/<kind>/<id>.partial/   grows
//!                                    /<id>/archive.tar.zst     any tar reads it
//!                                         /manifest.jsonl.zst  each name with its hash, mode, time
//!                                         /backup.json         what lists show; written last
//!                                    /<id>.deleted/   goes away
//!                                    /restore.json    how far the last restore came
//! <parent of the tree>/.zlh-restore-<name>/{new,old}  a restore under way
//! ```
//! I promise: a folder named by an id is whole; who is killed in the midst leaves what [`Shelf::sweep`] removes or
//! [`recover`] finishes; nothing outside the tree is read or written, whatever is linked into it; memory does not grow with
//! the tree. All of this blocks: it belongs on a blocking thread.
mod error;
mod manifest;
mod merge;
mod plant;
mod quiet;
mod restore;
mod snapshot;
mod unpack;
mod walk;

pub use error::BackupError;
pub use restore::{Came, Restore, came, recover};
pub use snapshot::Line;

use super::{
    accounts::Account,
    clock, failpoint,
    store::{Durability, Store},
};
use crate::model::{
    backup::{Backup, BackupId, Reason, Verified},
    container::Kind,
    exclude::{self, Excludes},
    settings,
};
use error::failed;
use manifest::Reader;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const ARCHIVE: &str = "archive.tar.zst";
const MANIFEST: &str = "manifest.jsonl.zst";
/// `backup.json`.
const RECORD: &str = "backup";
const PARTIAL: &str = ".partial";
const DELETED: &str = ".deleted";
/// What the owner of a workspace wants left out, in its top folder.
const IGNORE_FILE: &str = ".zlhignore";
const LONGEST_IGNORE_FILE: u64 = 64 << 10;
/// Window that a decoder may be asked for (128 MiB): far more than what is written here.
const WINDOW_LOG: u32 = 27;

/// All backups of one kind.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

/// A copy to be made.
pub struct Job<'a> {
    pub id: &'a BackupId,
    pub kind: Kind,
    pub reason: Reason,
    /// The tree; absolute.
    pub top: &'a Path,
    /// What the backup says it is a copy of.
    pub source: String,
    /// Whom the tree belongs to: what they may not read is not copied.
    pub account: &'a Account,
    pub exclude: Vec<String>,
    /// Does the owner's own list count, too?
    pub reads_list: bool,
    pub limits: &'a settings::Backups,
    pub line: Line<'a>,
}

impl Shelf {
    /// `root`: the agent's. Nothing is made.
    pub fn of(root: &Path, kind: Kind) -> Shelf {
        Shelf { folder: root.join("opt/zlh-agent/backups").join(kind.as_str()) }
    }

    /// Newest first. One whose record cannot be read is named in the log and left out.
    pub fn list(&self) -> io::Result<Vec<Backup>> {
        let mut found: Vec<Backup> = Vec::new();
        for name in self.names()? {
            let Some(id) = BackupId::parse(&name) else { continue };
            let record = Store::open(self.place(&id)).and_then(|store| store.load::<Backup>(RECORD));
            match record {
                Ok(Some(backup)) if backup.id == id => found.push(backup),
                Ok(_) => tracing::warn!(backup = %id, "a backup has no record of its own and is left out"),
                Err(e) => tracing::warn!(backup = %id, error = %e, "a backup is left out"),
            }
        }
        found.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(found)
    }

    /// Copies a tree; on failure nothing is left of it.
    pub fn make(&self, job: Job) -> Result<Backup, BackupError> {
        let part = self.folder.join(format!("{}{PARTIAL}", job.id));
        self.private(&part).map_err(failed("create", &part))?;
        let made = self.fill(&part, job);
        if made.is_err()
            && let Err(e) = fs::remove_dir_all(&part)
        {
            tracing::warn!(folder = %part.display(), error = %e, "half a backup is left behind; the next start removes it");
        }
        made
    }

    fn fill(&self, part: &Path, job: Job) -> Result<Backup, BackupError> {
        let new = |name: &str| {
            let path = part.join(name);
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed("create", &path))
        };
        let (archive, manifest, created_at) = (new(ARCHIVE)?, new(MANIFEST)?, clock::wall_time());
        failpoint::reach("backup.begun");
        let Job { id, kind, reason, top, source, account, exclude, reads_list, limits, line } = job;
        let (copied, exclude) = quiet::quietly(account, || {
            let (exclude, faults) = if reads_list { with_list(top, exclude)? } else { (exclude, Vec::new()) };
            let excludes =
                Excludes::parse(&exclude).map_err(|why| BackupError::Unsuitable { path: top.into(), why })?;
            let mut copied = snapshot::copy(top, (archive, manifest), &excludes, limits, line)?;
            copied.warning_count += faults.len() as u64;
            copied.warnings.splice(0..0, faults);
            copied.warnings.truncate(Backup::WARNINGS);
            Ok((copied, exclude))
        })
        .map_err(failed("read", top))??;
        failpoint::reach("backup.copied");
        let backup = Backup {
            id: id.clone(),
            kind,
            reason,
            created_at,
            source,
            entries: copied.entries,
            bytes: copied.bytes,
            archive_bytes: copied.archive_bytes,
            sha256: copied.sha256,
            exclude,
            warnings: copied.warnings,
            warning_count: copied.warning_count,
            verified: None,
        };
        note(part, &backup)?;
        failpoint::reach("backup.recorded");
        let place = self.place(id);
        fs::rename(part, &place).and_then(|()| self.sync()).map_err(failed("keep", &place))?;
        failpoint::reach("backup.kept");
        Ok(backup)
    }

    /// Reads all of it again and keeps what was found; the answer is in the backup, an error is one of reading.
    pub fn verify(&self, of: &Backup, limits: &settings::Backups, line: Line) -> Result<Backup, BackupError> {
        let read = || {
            let place = self.place(&of.id);
            let manifest = Reader::open(&place.join(MANIFEST), limits.max_entries)?;
            unpack::read(unpack::Archive::open(&place.join(ARCHIVE))?, manifest, of, limits, line, &mut unpack::Nobody)
        };
        let own = super::accounts::own().map_err(failed("look up the account of", &self.folder))?;
        let fault = match quiet::quietly(&own, read).map_err(failed("read", &self.folder))? {
            Ok(()) => None,
            Err(found @ (BackupError::Damaged(_) | BackupError::Refused { .. })) => Some(found.to_string()),
            Err(e) => return Err(e),
        };
        let verified = Verified { at: clock::wall_time(), sound: fault.is_none(), fault };
        let backup = Backup { verified: Some(verified), ..of.clone() };
        note(&self.place(&of.id), &backup)?;
        Ok(backup)
    }

    /// Gone at once for every list; the space comes back while this runs.
    pub fn delete(&self, id: &BackupId) -> Result<(), BackupError> {
        let (place, away) = (self.place(id), self.folder.join(format!("{id}{DELETED}")));
        fs::rename(&place, &away).and_then(|()| self.sync()).map_err(failed("delete", &place))?;
        failpoint::reach("backup.deleted");
        fs::remove_dir_all(&away).map_err(failed("delete", &away))
    }

    /// Removes what was half made or half deleted when an agent was killed. Call it while nobody works here.
    pub fn sweep(&self) -> io::Result<()> {
        for name in self.names()? {
            if name.ends_with(PARTIAL) || name.ends_with(DELETED) {
                tracing::info!(name, "half a backup is removed");
                fs::remove_dir_all(self.folder.join(name))?;
            }
        }
        restore::sweep(self)
    }

    /// Bytes that are free where backups lie.
    pub fn free(&self) -> io::Result<u64> {
        let there = self.folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let about = nix::sys::statvfs::statvfs(there)?;
        Ok(about.blocks_available() * about.fragment_size())
    }

    fn place(&self, id: &BackupId) -> PathBuf {
        self.folder.join(id.as_str())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        }
    }

    /// A new folder that only root may look into, as all of ours above it.
    fn private(&self, folder: &Path) -> io::Result<()> {
        let above = self.folder.parent().and_then(Path::parent).map_or(Ok(()), fs::create_dir_all);
        above.and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(&self.folder))?;
        DirBuilder::new().mode(0o700).create(folder)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

fn note(place: &Path, backup: &Backup) -> Result<(), BackupError> {
    let noted = Store::open(place).and_then(|store| store.save(RECORD, backup, Durability::Machine));
    noted.map_err(|e| failed("write the record of", place)(io::Error::other(e.to_string())))
}

/// The operator's patterns and the owner's, and which of the owner's lines are no patterns.
fn with_list(top: &Path, mut exclude: Vec<String>) -> Result<(Vec<String>, Vec<String>), BackupError> {
    let folder = walk::open_top(top)?;
    let mut text = String::new();
    let read = nix::fcntl::openat(&folder, IGNORE_FILE, walk::FILE, nix::sys::stat::Mode::empty());
    let read = read.map_err(io::Error::from).and_then(|file| {
        let file = File::from(file);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is no regular file"));
        }
        file.take(LONGEST_IGNORE_FILE).read_to_string(&mut text)
    });
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((exclude, Vec::new())),
        Err(e) => return Ok((exclude, vec![format!("{IGNORE_FILE} {e} and does not count")])),
        Ok(_) => {}
    }
    let (patterns, faults) = exclude::lines(&text);
    exclude.extend(patterns);
    Ok((exclude, faults.into_iter().map(|fault| format!("{IGNORE_FILE}: {fault}")).collect()))
}

#[cfg(test)]
mod tests;
