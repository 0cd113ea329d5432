//! Puts an artifact on disk: fetched, hashed, judged, unpacked and recorded beside its place, then made real by one rename.
//!
//! ```text
//! stage ─► Staged ─► (checks by the caller) ─► activate ─► Placed
//!    └─ any failure, or dropping Staged: nothing is left, and what was there before still is
//! ```
//! I promise: a folder that has a manifest is whole; one archive is refused as a whole; whoever looks at the target sees the
//! old tree or the new one, never half of any; a kill at any step leaves what [`sweep`] cleans up and the next install takes
//! up. All of this blocks: it belongs on a blocking thread.
mod collect;
mod decode;
mod error;
mod in_use;
mod links;
mod manifest;
mod pipeline;
mod plain;
mod progress;
pub(in crate::host) mod rules;
mod shelf;
mod smoke;
mod staging;
pub(in crate::host) mod tar_stream;
mod tree;
mod verify;
mod zip_archive;

pub use error::InstallError;
pub use in_use::{How, InUse, Users, users_of};
pub use manifest::{Installed, Label, MANIFEST, Manifest, Record};
pub use progress::{Progress, Stage};
pub use rules::Refusal;
pub use shelf::{RemoveError, Shelf};
pub use smoke::{Check, CheckFailed, Checked, check};
pub use staging::{STAGING, Swept, TRASH, empty_trash, sweep};
pub use verify::{Altered, Repaired, Verified, repair, verify};

use crate::host::{
    accounts::Account,
    artifacts::{Artifact, ArtifactServer, Cache, Fault, FetchError, Origins, Received, Source, persist},
    clock, failpoint,
    store::Durability,
};
use collect::Collector;
use decode::Format;
use error::disk;
use progress::Pace;
use rules::Rules;
use staging::Staging;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;
use tree::Tree;

/// Folders that a tree may consist of without being wrapped into one.
const OWN_FOLDERS: [&str; 9] = ["bin", "lib", "lib64", "share", "etc", "include", "sbin", "usr", "opt"];

/// Which leading folders of the archive's names are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strip {
    /// The top folder, if it is the only thing at the top and none that a tree has of its own (`bin`).
    Auto,
    Levels(u32),
}

/// One install.
pub struct Job<'a> {
    pub server: &'a ArtifactServer,
    pub cache: Option<&'a Cache>,
    pub artifact: &'a Artifact,
    /// The folder it is to be: absolute. Its parent is made if it is not there.
    pub target: &'a Path,
    pub label: Label,
    pub strip: Strip,
    /// Whom the tree shall belong to; `None`: whoever runs this.
    pub owner: Option<&'a Account>,
    pub cancel: &'a CancellationToken,
    /// Told at most ten times a second, and at the end of each stage.
    pub watch: &'a (dyn Fn(Progress) + Sync),
}

/// A whole tree beside its place. Dropped, it is gone.
#[derive(Debug)]
pub struct Staged {
    staging: Staging,
    /// The one top folder that goes away, or empty.
    top: String,
    target: PathBuf,
    received: Received,
    manifest: Manifest,
}

/// A tree in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub installed: Installed,
    pub root: PathBuf,
    /// The archive came from the cache.
    pub from_cache: bool,
}

/// Fetches and unpacks beside the target. What an earlier transfer left is taken up; if it turns out to be no good, all is
/// fetched again, once.
pub fn stage(job: &Job) -> Result<Staged, InstallError> {
    refuse_strangers(job.target)?;
    stage_only(job, None)
}

/// Only what was installed is replaced; somebody's own folder never goes to the trash.
fn refuse_strangers(target: &Path) -> Result<(), InstallError> {
    let ours = target.symlink_metadata().is_err() || target.join(MANIFEST).symlink_metadata().is_ok();
    let empty = || fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if ours || empty() { Ok(()) } else { Err(InstallError::InTheWay(target.to_owned())) }
}

fn stage_only(job: &Job, only: Option<&HashSet<String>>) -> Result<Staged, InstallError> {
    let attempt = |artifact: &Artifact, fresh: bool, origins: &Origins| {
        attempt(&Job { artifact, label: job.label.clone(), ..*job }, only, fresh, origins)
    };
    persist(job.artifact, attempt, InstallError::trouble).map_err(InstallError::of_all)
}

fn attempt(job: &Job, only: Option<&HashSet<String>>, fresh: bool, origins: &Origins) -> Result<Staged, InstallError> {
    let pace = Pace::new(job.watch);
    let watch = |done, total| pace.tell(Stage::Fetch, done, total);
    let Job { server, artifact, cache, cancel, .. } = *job;
    attempt_from(job, only, &Source { server, artifact, cache, cancel, watch: &watch, fresh, origins })
}

