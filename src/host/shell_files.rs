//! The folders that keepers of shells leave: how sessions are found again, and how they are forgotten.
use super::keeper_client::{console_dir, keeper_dir};
use std::{fs, io, path::Path};

const PREFIX: &str = "shell-";

/// The name of a session's workload.
pub fn workload(session: &str) -> String {
    format!("{PREFIX}{session}")
}

/// Names of all sessions that have a folder beneath `root`, sorted. Blocking.
pub fn sessions(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in [keeper_dir(root, ""), console_dir(root, "")] {
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(|n| n.strip_prefix(PREFIX)).map(str::to_owned));
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Both folders of a session go; fine if there are none. Its keeper has left. Blocking.
pub fn remove(root: &Path, session: &str) -> io::Result<()> {
    let name = workload(session);
    for folder in [keeper_dir(root, &name), console_dir(root, &name)] {
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(io::Error::new(e.kind(), format!("{}: {e}", folder.display())));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_found_by_their_folders_and_forgotten_with_them() {
        let root = tempfile::tempdir().unwrap();
        assert!(sessions(root.path()).unwrap().is_empty());
        fs::create_dir_all(keeper_dir(root.path(), "shell-main")).unwrap();
        fs::create_dir_all(console_dir(root.path(), "shell-main").join("x")).unwrap();
        fs::create_dir_all(console_dir(root.path(), "shell-old")).unwrap();
        fs::create_dir_all(keeper_dir(root.path(), "game")).unwrap();
        assert_eq!(sessions(root.path()).unwrap(), ["main", "old"]);
        for _ in 0..2 {
            remove(root.path(), "main").unwrap();
        }
        assert_eq!(sessions(root.path()).unwrap(), ["old"]);
        assert!(keeper_dir(root.path(), "game").is_dir());
    }
}
