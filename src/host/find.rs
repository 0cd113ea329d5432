//! Files beneath a folder that match patterns. Symbolic links are never followed, and the walk is bounded.
use crate::model::glob::Glob;
use std::{cmp::Ordering, collections::BTreeMap, fs, io, path::Path};

/// Entries looked at before the walk gives up: a server root may hold millions of region files.
const MOST_ENTRIES: usize = 200_000;
const DEEPEST: usize = 32;

/// For each pattern the matching files, oldest version first (`1.9` before `1.10`). A folder that is absent is empty.
pub fn find(root: &Path, patterns: &[String]) -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut globs = Vec::new();
    for text in patterns {
        globs.push(Glob::parse(text).map_err(|why| io::Error::other(format!("pattern {text:?}: {why}")))?);
    }
    let mut walk = Walk { globs, found: vec![Vec::new(); patterns.len()], left: MOST_ENTRIES };
    walk.folder(root, "", 0)?;
    let sorted = walk.found.into_iter().map(|mut files| {
        files.sort_by(|a, b| by_version(a, b));
        files
    });
    Ok(patterns.iter().cloned().zip(sorted).collect())
}

struct Walk {
    globs: Vec<Glob>,
    found: Vec<Vec<String>>,
    left: usize,
}

impl Walk {
    /// `path` is `folder` relative to where the walk began.
    fn folder(&mut self, folder: &Path, path: &str, depth: usize) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("too many files to look through"))?;
            // A name that is not UTF-8 can match no pattern.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < DEEPEST && self.globs.iter().any(|glob| glob.may_match_beneath(&path)) {
                self.folder(&entry.path(), &path, depth + 1)?;
            } else if kind.is_file() {
                for (glob, found) in self.globs.iter().zip(&mut self.found) {
                    if glob.matches(&path) {
                        found.push(path.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Runs of digits compare as numbers, all else as text.
fn by_version(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (x, y) = (digits(a), digits(b));
        let order = match (x.is_empty(), y.is_empty()) {
            (false, false) => {
                let (p, q) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
                (p.len(), p).cmp(&(q.len(), q))
            }
            _ => a.chars().next().cmp(&b.chars().next()),
        };
        if order != Ordering::Equal || a.is_empty() {
            return order;
        }
        let first = |text: &str, run: &str| run.len().max(text.chars().next().map_or(0, char::len_utf8));
        (a, b) = (&a[first(a, x)..], &b[first(b, y)..]);
    }
}

fn digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_people_read_them() {
        let mut names = ["1.20.1-47.10", "1.20.1-47.2", "1.9", "1.20", "a10b2", "a9b10", "a", ""];
        names.sort_by(|a, b| by_version(a, b));
        assert_eq!(names, ["", "1.9", "1.20", "1.20.1-47.2", "1.20.1-47.10", "a", "a9b10", "a10b2"]);
    }

    #[test]
    fn files_are_found_newest_last_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for version in ["1.20.1-47.2.0", "1.20.1-47.10.0"] {
            fs::create_dir_all(root.join("libraries/forge").join(version)).unwrap();
            fs::write(root.join("libraries/forge").join(version).join("unix_args.txt"), "").unwrap();
        }
        fs::create_dir(root.join("mods")).unwrap();
        std::os::unix::fs::symlink(root.join("libraries/forge/1.20.1-47.2.0"), root.join("libraries/forge/9")).unwrap();
        let patterns = ["libraries/forge/*/unix_args.txt".to_owned(), "*.jar".to_owned()];
        let found = find(root, &patterns).unwrap();
        let expected = ["1.20.1-47.2.0", "1.20.1-47.10.0"].map(|v| format!("libraries/forge/{v}/unix_args.txt"));
        assert_eq!(found[&patterns[0]], expected);
        assert!(found[&patterns[1]].is_empty());
        assert!(find(&root.join("absent"), &patterns).unwrap()[&patterns[0]].is_empty());
        assert!(find(root, &["/etc/*".into()]).is_err());
    }
}