fn attempt_from(job: &Job, only: Option<&HashSet<String>>, source: &Source) -> Result<Staged, InstallError> {
    let staging = Staging::beside(job.target).map_err(|e| told(job, disk(job.target)(e)))?;
    failpoint::reach("install.staging");
    let install = job.server.install();
    let levels = if let Strip::Levels(levels) = job.strip { levels } else { 0 };
    let mut collector = Collector::new(Rules::new(install, levels as usize), only);
    let received = unpack(job, source, &staging, &mut collector).map_err(|e| told(job, e))?;
    failpoint::reach("install.unpacked");
    let records = collector.into_records();
    let top = if job.strip == Strip::Auto { single_top(&records) } else { String::new() };
    links::check(&records, &top).map_err(|e| told(job, e.into()))?;
    let installed = Installed {
        format: 0,
        label: job.label.clone(),
        source: received.url.clone(),
        sha256: received.digest,
        verified: job.artifact.digest.is_some(),
        archive_bytes: received.bytes,
        stripped: levels,
        top: top.clone(),
        files: 0,
        bytes: 0,
        installed_at: clock::wall_time(),
    };
    let manifest = Manifest::new(installed, below(&top, records));
    let staged = Staged { staging, top, target: job.target.to_owned(), received, manifest };
    if only.is_none() {
        staged.record()?;
        failpoint::reach("install.recorded");
    }
    Ok(staged)
}

fn unpack(job: &Job, source: &Source, staging: &Staging, to: &mut Collector) -> Result<Received, InstallError> {
    let folder = staging.tree();
    let tree = staging.open_tree().and_then(|top| Tree::new(top, job.owner));
    let mut tree = tree.map_err(disk(&folder))?;
    let name = file_name(job.artifact);
    let received = match decode::by_name(&name) {
        Format::Plain | Format::Zip => whole_file(job, source, staging, &name, to, &mut tree),
        _ => pipeline::run(source, to, &mut tree),
    };
    received.map_err(|e| e.beneath(&folder))
}

/// What cannot be unpacked while it comes.
fn whole_file(
    job: &Job,
    source: &Source,
    staging: &Staging,
    name: &str,
    to: &mut Collector,
    tree: &mut Tree,
) -> Result<Received, InstallError> {
    let file = source.fetch(staging.scratch())?;
    match decode::by_name(name) {
        Format::Zip => zip_archive::unpack(file.file(), to, tree, job.cancel, job.server.install())?,
        _ => plain::unpack(file.file(), name, to, tree)?,
    }
    Ok(file.received().clone())
}

/// Says which archive; failures of the transfer say it themselves.
fn told(job: &Job, error: InstallError) -> InstallError {
    match error {
        InstallError::Refused(_) | InstallError::Damaged(_) | InstallError::Disk { .. } => {
            InstallError::Unpack { archive: job.artifact.shown(), source: Box::new(error) }
        }
        InstallError::Fetch(FetchError { fault: Fault::Cancelled, .. }) => InstallError::Cancelled,
        other => other,
    }
}

fn file_name(artifact: &Artifact) -> String {
    let url = artifact.urls.first();
    let name = url.and_then(|url| url.path_segments()?.next_back().map(str::to_owned)).unwrap_or_default();
    percent_encoding::percent_decode_str(&name).decode_utf8_lossy().into_owned()
}

/// The only name at the top, if it is a folder and may go.
fn single_top(records: &HashMap<String, Record>) -> String {
    let mut tops = records.iter().filter(|(path, _)| !path.contains('/'));
    match (tops.next(), tops.next()) {
        (Some((top, Record::Folder { .. })), None) if !OWN_FOLDERS.contains(&top.as_str()) => top.clone(),
        _ => String::new(),
    }
}

/// The records below `top`, by their paths there.
fn below(top: &str, records: HashMap<String, Record>) -> BTreeMap<String, Record> {
    if top.is_empty() {
        return records.into_iter().collect();
    }
    let inside = |path: &str| Some(path.strip_prefix(top)?.strip_prefix('/')?.to_owned());
    records.into_iter().filter_map(|(path, record)| Some((inside(&path)?, record))).collect()
}

impl Staged {
    /// The tree, where it can be tried out.
    pub fn root(&self) -> PathBuf {
        let tree = self.staging.tree();
        if self.top.is_empty() { tree } else { tree.join(&self.top) }
    }

    pub fn installed(&self) -> &Installed {
        &self.manifest.installed
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes it real. A tree that was there is replaced and goes to the trash.
    pub fn activate(self, durability: Durability) -> Result<Placed, InstallError> {
        let root = self.root();
        refuse_strangers(&self.target)?;
        staging::put_in_place(&root, &self.target, durability).map_err(disk(&self.target))?;
        failpoint::reach("install.activated");
        Ok(Placed { installed: self.manifest.installed, root: self.target, from_cache: self.received.from_cache })
    }

    fn record(&self) -> Result<(), InstallError> {
        let path = self.root().join(MANIFEST);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
        let written = options.open(&path).and_then(|file| self.manifest.write(file));
        written.map_err(disk(path))
    }
}
