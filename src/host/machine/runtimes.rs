//! Java and Node on this machine: in the agent's own folder, and where distributions put them.
use crate::model::machine::Runtime;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where a program called `name` may be found without any `PATH` of ours.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// All runtimes of this name, ours first; each real program once.
pub fn find(root: &Path, name: &str) -> Vec<Runtime> {
    let ours = children(&root.join("opt/zlh/runtimes").join(name))
        .into_iter()
        .map(|folder| (folder.join("bin").join(name), true));
    let virtual_machines = if name == "java" { children(Path::new("/usr/lib/jvm")) } else { Vec::new() };
    let distribution = virtual_machines.into_iter().map(|folder| folder.join("bin").join(name));
    let system = SYSTEM_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let theirs = distribution.chain(system).map(|program| (program, false));
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for (program, ours) in ours.chain(theirs) {
        let Ok(real) = fs::canonicalize(&program) else { continue };
        if real.is_file() && !seen.contains(&real) {
            out.push(Runtime { name: name.to_owned(), major: major(&program, &real, ours), program, ours });
            seen.push(real);
        }
    }
    out
}

/// Sorted, so that the choice between equals does not depend on the disk.
fn children(folder: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    out.sort();
    out
}

/// From the `release` file of a JDK, else from our own folder's name (`21`, `21.0.8`).
fn major(program: &Path, real: &Path, ours: bool) -> Option<u32> {
    let home = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned);
    released(&home(real)?).or_else(|| {
        let name = home(program).filter(|_| ours)?.file_name()?.to_str()?.to_owned();
        leading_number(&name)
    })
}

fn released(home: &Path) -> Option<u32> {
    let text = fs::read_to_string(home.join("release")).ok()?;
    let version = text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"').to_owned();
    // Java 8 called itself 1.8.
    leading_number(version.strip_prefix("1.").unwrap_or(&version))
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_runtimes_come_first_and_know_their_version() {
        let folder = tempfile::tempdir().unwrap();
        for (version, release) in [("21", ""), ("jdk8", "JAVA_VERSION=\"1.8.0_392\"\n"), ("17.0.9", ""), ("half", "-")]
        {
            let home = folder.path().join("opt/zlh/runtimes/java").join(version);
            fs::create_dir_all(home.join("bin")).unwrap();
            fs::write(home.join("release"), release).unwrap();
            if version != "half" {
                fs::write(home.join("bin/java"), "").unwrap();
            }
        }
        let found = find(folder.path(), "java");
        let ours: Vec<_> = found.iter().filter(|r| r.ours).map(|r| r.major).collect();
        assert_eq!(ours, [Some(17), Some(21), Some(8)]);
        assert!(found.iter().skip(3).all(|r| !r.ours));
        assert!(find(folder.path(), "no-such-runtime").is_empty());
    }
}
