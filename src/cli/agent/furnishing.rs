//! Before each launch: what the configuration names is installed, the server root is made of it, and what there is to
//! launch is looked at again.
use super::resolving;
use crate::{
    actors::{
        game_server::{Denied, world::Progress},
        installer::Installer,
    },
    host::{
        accounts::Account,
        beneath::Beneath,
        errand::{self, Errand},
        install::Manifest,
        server_files::{self, Placed, Source},
        server_root,
        store::{Durability, Store},
    },
    model::{
        furnishing::{Furnishing, WantedExtra},
        glob::Glob,
        install::{Tree, Wanted},
        refusal::Refusal,
        settings::Settings,
        workload::{ConsoleInput, WorkloadSpec},
    },
    policy::game_server::command::Resolved,
};
use std::{path::Path, sync::Arc};

/// Who asks for these installs.
const HOLDER: &str = "the game server";

/// Furnishes one server root.
pub struct Furnisher {
    pub settings: Arc<Settings>,
    pub installer: Installer,
    /// What was put into which server root is written down here.
    pub store: Store,
    pub progress: Progress,
}

/// Where, for whom, and what is there by now.
struct Room<'a> {
    spec: &'a WorkloadSpec,
    account: &'a Account,
    root: Arc<Beneath>,
    placed: Placed,
}

impl Furnisher {
    pub async fn prepare(&self, config: &Resolved) -> Result<Arc<WorkloadSpec>, String> {
        let wanted = self.furnishing(config).await?;
        self.install_runtime(&wanted).await?;
        // The runtime that is there now is the one that the game's own installer is run with.
        let (wanted, spec) = (self.furnishing(config).await?, self.resolved(config).await?);
        (self.progress)("preparing the server root", None);
        let (root, of, game) = (self.settings.root.clone(), spec.clone(), self.settings.game.clone());
        let account = off_the_runtime(move || server_root::open(&root, &of, &game).map_err(|e| e.to_string())).await?;
        self.furnish(&wanted, &spec, &account).await?;
        let spec = self.resolved(config).await?;
        let (settings, of) = (self.settings.clone(), spec.clone());
        let check = move || server_root::prepare(&settings.root, &of, &settings.game).map_err(|e| e.to_string());
        off_the_runtime(check).await?;
        Ok(spec)
    }

    async fn furnishing(&self, config: &Resolved) -> Result<Furnishing, String> {
        let (body, settings) = (config.body.clone(), self.settings.clone());
        off_the_runtime(move || resolving::furnishing(&body, &settings).map_err(in_words)).await
    }

    /// The same body on the machine as it is now; a password that was drawn by lot stays what it was.
    async fn resolved(&self, config: &Resolved) -> Result<Arc<WorkloadSpec>, String> {
        let (body, was, settings) = (config.body.clone(), config.spec.clone(), self.settings.clone());
        let drawn = match &was.console {
            ConsoleInput::Econ { password, .. } => Some(password.clone()),
            ConsoleInput::Pty | ConsoleInput::Fifo { .. } => None,
        };
        let (now, _) = off_the_runtime(move || resolving::resolve(body, &settings, drawn).map_err(in_words)).await?;
        Ok(if now.spec == was { was } else { now.spec })
    }

