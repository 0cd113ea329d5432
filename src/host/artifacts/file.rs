//! A single file that is fetched to be put somewhere: `server.jar`, a mod, an installer. Also what a .zip is unpacked from.
use super::{
    Artifact, ArtifactServer, Cache, Fault, FetchError, FetchStep, Origins, Received, Source, Trouble, persist,
};
use crate::host::{accounts::Account, failpoint};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::ControlFlow,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};
use tokio_util::sync::CancellationToken;

/// Names of files that are on their way begin so; [`sweep`] removes what a killed agent left.
const PREFIX: &str = ".zlh-fetch-";

/// A fetched and verified file that has no name of its own yet. It is gone when this is dropped.
#[derive(Debug)]
pub struct FetchedFile {
    file: File,
    path: PathBuf,
    received: Received,
}

impl ArtifactServer {
    /// Fetches the whole file into `folder`, under a hidden name. Blocking. `watch` is told bytes so far and in all.
    pub fn fetch_file(
        &self,
        artifact: &Artifact,
        cache: Option<&Cache>,
        folder: &Path,
        cancel: &CancellationToken,
        watch: &(dyn Fn(u64, Option<u64>) + Sync),
    ) -> Result<FetchedFile, FetchError> {
        let attempt = |artifact: &Artifact, fresh: bool, origins: &Origins| {
            Source { server: self, artifact, cache, cancel, watch, fresh, origins }.fetch(folder)
        };
        let nothing = || FetchError::new(FetchStep::Prepare, artifact.shown(), Fault::Cancelled);
        persist(artifact, attempt, Trouble::of).map_err(|all| FetchError::of_all(all).unwrap_or_else(nothing))
    }
}

impl Source<'_> {
    /// The whole file, in `folder`.
    pub fn fetch(&self, folder: &Path) -> Result<FetchedFile, FetchError> {
        let keep = |e| FetchError::new(FetchStep::Keep, self.artifact.shown(), Fault::Disk(e));
        let path = folder.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(keep)?;
        let mut fetched = FetchedFile { file, path, received: Received::nothing() };
        let mut broken = None;
        let received = self.receive(&mut |bytes| match fetched.file.write_all(&bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                broken = Some(e);
                ControlFlow::Break(())
            }
        });
        match broken {
            Some(e) => Err(keep(e)),
            None => {
                fetched.received = received?;
                Ok(fetched)
            }
        }
    }
}

impl FetchedFile {
    pub fn received(&self) -> &Received {
        &self.received
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes it `name` in the folder it was fetched into, in place of what was there. All or nothing, also for a power
    /// cut. `owner`: whose it shall be; only root can give files away.
    pub fn place(self, name: &str, mode: u32, owner: Option<&Account>) -> io::Result<()> {
        let plain = !name.is_empty() && !matches!(name, "." | "..") && !name.contains(['/', '\0']);
        let folder = self.path.parent().filter(|_| plain);
        let folder = folder.ok_or_else(|| io::Error::other(format!("{name:?} is not a plain file name")))?;
        if let Some(owner) = owner {
            fchown(&self.file, Some(owner.uid), Some(owner.gid))?;
        }
        self.file.set_permissions(fs::Permissions::from_mode(mode & 0o755))?;
        self.file.sync_all()?;
        failpoint::reach("install.file_synced");
        fs::rename(&self.path, folder.join(name))?;
        File::open(folder)?.sync_all()
    }
}

impl Drop for FetchedFile {
    fn drop(&mut self) {
        // Gone already if it was placed.
        _ = fs::remove_file(&self.path);
    }
}

/// Removes what fetches left in `folder` that were killed. Nobody may be fetching into it.
pub fn sweep(folder: &Path) -> io::Result<u64> {
    let mut swept = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

impl Received {
    fn nothing() -> Received {
        Received { digest: crate::model::catalog::Digest([0; 32]), bytes: 0, url: String::new(), from_cache: false }
    }
}
