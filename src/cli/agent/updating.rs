//! What the UpdaterActor asks of others, answered by this machine; and the step from one program to the next.
//!
//! ```text
//! opt/zlh-agent/releases/<version>/zlh, current    state/update.json  (which version is on trial, which failed)
//! opt/zlh-agent/incoming                           what is being fetched and tried
//! ```
mod handing;
mod watchdog;

pub use handing::{Handover, Life, at_start, hand_over, stand_trial};
pub use watchdog::watch;

use super::installing::Catalogs;
use crate::{
    actors::updater::{Depot, Unfit},
    host::{
        artifact_store::digest_of,
        artifacts, canary, clock, failpoint,
        releases::{ReleaseError, Releases},
        store::{Durability, Store, StoreError},
    },
    model::{catalog::AgentManifest, ids::OperationId, settings::Settings, time::WallTime, update::UpdateRecord},
    policy::{
        operations::{By, Outcome},
        updater::{Candidate, begin, orders, reject},
    },
};
use futures_util::future::BoxFuture;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NAME: &str = "update";
/// This program, whatever became of its file.
const MYSELF: &str = "/proc/self/exe";

/// The version of this program, as manifests write it.
pub fn running() -> &'static str {
    super::VERSION.trim_start_matches('v')
}

/// Record and releases of one agent. Everything here is blocking.
#[derive(Clone)]
pub struct Files {
    home: PathBuf,
    store: Store,
    pub releases: Releases,
}

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Release(#[from] ReleaseError),
    #[error("cannot read the program that is running: {0}")]
    Myself(io::Error),
}

impl Files {
    pub fn open(root: &Path) -> Result<Files, FilesError> {
        let home = std::path::absolute(root.join("opt/zlh-agent")).map_err(FilesError::Myself)?;
        Ok(Files { store: Store::open(home.join("state"))?, releases: Releases::at(&home), home })
    }

    pub fn load(&self) -> Result<UpdateRecord, FilesError> {
        Ok(self.store.load(NAME)?.unwrap_or_default())
    }

    pub fn save(&self, record: &UpdateRecord) -> Result<(), FilesError> {
        Ok(self.store.save(NAME, record, Durability::Machine)?)
    }

    /// Is the program that is running one of the releases?
    pub fn runs_release(&self) -> bool {
        let release = self.releases.program(running()).ok();
        release.is_some_and(|release| same_file(&release, Path::new(MYSELF)))
    }

    /// What to go back to is kept, what to go to is recorded, and only then `current` is pointed at it.
    fn switch(&self, version: &str) -> Result<Handover, FilesError> {
        let digest = File::open(MYSELF).and_then(|mut program| digest_of(&mut program));
        let (digest, inside) = (digest.map_err(FilesError::Myself)?, self.runs_release());
        self.releases.keep(running(), Path::new(MYSELF), &digest)?;
        let mut record = self.load()?;
        if !inside {
            record.stands_for = Some(running().to_owned());
        }
        begin(&mut record, version, running());
        self.save(&record)?;
        failpoint::reach("update.recorded");
        self.releases.switch(version)?;
        failpoint::reach("update.switched");
        Ok(Handover { program: self.releases.program(version)?, trial: Some(version.to_owned()) })
    }

    /// Loads, changes, saves; the new record.
    fn note(&self, change: impl FnOnce(&mut UpdateRecord)) -> Result<UpdateRecord, FilesError> {
        let mut record = self.load()?;
        change(&mut record);
        self.save(&record)?;
        Ok(record)
    }

    fn reject(&self, version: &str, why: &str) -> Result<UpdateRecord, FilesError> {
        let record = self.note(|record| {
            reject(record, version, why);
            orders::end(record, &Outcome::Failed(why.to_owned()), clock::wall_time());
        })?;
        self.prune(&record)?;
        Ok(record)
    }

    /// What runs, what it may have to go back to, and what `current` names stay.
    fn prune(&self, record: &UpdateRecord) -> Result<(), FilesError> {
        let current = self.releases.current()?;
        let trial = record.trial.as_ref().map(|trial| trial.previous.as_str());
        let keep: Vec<&str> =
            [Some(running()), current.as_deref(), trial, record.stands_for.as_deref()].into_iter().flatten().collect();
        Ok(self.releases.prune(&keep)?)
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    id(a).is_some_and(|a| id(b) == Some(a))
}

/// The real [`Depot`].
pub struct MachineDepot {
    settings: Arc<Settings>,
    catalogs: Arc<Catalogs>,
    files: Files,
    handover: watch::Sender<Option<Handover>>,
}

impl MachineDepot {
    pub fn new(settings: Arc<Settings>, catalogs: Arc<Catalogs>, files: Files) -> MachineDepot {
        MachineDepot { settings, catalogs, files, handover: watch::Sender::new(None) }
    }