    /// The runtime that the game needs and this machine lacks. Without an artifact server the machine's own must do.
    async fn install_runtime(&self, furnishing: &Furnishing) -> Result<(), String> {
        match &furnishing.runtime {
            Some(wanted) if self.settings.artifacts_url.is_some() => self.install(wanted.clone()).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Files, extras, the game's own installer, and lines in the owner's files.
    async fn furnish(&self, furnishing: &Furnishing, spec: &WorkloadSpec, account: &Account) -> Result<(), String> {
        let root = Beneath::open(&spec.cwd, account).map_err(|e| format!("{}: {e}", spec.cwd.display()))?;
        let record = record_name(spec);
        let was: Placed = self.store.load(&record).map_err(|e| e.to_string())?.unwrap_or_default();
        let mut room = Room { spec, account, root: Arc::new(root), placed: was.clone() };
        if self.settings.artifacts_url.is_some() {
            let filled = self.fill(furnishing, &mut room).await;
            if room.placed != was {
                self.store.save(&record, &room.placed, Durability::Machine).map_err(|e| e.to_string())?;
            }
            filled?;
        }
        self.write_lines(furnishing, &room).await
    }

    async fn install(&self, wanted: Wanted) -> Result<Tree, String> {
        self.installer.install(wanted, false, HOLDER, &self.progress).await
    }

    async fn fill(&self, furnishing: &Furnishing, room: &mut Room<'_>) -> Result<(), String> {
        let Some(wanted) = &furnishing.files else { return furnishing.unclear.clone().map_or(Ok(()), Err) };
        let tree = self.install(wanted.clone()).await?;
        self.place(furnishing, room, &tree).await?;
        for extra in &furnishing.extras {
            self.place_extra(extra, room).await?;
        }
        self.run(furnishing, room).await
    }

    async fn place(&self, furnishing: &Furnishing, room: &mut Room<'_>, tree: &Tree) -> Result<(), String> {
        let owners = furnishing.owners.iter().map(|text| Glob::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let (root, was, path) = (room.root.clone(), room.placed.clone(), tree.path.clone());
        let (file, progress) = (furnishing.file.clone(), self.progress.clone());
        let placed = off_the_runtime(move || {
            let manifest = manifest(Path::new(&path))?;
            let source = Source { tree: Path::new(&path), manifest: &manifest, file: file.as_deref(), owners: &owners };
            let told = |share| progress("putting the game's files in place", Some(share));
            server_files::place(&root, &source, &was, &told).map_err(|e| e.to_string())
        });
        let (placed, changes) = placed.await?;
        tell(&changes, room.spec);
        room.placed = placed;
        Ok(())
    }

    /// An artifact server that does not have it is no fault: not every version of a game has every extra.
    async fn place_extra(&self, extra: &WantedExtra, room: &mut Room<'_>) -> Result<(), String> {
        if room.placed.extras.contains_key(&extra.to) {
            return Ok(());
        }
        match self.installer.ensure(extra.wanted.clone(), false, HOLDER).await {
            Err(Denied::Refused(why)) => {
                tracing::info!(file = extra.to, why = in_words(why), "the artifact server does not have it");
                return Ok(());
            }
            Err(other) => return Err(format!("{}: {other:?}", extra.to)),
            Ok(_) => {}
        }
        let tree = self.install(extra.wanted.clone()).await?;
        let (root, to, mut placed) = (room.root.clone(), extra.to.clone(), room.placed.clone());
        let done = off_the_runtime(move || {
            let manifest = manifest(Path::new(&tree.path))?;
            server_files::place_once(&root, Path::new(&tree.path), &manifest, &to, &mut placed)
                .map_err(|e| e.to_string())?;
            Ok(placed)
        });
        room.placed = done.await?;
        Ok(())
    }

    /// The game's own installer, once for each artifact and again if what it made is gone.
    async fn run(&self, furnishing: &Furnishing, room: &mut Room<'_>) -> Result<(), String> {
        let complete = room.spec.requires.iter().all(|path| room.root.has(path).unwrap_or(false));
        if furnishing.run.is_empty() || (complete && room.placed.ran == room.placed.archive) {
            return Ok(());
        }
        let errand = Errand {
            argv: furnishing.run.clone(),
            env: room.spec.env.clone(),
            cwd: room.spec.cwd.clone(),
            account: room.account.clone(),
            patience: self.settings.install.patience,
        };
        (self.progress)("running the game's installer", None);
        let progress = self.progress.clone();
        let told = |line: &str| progress(&format!("installer: {}", shortened(line)), None);
        errand::run(&errand, told).await.map_err(|e| e.to_string())?;
        room.placed.ran = room.placed.archive;
        Ok(())
    }

    async fn write_lines(&self, furnishing: &Furnishing, room: &Room<'_>) -> Result<(), String> {
        let (root, presets) = (room.root.clone(), furnishing.presets.clone());
        off_the_runtime(move || {
            presets.iter().try_for_each(|lines| match server_files::write_lines(&root, lines) {
                Ok(_) => Ok(()),
                Err(e) => Err(e.to_string()),
            })
        })
        .await
    }
}

fn in_words(refusal: Refusal) -> String {
    match refusal {
        Refusal::Unusable { field, detail } => format!("{field}: {detail}"),
        other => other.code().to_owned(),
    }
}

/// A name that differs for each server root.
fn record_name(spec: &WorkloadSpec) -> String {
    let world = spec.cwd.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("server-files-{}-{}-{world}", spec.game, if spec.variant.is_empty() { "default" } else { &spec.variant })
}

fn manifest(tree: &Path) -> Result<Manifest, String> {
    let read = Manifest::read(tree).map_err(|e| e.to_string())?;
    read.ok_or_else(|| format!("{} is not installed any more", tree.display()))
}

fn tell(changes: &server_files::Changes, spec: &WorkloadSpec) {
    let root = spec.cwd.display();
    for path in &changes.repaired {
        tracing::warn!(%root, path, "a file of the game was damaged and is repaired");
    }
    for path in &changes.set_aside {
        tracing::warn!(%root, path, "a file was in the way; it is kept as {path}.before-install");
    }
    let (placed, removed, kept) = (changes.placed.len(), changes.removed.len(), changes.kept.len());
    if placed + removed > 0 {
        tracing::info!(%root, placed, removed, kept, "the game's files were put in place");
    }
}

fn shortened(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(120).collect()
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(format!("putting files in place broke off: {e}")))
}
