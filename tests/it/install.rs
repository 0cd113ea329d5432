//! Installs: hostile archives, servers that misbehave, kills at every step, repairs; real files, real sockets.
mod archives;
mod hostile;
#[cfg(feature = "failpoints")]
mod kills;
mod shelves;
mod transfers;
mod trees;

use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use zlh::{
    host::{
        artifacts::{ArtifactServer, Cache},
        install::{InstallError, Job, Label, Placed, STAGING, Staged, Strip, TRASH, stage},
        store::Durability,
    },
    model::{catalog::Digest, settings::Install},
};

/// A place for installs, with something beside it that nobody may touch.
struct Place {
    folder: TempDir,
    install: Install,
    strip: Strip,
    cancel: CancellationToken,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("things")).unwrap();
        fs::write(folder.path().join("outside"), "untouched").unwrap();
        let quick = Duration::from_millis(1);
        let install = Install { backoff: vec![quick; 3], stall: Duration::from_secs(5), ..Install::default() };
        Place { folder, install, strip: Strip::Auto, cancel: CancellationToken::new() }
    }

    /// The folder of versions.
    fn things(&self) -> PathBuf {
        self.folder.path().join("things")
    }

    fn target(&self) -> PathBuf {
        self.things().join("1.0")
    }

    fn cache(&self) -> Cache {
        Cache::open(self.folder.path().join("cache")).unwrap()
    }

    /// Everything up to the moment before it becomes real.
    fn stage(&self, base: &str, name: &str, digest: Option<Digest>) -> Result<Staged, InstallError> {
        self.with_job(base, name, digest, stage)
    }

    fn install(&self, base: &str, name: &str, digest: Option<Digest>) -> Result<Placed, InstallError> {
        self.stage(base, name, digest)?.activate(Durability::Process)
    }

    fn with_job<T>(&self, base: &str, name: &str, digest: Option<Digest>, work: impl FnOnce(&Job) -> T) -> T {
        let server = ArtifactServer::new(base, &[], &self.install).unwrap();
        let (artifact, cache) = (server.artifact(name, digest, None).unwrap(), self.cache());
        work(&Job {
            server: &server,
            cache: Some(&cache),
            artifact: &artifact,
            target: &self.target(),
            label: Label { id: "thing".into(), version: "1.0".into() },
            strip: self.strip,
            owner: None,
            cancel: &self.cancel,
            watch: &|_| (),
        })
    }

    /// Nothing is left of an install that failed, and nothing outside was touched.
    fn assert_untouched(&self, what: &str) {
        let left: Vec<String> = names(&self.things()).into_iter().filter(|name| name != "1.0").collect();
        assert_eq!(left, Vec::<String>::new(), "{what}: something is left behind");
        assert_eq!(fs::read_to_string(self.folder.path().join("outside")).unwrap(), "untouched", "{what}");
        let mut here = names(self.folder.path());
        here.retain(|name| name != "cache");
        assert_eq!(here, ["outside", "things"], "{what}: something was made outside");
    }

    fn trash(&self) -> Vec<String> {
        names(&self.things().join(TRASH))
    }

    fn staging(&self) -> Vec<String> {
        names(&self.things().join(STAGING))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Every path with what it is: `755 <content>`, `-> <target>`, `755/`.
fn contents(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let mode = about.permissions().mode() & 0o7777;
            let what = if about.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if about.is_dir() {
                open.push(path.clone());
                format!("{mode:o}/")
            } else {
                format!("{mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
            };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if name != zlh::host::install::MANIFEST {
                found.insert(name, what);
            }
        }
    }
    found
}
