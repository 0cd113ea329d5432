//! What dev containers ask of whoever installs things.
use crate::{
    actors::dev_provision::world::Progress,
    model::dev::{Addon, RuntimeChoices},
};
use futures_util::future::{BoxFuture, FutureExt};
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Everything is repeatable: what is there and sound already is not installed again.
pub trait Installs: Send + Sync + 'static {
    /// What the catalog has; an error says why it cannot be known now.
    fn choices(&self) -> BoxFuture<'static, Result<RuntimeChoices, String>>;

    /// Is it installed, whatever the catalog says?
    fn has(&self, runtime: &str, version: &str) -> bool;

    /// Installed and active afterwards.
    fn runtime(&self, runtime: &str, version: &str, progress: Progress) -> BoxFuture<'static, Result<(), String>>;

    fn addon(&self, addon: Addon, progress: Progress) -> BoxFuture<'static, Result<(), String>>;
}

/// Uses what lies under `opt/zlh/runtimes` and installs nothing.
pub struct OnDisk {
    pub root: PathBuf,
}

impl OnDisk {
    fn folder(&self, runtime: &str) -> PathBuf {
        self.root.join("opt/zlh/runtimes").join(runtime)
    }
}

impl Installs for OnDisk {
    fn choices(&self) -> BoxFuture<'static, Result<RuntimeChoices, String>> {
        let base = self.folder("");
        async move {
            let listed = tokio::task::spawn_blocking(move || {
                let all = names(&base).into_iter().map(|id| (id.clone(), names(&base.join(id))));
                RuntimeChoices(all.collect())
            });
            listed.await.map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn has(&self, runtime: &str, version: &str) -> bool {
        self.folder(runtime).join(version).is_dir()
    }

    fn runtime(&self, runtime: &str, version: &str, _: Progress) -> BoxFuture<'static, Result<(), String>> {
        let (folder, version) = (self.folder(runtime), version.to_owned());
        async move {
            let activated = tokio::task::spawn_blocking(move || activate(&folder, &version));
            activated.await.map_err(|e| e.to_string())?
        }
        .boxed()
    }

    fn addon(&self, addon: Addon, _: Progress) -> BoxFuture<'static, Result<(), String>> {
        async move { Err(format!("{addon} is not installed, and nothing here installs it")) }.boxed()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name != "current");
    names.sort_unstable();
    names
}

fn activate(folder: &Path, version: &str) -> Result<(), String> {
    if !folder.join(version).is_dir() {
        return Err(format!("{} is not there", folder.join(version).display()));
    }
    let fresh = folder.join(".current.new");
    let linked = fs::remove_file(&fresh).or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    });
    let linked = linked.and_then(|()| symlink(version, &fresh)).and_then(|()| fs::rename(&fresh, folder.join("current")));
    linked.map_err(|e| format!("{}: {e}", folder.join("current").display()))
}