    /// Says when this program shall end and which comes in its place.
    pub fn handover(&self) -> watch::Sender<Option<Handover>> {
        self.handover.clone()
    }
}

impl Depot for MachineDepot {
    fn now(&self) -> WallTime {
        clock::wall_time()
    }

    fn recall(&self) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        let files = self.files.clone();
        Box::pin(blocking(move || files.load()))
    }

    fn manifest(&self) -> BoxFuture<'static, Result<AgentManifest, String>> {
        let catalogs = self.catalogs.clone();
        Box::pin(async move { catalogs.agent_manifest().await })
    }

    fn prepare(&self, candidate: Candidate) -> BoxFuture<'static, Result<(), Unfit>> {
        let (settings, catalogs, files) = (self.settings.clone(), self.catalogs.clone(), self.files.clone());
        Box::pin(async move {
            let (program, root) = bring(&catalogs, &files, &candidate).await.map_err(passing)?;
            let version = format!("v{}", candidate.version);
            let tried = canary::prove(&program, &root, &version, settings.agent.update_within).await;
            tried.map_err(|e| Unfit { why: format!("trying agent {version}: {e}"), programs_fault: true })
        })
    }

    fn operation_id(&self) -> OperationId {
        OperationId(uuid::Uuid::now_v7().to_string())
    }

    fn store(&self, by: By, subject: String) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        let (files, agent) = (self.files.clone(), &self.settings.agent);
        // It waits for others, runs by itself, and then stands its trial.
        let within = agent.update_patience + agent.update_within * 2;
        let open = move |record: &mut UpdateRecord| orders::open(record, by, &subject, clock::wall_time(), within);
        Box::pin(blocking(move || files.note(open)))
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        let files = self.files.clone();
        Box::pin(blocking(move || files.note(|record| orders::end(record, &outcome, clock::wall_time()))))
    }

    fn reject(&self, version: String, why: String) -> BoxFuture<'static, Result<UpdateRecord, String>> {
        let files = self.files.clone();
        Box::pin(blocking(move || files.reject(&version, &why)))
    }

    fn switch(&self, version: String) -> BoxFuture<'static, Result<(), String>> {
        let (files, told) = (self.files.clone(), self.handover.clone());
        Box::pin(async move {
            let handover = blocking(move || files.switch(&version)).await?;
            told.send_replace(Some(handover));
            Ok(())
        })
    }
}

/// The program among the releases, and a folder to try it in.
async fn bring(catalogs: &Catalogs, files: &Files, candidate: &Candidate) -> Result<(PathBuf, PathBuf), String> {
    let server = catalogs.server().ready().await?;
    let artifact = server.artifact(candidate.path.as_str(), Some(candidate.sha256), candidate.size);
    let artifact = artifact.map_err(|e| e.to_string())?;
    let (files, candidate, incoming) = (files.clone(), candidate.clone(), files.home.join("incoming"));
    let fetch = move || -> Result<(PathBuf, PathBuf), String> {
        let disk = |e: io::Error| format!("{}: {e}", incoming.display());
        fs::create_dir_all(&incoming).map_err(disk)?;
        artifacts::sweep(&incoming).map_err(disk)?;
        let fetched = server.fetch_file(&artifact, None, &incoming, &CancellationToken::new(), &|_, _| {});
        fetched.map_err(|e| e.to_string())?.place("zlh", 0o755, None).map_err(disk)?;
        let fresh = incoming.join("zlh");
        let kept = files.releases.keep(&candidate.version, &fresh, &candidate.sha256).map_err(|e| e.to_string());
        fs::remove_file(&fresh).map_err(disk)?;
        Ok((kept?, incoming.join("canary")))
    };
    blocking(fetch).await
}

fn passing(why: String) -> Unfit {
    Unfit { why, programs_fault: false }
}

async fn blocking<T: Send + 'static, E: ToString + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| format!("it broke off: {e}"))?;
    done.map_err(|e| e.to_string())
}
