//! Installs on this machine's disk: each step of a plan by the install engine, on threads that may wait.
use super::{catalogs::Server, shelves::Shelves};
use crate::{
    actors::installer::workshop::Line,
    host::{
        accounts::{self, Account},
        artifacts::{Artifact, ArtifactServer, Cache, Fault as FetchFault, FetchError},
        failpoint,
        install::{self, Check, InstallError, Job, Label, Staged, Strip},
        store::Durability,
    },
    model::{
        catalog::layout,
        install::{Family, Parcel, Present, Shelf, TreeId, User},
        settings::Settings,
    },
    policy::installer::{Failure, Fault, plan::Step},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// Whom a fresh tree is tried out as: it is somebody else's program, and nobody needs more.
const TRIER: &str = "nobody";
/// How long a sweep waits for steps of an earlier life of the actor.
const CLEAR_WITHIN: Duration = Duration::from_secs(25);
/// Damaged files that are named; of more it is said how many.
const NAMED: usize = 5;

pub struct Yard {
    settings: Arc<Settings>,
    server: Server,
    shelves: Shelves,
    /// Trees that are brought and not placed yet.
    staged: Mutex<BTreeMap<TreeId, Staged>>,
    /// Steps share it, a sweep has it alone.
    gate: Arc<RwLock<()>>,
}

impl Yard {
    pub fn new(settings: Arc<Settings>, server: Server) -> Yard {
        Yard {
            shelves: Shelves::at(settings.root.clone()),
            settings,
            server,
            staged: Mutex::default(),
            gate: Arc::default(),
        }
    }

    /// Everything there is. With `sweep` what killed installs left goes away first.
    pub async fn survey(self: Arc<Self>, sweep: bool) -> Result<Present, String> {
        if sweep {
            let alone = tokio::time::timeout(CLEAR_WITHIN, self.gate.clone().write_owned()).await;
            let alone = alone.map_err(|_| "a step of an earlier install does not end")?;
            let yard = self.clone();
            blocking(move || {
                let _alone = alone;
                yard.staged().clear();
                yard.shelves.sweep()
            })
            .await?
            .map_err(|e| format!("clearing up after installs that were cut short: {e}"))?;
            tokio::spawn(self.clone().tidy());
        }
        blocking(move || self.shelves.look()).await?.map_err(|e| format!("looking at what is installed: {e}"))
    }

    /// One step; its thread goes on to a safe end even if nobody waits any more.
    pub async fn perform(self: Arc<Self>, step: Step, line: Line) -> Result<(), Failure> {
        let place = self.gate.clone().read_owned().await;
        if let Step::Bring(parcel) = step {
            return self.bring(parcel, line, place).await;
        }
        let (yard, leaves_trash) = (self.clone(), matches!(step, Step::Place(_) | Step::Remove(_) | Step::Mend(_)));
        // Built here: the engine's threads cannot wait for it.
        let server =
            if matches!(step, Step::Mend(_)) { Some(self.server.ready().await.map_err(Failure::other)?) } else { None };
        let done = blocking(move || {
            let _place = place;
            match step {
                Step::Bring(_) => Err(Failure::other("a download belongs to no thread of its own")),
                Step::Try(parcel) => yard.try_out(&parcel, &line),
                Step::Place(parcel) => yard.put_in_place(&parcel.tree),
                Step::Point { family, version } => yard.point(&family, version.as_deref()),
                Step::Verify(tree) => yard.verify(&tree, &line),
                Step::Mend(tree) => server.map_or(Ok(()), |server| yard.mend(&tree, &server, &line)),
                Step::Remove(tree) => yard.remove(&tree),
                Step::Discard(tree) => {
                    drop(yard.staged().remove(&tree));
                    Ok(())
                }
                Step::Collect { superseded } => yard.collect(&superseded, &line),
            }
        });
        let done = done.await.map_err(Failure::other)?;
        failpoint::reach("installer.stepped");
        if leaves_trash {
            tokio::spawn(self.tidy());
        }
        done
    }

    /// Who uses a tree now.
    pub async fn users(self: Arc<Self>, tree: TreeId) -> Result<Vec<User>, String> {
        let users = blocking(move || self.shelves.shelf(&tree.family).users(&tree.version)).await?;
        let users = users.map_err(|e| format!("looking for processes that use it: {e}"))?;
        Ok(users.seen.into_iter().map(|user| User { pid: user.pid, name: user.name }).collect())
    }

    /// From the first of its paths that the server has.
    async fn bring(self: Arc<Self>, parcel: Parcel, line: Line, place: Place) -> Result<(), Failure> {
        let server = self.server.ready().await.map_err(Failure::other)?;
        let place = Arc::new(place);
        let mut missing = Failure::other(format!("nothing says where {} lies", parcel.tree));
        for path in &parcel.paths {
            let digest = match parcel.sha256 {
                Some(digest) => Some(digest),
                None => server.checksum(path.as_str()).await.map_err(|e| Failure::other(e.to_string()))?,
            };
            let artifact = server.artifact(path.as_str(), digest, parcel.size);
            let artifact = artifact.map_err(|e| Failure::other(e.to_string()))?;
            if digest.is_none() && self.settings.require_hashes {
                missing = Failure::other(unhashed(&artifact));
                continue;
            }
            let (yard, parcel, line, place) = (self.clone(), parcel.clone(), line.clone(), place.clone());
            let server = server.clone();
            let staged = blocking(move || {
                let _place = place;
                yard.stage(&server, &artifact, &parcel, &line)
            });
            match staged.await.map_err(Failure::other)? {
                Err(e) if is_absent(&e) => missing = failure(&e),
                staged => return staged.map_err(|e| failure(&e)),
            }
        }
        Err(missing)
    }

    fn stage(
        &self,
        server: &ArtifactServer,
        artifact: &Artifact,
        parcel: &Parcel,
        line: &Line,
    ) -> Result<(), InstallError> {
        let target = self.shelves.place(&parcel.tree).map_err(|e| disk(self.shelves.folder(&parcel.tree.family), e))?;
        let cache = self.cache();
        let job = Job {
            server,
            cache: cache.as_ref(),
            artifact,
            target: &target,
            label: Label { id: parcel.tree.family.id.clone(), version: parcel.tree.version.clone() },
            strip: parcel.strip.map_or(Strip::Auto, Strip::Levels),
            owner: None,
            cancel: &line.stop,
            watch: &|progress| told(line, progress),
        };
        let staged = install::stage(&job)?;
        self.staged().insert(parcel.tree.clone(), staged);
        Ok(())
    }

    /// Has it what it must have, and does it run?
    fn try_out(&self, parcel: &Parcel, line: &Line) -> Result<(), Failure> {
        let root = self.staged().get(&parcel.tree).map(Staged::root);
        let root = root.ok_or_else(|| Failure::other("what was downloaded is gone; install again"))?;
        let known = layout(&parcel.tree.family.id).filter(|_| parcel.tree.family.shelf != Shelf::Games);
        let Some(known) = known else { return Ok(()) };
        for (name, is_there) in known
            .programs
            .iter()
            .map(|name| (*name, root.join(name).is_file()))
            .chain(known.folders.iter().map(|name| (*name, root.join(name).is_dir())))
        {
            if !is_there {
                let (id, needs) = (known.id, [known.programs, known.folders].concat().join(", "));
                return Err(Failure::other(format!(
                    "the archive has no {name}, and a {id} release has {needs}: this may be its source code; publish the \
                     compiled release"
                )));
            }
        }
        let Some(program) = known.programs.first() else { return Ok(()) };
        let trier = trier();
        let env = parcel.env.iter().map(|(k, v)| (k.clone(), v.replace("{root}", &root.to_string_lossy())));
        let check = Check {
            program: PathBuf::from(program),
            arguments: known.smoke.iter().map(|word| (*word).to_owned()).collect(),
            folder: root.clone(),
            env: env.collect(),
            account: trier.as_ref(),
            within: self.settings.install.check_within,
        };
        install::check(&check, &line.stop).map(drop).map_err(|e| Failure::other(e.to_string()))
    }

    fn put_in_place(&self, tree: &TreeId) -> Result<(), Failure> {
        let staged = self.staged().remove(tree);
        let staged = staged.ok_or_else(|| Failure::other("what was downloaded is gone; install again"))?;
        staged.activate(Durability::Machine).map(drop).map_err(|e| failure(&e))
    }

    fn point(&self, family: &Family, version: Option<&str>) -> Result<(), Failure> {
        let shelf = self.shelves.shelf(family);
        let pointed = match version {
            Some(version) => shelf.activate(version),
            None => unlink(shelf.folder()),
        };
        pointed.map_err(|e| Failure::other(format!("{}: {e}", shelf.folder().display())))
    }

    fn verify(&self, tree: &TreeId, line: &Line) -> Result<(), Failure> {
        let root = self.shelves.place(tree).map_err(|e| Failure::other(e.to_string()))?;
        let found = install::verify(&root, &line.stop, &|progress| told(line, progress)).map_err(|e| Failure {
            // An unreadable manifest or file is damage, too.
            fault: if matches!(e, InstallError::Disk { .. }) { Fault::Damaged } else { Fault::Other },
            reason: e.to_string(),
        })?;
        if found.is_whole() {
            return Ok(());
        }
        let mut named: Vec<String> =
            found.damaged.iter().take(NAMED).map(|one| format!("{} ({})", one.path, one.what)).collect();
        if found.damaged.len() > NAMED {
            named.push(format!("and {} more", found.damaged.len() - NAMED));
        }
        let reason = format!("{} is damaged: {}; repair it", root.display(), named.join(", "));
        Err(Failure { fault: Fault::Damaged, reason })
    }

    /// From the archive it came from, in the cache or where it was fetched.
    fn mend(&self, tree: &TreeId, server: &ArtifactServer, line: &Line) -> Result<(), Failure> {
        let root = self.shelves.place(tree).map_err(|e| Failure::other(e.to_string()))?;
        let manifest =
            self.shelves.shelf(&tree.family).manifest(&tree.version).map_err(|e| Failure::other(e.to_string()))?;
        let installed = manifest.ok_or_else(|| Failure::other(format!("{tree} has no manifest")))?.installed;
        let artifact = server.again(&installed.source, installed.sha256, installed.archive_bytes);
        let artifact = artifact.map_err(|e| Failure::other(e.to_string()))?;
        let cache = self.cache();
        let job = Job {
            server,
            cache: cache.as_ref(),
            artifact: &artifact,
            target: &root,
            label: installed.label,
            strip: Strip::Auto,
            owner: None,
            cancel: &line.stop,
            watch: &|progress| told(line, progress),
        };
        install::repair(&job).map(drop).map_err(|e| failure(&e))
    }

    fn remove(&self, tree: &TreeId) -> Result<(), Failure> {
        let removed = self.shelves.shelf(&tree.family).remove(&tree.version, false);
        removed.map(drop).map_err(|e| Failure::other(e.to_string()))
    }

    fn collect(&self, superseded: &[TreeId], line: &Line) -> Result<(), Failure> {
        for tree in superseded {
            (line.progress)(&tree.to_string(), None);
            match self.shelves.shelf(&tree.family).remove(&tree.version, false) {
                Err(install::RemoveError::Io { path, source }) => {
                    return Err(Failure::other(format!("{}: {source}", path.display())));
                }
                Err(kept) => tracing::info!(%tree, %kept, "a superseded version stays"),
                Ok(_) => {}
            }
        }
        self.dispose(|| line.stop.is_cancelled()).map_err(|e| Failure::other(e.to_string()))
    }

    /// Deletes in the background what nobody waits for.
    async fn tidy(self: Arc<Self>) {
        match blocking(move || self.dispose(|| false)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!("what installs left could not be deleted: {e}"),
            Err(e) => tracing::warn!("deleting what installs left broke off: {e}"),
        }
    }

    fn dispose(&self, stop: impl Fn() -> bool) -> io::Result<()> {
        for family in self.shelves.families()? {
            self.shelves.shelf(&family).empty_trash(&stop)?;
        }
        match self.cache() {
            Some(cache) => cache.trim(self.settings.install.cache_bytes).map(drop),
            None => Ok(()),
        }
    }

    /// An install does without where it cannot be opened.
    fn cache(&self) -> Option<Cache> {
        let opened = Cache::open(self.settings.root.join("opt/zlh-agent/cache"));
        opened.inspect_err(|e| tracing::warn!("the cache of fetched files cannot be used: {e}")).ok()
    }

    fn staged(&self) -> MutexGuard<'_, BTreeMap<TreeId, Staged>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Place = OwnedRwLockReadGuard<()>;

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| format!("its thread broke: {e}"))
}

