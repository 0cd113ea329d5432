//! What a server's watched files looked like, and what changed since: the first question after a crash.
//!
//! Files are told apart by size, time and, where it is cheap, content: small ones are always hashed, larger ones only
//! when size or time moved, so that a jar that was merely touched is not called changed.
use super::no_follow::{Folder, modified_ms};
use crate::model::crash::Change;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Up to this size a file is hashed every time.
const SMALL: u64 = 64 << 10;
/// Folders below folders that are entered.
const DEPTH: usize = 16;

/// How much work one snapshot may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files remembered; further ones are only counted.
    pub files: usize,
    /// Bytes of larger files read for their hashes.
    pub hash_bytes: u64,
}

/// One file at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    pub size: u64,
    /// Unix milliseconds.
    pub modified: i64,
    /// Hex; `None` for a large file whose hash was never needed.
    pub sha256: Option<String>,
}

/// The watched files at one time, by their path below the server root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub files: BTreeMap<String, FileMark>,
    /// Files and folders that were not looked at, because there were too many or they could not be read.
    pub skipped: u64,
}

/// Looks at every file below `root` that one of `globs` means. `*` and `?` stay within a name, `**` goes through
/// folders. Blocks on the disk. `before` saves hashing what did not move.
pub fn snapshot(root: &Path, globs: &[String], limits: Limits, before: &Manifest) -> io::Result<Manifest> {
    let root = Folder::root(root)?;
    let mut walk = Walk { before, limits, visits: limits.files.saturating_mul(4), found: Manifest::default() };
    for glob in globs {
        let parts: Vec<&str> = glob.split('/').collect();
        if parts.iter().any(|p| matches!(*p, "" | "." | "..")) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{glob:?} is not a pattern below the server root"),
            ));
        }
        walk.folder(&root, "", &parts, DEPTH)?;
    }
    Ok(walk.found)
}

/// What is different in `after`, sorted by path. Files that a limit hid on one side are not called added or removed.
pub fn changes(before: &Manifest, after: &Manifest) -> Vec<Change> {
    let complete = before.skipped == 0 && after.skipped == 0;
    let change = |kind: &str, what: &String, detail: String| Change { kind: kind.into(), what: what.clone(), detail };
    let gone = before.files.iter().filter(|(path, _)| complete && !after.files.contains_key(*path));
    let mut all: Vec<Change> = gone.map(|(path, old)| change("removed", path, format!("{} bytes", old.size))).collect();
    for (path, new) in &after.files {
        match before.files.get(path) {
            None if complete => all.push(change("added", path, format!("{} bytes", new.size))),
            Some(old) if differs(old, new) => {
                all.push(change("changed", path, format!("{} bytes, before {} bytes", new.size, old.size)));
            }
            _ => {}
        }
    }
    all.sort_by(|a, b| a.what.cmp(&b.what));
    all
}

fn differs(old: &FileMark, new: &FileMark) -> bool {
    match (&old.sha256, &new.sha256) {
        (Some(a), Some(b)) => a != b,
        _ => old.size != new.size || old.modified != new.modified,
    }
}

struct Walk<'a> {
    before: &'a Manifest,
    limits: Limits,
    /// Names that may still be looked at.
    visits: usize,
    found: Manifest,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Folder, prefix: &str, parts: &[&str], depth: usize) -> io::Result<()> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        let names = folder.names(self.visits.saturating_add(1))?;
        for name in &names {
            if self.visits == 0 {
                self.found.skipped += 1;
                return Ok(());
            }
            self.visits -= 1;
            let path = format!("{prefix}{name}");
            if *part == "**" {
                // As many folders as there are, none included.
                self.enter(folder, name, &path, parts, depth)?;
                match rest {
                    [] => self.file(folder, name, &path),
                    [last] if fits(last, name) => self.file(folder, name, &path),
                    [next, deeper @ ..] if !deeper.is_empty() && fits(next, name) => {
                        self.enter(folder, name, &path, deeper, depth)?;
                    }
                    _ => {}
                }
            } else if fits(part, name) {
                match rest {
                    [] => self.file(folder, name, &path),
                    _ => self.enter(folder, name, &path, rest, depth)?,
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, parent: &Folder, name: &str, path: &str, parts: &[&str], depth: usize) -> io::Result<()> {
        match parent.folder(name) {
            Ok(Some(_)) if depth == 0 => self.found.skipped += 1,
            Ok(Some(folder)) => self.folder(&folder, &format!("{path}/"), parts, depth - 1)?,
            Ok(None) => {}
            Err(_) => self.found.skipped += 1,
        }
        Ok(())
    }

    fn file(&mut self, folder: &Folder, name: &str, path: &str) {
        if self.found.files.contains_key(path) {
            return;
        }
        let marked = match folder.file(name) {
            Ok(Some(_)) if self.found.files.len() >= self.limits.files => Err(io::ErrorKind::QuotaExceeded.into()),
            Ok(Some((file, about))) => self.mark(file, about.len(), modified_ms(&about), path).map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err(e),
        };
        match marked {
            Ok(Some(mark)) => drop(self.found.files.insert(path.to_owned(), mark)),
            Ok(None) => {}
            Err(_) => self.found.skipped += 1,
        }
    }

    fn mark(&mut self, file: File, size: u64, modified: i64, path: &str) -> io::Result<FileMark> {
        let known = self.before.files.get(path);
        // Of a small file the time is not enough: two edits may fall into one tick of the clock.
        if let Some(same) = known.filter(|k| size > SMALL && k.size == size && k.modified == modified) {
            return Ok(same.clone());
        }
        let affordable = known.is_some() && size <= self.limits.hash_bytes;
        if size > SMALL && !affordable {
            return Ok(FileMark { size, modified, sha256: None });
        }
        self.limits.hash_bytes = self.limits.hash_bytes.saturating_sub(size);
        Ok(FileMark { size, modified, sha256: Some(sha256(file, size)?) })
    }
}

/// Of the first `size` bytes: a file that grows meanwhile must not keep us.
fn sha256(file: File, size: u64) -> io::Result<String> {
    let mut file = file.take(size);
    let mut hash = Sha256::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Does `name` fit one part of a pattern? `*` stands for any text, `?` for one character.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // `retry`: where the last star stands, and up to where it reaches so far.
    let (mut p, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((star, reached)) = retry else { return false };
                retry = Some((star, reached + 1));
                (p, n) = (star + 1, reached + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests;
