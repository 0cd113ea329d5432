//! Tailscale's programs on this machine, and files that only root may read.
use super::{accounts, trial};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

const DEVICE: &str = "/dev/net/tun";

/// May this process make network devices?
pub fn has_device() -> bool {
    OpenOptions::new().read(true).write(true).open(DEVICE).is_ok()
}

/// A folder that nobody but this account may pass. Blocking.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// A secret in a file of its own, which goes with this.
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// Blocking.
    pub fn write(path: &Path, key: &str) -> io::Result<KeyFile> {
        // What an agent that was killed left behind.
        _ = fs::remove_file(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = KeyFile(path.to_owned());
        file.write_all(key.as_bytes())?;
        Ok(written)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_file(&self.0) {
            tracing::warn!(%why, file = %self.0.display(), "a key that was used could not be removed");
        }
    }
}

/// What a command of Tailscale's says.
pub async fn run(argv: &[String], within: Duration) -> Result<String, String> {
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]);
    let account = accounts::own().map_err(|e| e.to_string())?;
    trial::run(argv, &env, Path::new("/"), &account, within).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lies_in_a_file_of_its_own_for_as_long_as_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        private_folder(&run).unwrap();
        let path = run.join("key");
        fs::write(&path, "old").unwrap();
        let key = KeyFile::write(&path, "S3CRET").unwrap();
        assert_eq!(fs::read_to_string(key.path()).unwrap(), "S3CRET");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&run)), (0o600, 0o700));
        drop(key);
        assert!(!path.exists());
    }
}