fn trier() -> Option<Account> {
    accounts::look_up(TRIER).ok().flatten().filter(|_| nix::unistd::geteuid().is_root())
}

/// `current` names nothing any more.
fn unlink(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join("current")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => File::open(folder)?.sync_all(),
    }
}

fn told(line: &Line, progress: install::Progress) {
    const MB: u64 = 1_000_000;
    let (done, total) = (progress.done, progress.total);
    let text = match total {
        Some(total) => format!("{} of {} MB", done / MB, total.div_ceil(MB)),
        None => format!("{} MB", done / MB),
    };
    let share = total.filter(|total| *total > 0).map(|total| done as f64 / total as f64);
    (line.progress)(&text, share);
}

fn unhashed(artifact: &Artifact) -> String {
    format!(
        "{} has no known hash, and require_hashes is set; have the publisher add it (zlh artifacts add) or put a .sha256 \
         file beside it",
        artifact.shown()
    )
}

fn is_absent(error: &InstallError) -> bool {
    matches!(error, InstallError::Fetch(FetchError { fault: FetchFault::NotFound, .. }))
}

fn failure(error: &InstallError) -> Failure {
    Failure::other(error.to_string())
}

fn disk(path: PathBuf, source: io::Error) -> InstallError {
    InstallError::Disk { path, source }
}
