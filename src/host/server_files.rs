//! The files of a game in its server root: put there from an installed tree, repaired when they are damaged, replaced by
//! those of the next version. What the owner has changed stays.
//!
//! | in the root | recorded as ours | it is an owner's file | what happens |
//! |---|---|---|---|
//! | nothing | | | placed |
//! | the tree's | | | nothing |
//! | another one | with that very hash | | replaced: it is the last version's |
//! | another one | | yes | kept |
//! | another one | with another hash | no | repaired |
//! | another one | no | no | set aside as `<name>.before-install`, then placed |
//!
//! A recorded file that the tree has no longer is removed if nobody has changed it.
mod lines;

pub use lines::{LinesError, write_lines};

use super::{
    beneath::Beneath,
    install::{Manifest, Record},
};
use crate::model::{catalog::Digest, glob::Glob};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

const BUFFER: usize = 256 << 10;
const ASIDE: &str = ".before-install";

/// What a server root is made from.
pub struct Source<'a> {
    /// The tree's folder, and what is in it.
    pub tree: &'a Path,
    pub manifest: &'a Manifest,
    /// The name that the tree gets if it is a single file.
    pub file: Option<&'a str>,
    /// Patterns of files that belong to the owner.
    pub owners: &'a [Glob],
}

/// What was put into a server root; kept in the agent's state folder, where the game cannot reach it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    /// Of the archive that `files` came from.
    pub archive: Option<Digest>,
    pub files: BTreeMap<String, Digest>,
    /// Of the archive whose installer has been run to its end.
    #[serde(default)]
    pub ran: Option<Digest>,
    /// Further files that were once put in place.
    #[serde(default)]
    pub extras: BTreeMap<String, Digest>,
}

/// What placing found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub placed: Vec<String>,
    pub repaired: Vec<String>,
    pub removed: Vec<String>,
    /// Files of the owner that differ from the tree's.
    pub kept: Vec<String>,
    pub set_aside: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {what}: {source}")]
pub struct FilesError {
    pub path: PathBuf,
    pub what: &'static str,
    pub source: io::Error,
}

/// Blocking. Each file is replaced in one step; killed in between, the next call does the rest.
pub fn place(
    root: &Beneath,
    source: &Source<'_>,
    was: &Placed,
    progress: &dyn Fn(f64),
) -> Result<(Placed, Changes), FilesError> {
    let mut changes = Changes::default();
    let mut now = Placed { archive: Some(source.manifest.installed.sha256), files: BTreeMap::new(), ..was.clone() };
    let all = source.manifest.entries.len().max(1);
    for (done, (path, record)) in source.manifest.entries.iter().enumerate() {
        let to = target(source, path);
        let fault = |what| move |source| FilesError { path: to.into(), what, source };
        match record {
            Record::Folder { .. } => drop(root.folder(to).map_err(fault("made"))?),
            Record::Link { target } if !root.has(to).map_err(fault("looked at"))? => {
                root.link(to, target).map_err(fault("linked"))?;
            }
            Record::Link { .. } => {}
            Record::File { sha256, mode, .. } => {
                let file = One { root, source, from: path, to, sha256: *sha256, mode: *mode };
                file.settle(was, &mut changes).map_err(fault("put in place"))?;
                now.files.insert(to.to_owned(), *sha256);
            }
        }
        progress(done as f64 / all as f64);
    }
    drop_superseded(root, was, &now, &mut changes)?;
    Ok((now, changes))
}

fn target<'a>(source: &Source<'a>, path: &'a str) -> &'a str {
    let single = source.manifest.installed.files == 1;
    source.file.filter(|_| single && !path.contains('/')).unwrap_or(path)
}

/// One file of the tree on its way into the root.
struct One<'a> {
    root: &'a Beneath,
    source: &'a Source<'a>,
    from: &'a str,
    to: &'a str,
    sha256: Digest,
    mode: u32,
}

impl One<'_> {
    fn settle(&self, was: &Placed, changes: &mut Changes) -> io::Result<()> {
        let Some(there) = self.root.file(self.to)? else {
            changes.placed.push(self.to.to_owned());
            return self.copy();
        };
        let there = digest(there)?;
        if there == self.sha256 {
            return Ok(());
        }
        match was.files.get(self.to) {
            Some(ours) if *ours == there => changes.placed.push(self.to.to_owned()),
            _ if self.source.owners.iter().any(|glob| glob.matches(self.to)) => {
                changes.kept.push(self.to.to_owned());
                return Ok(());
            }
            Some(_) => changes.repaired.push(self.to.to_owned()),
            None => {
                self.root.rename(self.to, &format!("{}{ASIDE}", self.to))?;
                changes.set_aside.push(self.to.to_owned());
            }
        }
        self.copy()
    }

    fn copy(&self) -> io::Result<()> {
        let mut from = File::open(self.source.tree.join(self.from))?;
        let mode = Mode::from_bits_truncate(self.mode & 0o755);
        self.root.replace(self.to, mode, |into| io::copy(&mut from, into).map(drop))
    }
}

fn drop_superseded(root: &Beneath, was: &Placed, now: &Placed, changes: &mut Changes) -> Result<(), FilesError> {
    for (path, ours) in was.files.iter().filter(|(path, _)| !now.files.contains_key(*path)) {
        let fault = |source| FilesError { path: path.into(), what: "removed", source };
        let unchanged = match root.file(path).map_err(fault)? {
            Some(there) => digest(there).map_err(fault)? == *ours,
            None => false,
        };
        if unchanged {
            root.remove(path).map_err(fault)?;
            changes.removed.push(path.clone());
        }
    }
    Ok(())
}

/// Puts a single file in place if nobody ever did so and no file of that name is there.
pub fn place_once(
    root: &Beneath,
    tree: &Path,
    manifest: &Manifest,
    to: &str,
    was: &mut Placed,
) -> Result<bool, FilesError> {
    let fault = |source| FilesError { path: to.into(), what: "put in place", source };
    let only = manifest.entries.iter().find_map(|(path, record)| match record {
        Record::File { sha256, mode, .. } => Some((path, *sha256, *mode)),
        Record::Link { .. } | Record::Folder { .. } => None,
    });
    let Some((from, sha256, mode)) = only.filter(|_| !was.extras.contains_key(to)) else { return Ok(false) };
    let there = root.has(to).map_err(fault)?;
    if !there {
        let mut file = File::open(tree.join(from)).map_err(fault)?;
        let mode = Mode::from_bits_truncate(mode & 0o755);
        root.replace(to, mode, |into| io::copy(&mut file, into).map(drop)).map_err(fault)?;
    }
    was.extras.insert(to.to_owned(), sha256);
    Ok(!there)
}

fn digest(mut file: File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests;
