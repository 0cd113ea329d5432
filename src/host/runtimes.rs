//! Runtimes with an active version: `opt/zlh/runtimes/<id>/current` leads to it.
use crate::model::dev::ActiveRuntime;
use std::{fs, io, path::Path};

const FOLDER: &str = "opt/zlh/runtimes";
const CURRENT: &str = "current";

/// All of them beneath `root`, by name. Blocking.
pub fn active(root: &Path) -> io::Result<Vec<ActiveRuntime>> {
    let entries = match fs::read_dir(root.join(FOLDER)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().filter(|name| is_plain(name)).map(str::to_owned) else { continue };
        let home = entry.path().join(CURRENT);
        if home.is_dir() {
            // dotnet's programs lie in its folder itself, everybody else's in `bin`.
            let bin = if home.join("bin").is_dir() { vec!["bin".to_owned()] } else { Vec::new() };
            all.push(ActiveRuntime { id, home, bin });
        }
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// Such names only are put into scripts.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_current_version_is_active() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(active(root.path()).unwrap(), []);
        let runtimes = root.path().join(FOLDER);
        for folder in ["node/22/bin", "dotnet/8.0", "go/1.25/bin", "a b/1/bin", ".staging/x"] {
            fs::create_dir_all(runtimes.join(folder)).unwrap();
        }
        for (id, version) in [("node", "22"), ("dotnet", "8.0"), ("a b", "1"), ("go", "gone")] {
            std::os::unix::fs::symlink(version, runtimes.join(id).join(CURRENT)).unwrap();
        }
        let found = active(root.path()).unwrap();
        let shown: Vec<_> = found.iter().map(|r| (r.id.as_str(), r.bin.join(","))).collect();
        assert_eq!(shown, [("dotnet", String::new()), ("node", "bin".into())]);
        assert_eq!(found[1].home, runtimes.join("node/current"));
    }
}
