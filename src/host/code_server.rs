//! The editor on this machine: which version is installed, and its own configuration file.
use super::{accounts::Account, beneath::Beneath, install::Shelf};
use nix::sys::stat::Mode;
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Relative to the home.
const CONFIG: &str = ".config/code-server/config.yaml";
const BROKEN: &str = ".config/code-server/config.yaml.broken";
/// A larger one is no configuration.
const MOST_BYTES: u64 = 256 << 10;

/// The active version's folder; `None` if none is installed. Blocking.
pub fn installed(shelf: &Path) -> io::Result<Option<PathBuf>> {
    let shelf = Shelf::at(shelf);
    shelf.active()?.map(|version| shelf.place(&version)).transpose()
}

/// Those of its files that a start needs and that are not there.
pub fn missing(install: &Path) -> Vec<PathBuf> {
    let needed = ["bin/code-server", "lib/node", "out/node/entry.js", "package.json"];
    needed.map(|file| install.join(file)).into_iter().filter(|path| !path.is_file()).collect()
}

/// Its configuration in this home, as text; `None` if there is none.
pub fn read_config(home: &Path, account: &Account) -> io::Result<Option<String>> {
    let Some(file) = Beneath::open(home, account)?.file(CONFIG)? else { return Ok(None) };
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

pub fn write_config(home: &Path, account: &Account, text: &str) -> io::Result<()> {
    let private = Mode::from_bits_truncate(0o600);
    Beneath::open(home, account)?.replace(CONFIG, private, |file| file.write_all(text.as_bytes()))
}

/// Moves it to where its owner finds it, and answers with that place; the editor writes a fresh one.
pub fn set_config_aside(home: &Path, account: &Account) -> io::Result<PathBuf> {
    Beneath::open(home, account)?.rename(CONFIG, BROKEN)?;
    Ok(home.join(BROKEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::accounts;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn the_configuration_is_read_replaced_and_set_aside_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let (home, account) = (home.path(), accounts::own().unwrap());
        assert_eq!(read_config(home, &account).unwrap(), None);
        fs::create_dir_all(home.join(".config/code-server")).unwrap();
        write_config(home, &account, "auth: none\n").unwrap();
        assert_eq!(read_config(home, &account).unwrap().as_deref(), Some("auth: none\n"));
        let kept = set_config_aside(home, &account).unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), "auth: none\n");
        symlink("/etc/passwd", home.join(CONFIG)).unwrap();
        read_config(home, &account).unwrap_err();
    }

    #[test]
    fn nothing_installed_is_no_error_and_half_of_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(installed(folder.path()).unwrap(), None);
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        fs::write(folder.path().join("bin/code-server"), "").unwrap();
        let missing = missing(folder.path());
        assert_eq!(missing.len(), 3, "{missing:?}");
        assert!(missing.contains(&folder.path().join("lib/node")));
    }
}
