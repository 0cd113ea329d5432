//! What an archive may hold. Pure: names, kinds and numbers come in, a refusal or an admitted entry comes out.
//!
//! A refused entry refuses the whole archive: who sends one bad name may have sent others that look good. That a path never
//! goes through a link is decided here *and* by the kernel, when the entry is made (`O_NOFOLLOW`).
use super::manifest::{MANIFEST, Record};
use crate::model::{catalog::Digest, settings::Install};
use std::collections::HashMap;

/// Longest name of one file or folder, as Linux has it.
const LONGEST_NAME: usize = 255;
/// What is left of a mode: no setuid, setgid, sticky, nor writing by others than the owner.
const FILE_BITS: u32 = 0o755;

/// One entry as the archive tells it.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Raw<'a> {
    pub name: &'a [u8],
    pub kind: Kind,
    /// Of links.
    pub target: &'a [u8],
    pub mode: u32,
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Kind {
    File,
    Folder,
    Symlink,
    Hardlink,
    /// Device, FIFO, socket or something unheard of.
    Other(&'static str),
}

/// One entry as it will be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Admitted {
    pub path: String,
    pub what: What,
    /// A name that was there before, of the same kind.
    pub again: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    File {
        mode: u32,
    },
    Folder {
        mode: u32,
    },
    Symlink {
        target: String,
    },
    /// `target` is a file that was unpacked before.
    Hardlink {
        target: String,
    },
}

/// An archive that is not taken, and the entry that was too much.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("entry {entry:?} {why}; the whole archive is refused")]
pub struct Refusal {
    /// As the archive wrote it, shortened.
    pub entry: String,
    pub why: String,
}

/// The archive so far.
pub(super) struct Rules<'a> {
    limits: &'a Install,
    /// Leading folders that are dropped from each name.
    strip: usize,
    entries: u64,
    bytes: u64,
    seen: HashMap<String, Record>,
}

impl<'a> Rules<'a> {
    pub fn new(limits: &'a Install, strip: usize) -> Self {
        Rules { limits, strip, entries: 0, bytes: 0, seen: HashMap::new() }
    }

    /// `None`: nothing is to be made of it (the top folder itself).
    pub fn admit(&mut self, raw: &Raw) -> Result<Option<Admitted>, Refusal> {
        self.try_admit(raw).map_err(|why| refusal(raw.name, why))
    }

    /// Entries that only describe others cost time, too.
    pub fn count(&mut self, name: &[u8]) -> Result<(), Refusal> {
        self.entries += 1;
        let most = self.limits.max_entries;
        let many = || refusal(name, format!("is one more than the {most} that install.max_entries allows"));
        if self.entries > most { Err(many()) } else { Ok(()) }
    }

    /// The content of the file that was admitted last has come.
    pub fn hashed(&mut self, path: &str, sha256: Digest, size: u64) {
        if let Some(Record::File { sha256: slot, size: bytes, .. }) = self.seen.get_mut(path) {
            (*slot, *bytes) = (sha256, size);
        }
    }

    /// `plain` bytes came out of `packed`.
    pub fn ratio(&self, entry: &str, plain: u64, packed: u64) -> Result<(), Refusal> {
        let most = self.limits.max_ratio;
        if plain > Install::RATIO_FROM && plain / most > packed {
            let why = format!("brings it to {plain} bytes out of {packed}, more than {most} to 1 (install.max_ratio)");
            return Err(refusal(entry.as_bytes(), why));
        }
        Ok(())
    }

    pub fn into_records(self) -> HashMap<String, Record> {
        self.seen
    }

    fn try_admit(&mut self, raw: &Raw) -> Result<Option<Admitted>, String> {
        self.count(raw.name).map_err(|refusal| refusal.why)?;
        if let Kind::Other(kind) = raw.kind {
            return Err(format!("is a {kind}"));
        }
        let parts = self.parts(raw.name, "name")?;
        if parts.len() <= self.strip {
            let folder = raw.kind == Kind::Folder;
            return if folder { Ok(None) } else { Err(format!("has no name left without {} folders", self.strip)) };
        }
        let parts = &parts[self.strip..];
        self.weigh(raw)?;
        self.parents(parts)?;
        let path = parts.join("/");
        let what = self.what(raw, &path, parts.len())?;
        let again = self.record(&path, &what)?;
        Ok(Some(Admitted { path, what, again }))
    }

    fn weigh(&mut self, raw: &Raw) -> Result<(), String> {
        if raw.kind != Kind::File && raw.size > 0 {
            return Err(format!("is no file but has {} bytes of content", raw.size));
        }
        self.bytes = self.bytes.saturating_add(raw.size);
        let most = self.limits.max_bytes;
        if self.bytes > most {
            return Err(format!("of {} bytes makes it larger than the {most} that install.max_bytes allows", raw.size));
        }
        Ok(())
    }

    /// The parts of a relative path; `what` says what it is for.
    fn parts<'n>(&self, name: &'n [u8], what: &str) -> Result<Vec<&'n str>, String> {
        let name = text(name, what, self.limits.max_path_bytes)?;
        if name.starts_with('/') {
            return Err(format!("has an absolute {what}"));
        }
        let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err(format!("has a {what} with '..'"));
        }
        if parts.iter().any(|part| part.len() > LONGEST_NAME) {
            return Err(format!("has a part of more than {LONGEST_NAME} bytes in its {what}"));
        }
        if parts.len() > self.limits.max_path_levels + self.strip {
            return Err(format!(
                "lies more than {} folders deep (install.max_path_levels)",
                self.limits.max_path_levels
            ));
        }
        if parts.last() == Some(&MANIFEST) {
            return Err("has the name of the install's own manifest".into());
        }
        Ok(parts)
    }

    /// Every folder above must be a folder; one that the archive never mentioned is made.
    fn parents(&mut self, parts: &[&str]) -> Result<(), String> {
        let above = parts.len() - 1;
        for deep in (1..=above).rev() {
            let folder = parts[..deep].join("/");
            match self.seen.get(&folder) {
                Some(Record::Folder { .. }) => return Ok(()),
                Some(Record::Link { .. }) => return Err(format!("lies behind the link {folder:?}")),
                Some(Record::File { .. }) => return Err(format!("lies in {folder:?}, which is a file")),
                None => drop(self.seen.insert(folder, Record::Folder { mode: 0o755 })),
            }
        }
        Ok(())
    }

    fn what(&self, raw: &Raw, path: &str, depth: usize) -> Result<What, String> {
        Ok(match raw.kind {
            Kind::File => What::File { mode: raw.mode & FILE_BITS | 0o400 },
            Kind::Folder => What::Folder { mode: raw.mode & FILE_BITS | 0o700 },
            Kind::Symlink => What::Symlink { target: self.symlink(raw.target, depth)? },
            Kind::Hardlink => What::Hardlink { target: self.hardlink(raw.target, path)? },
            Kind::Other(kind) => return Err(format!("is a {kind}")),
        })
    }

    /// Only what can be said at once; where it really leads is looked at when the whole tree is known.
    fn symlink(&self, target: &[u8], depth: usize) -> Result<String, String> {
        let target = text(target, "link target", self.limits.max_path_bytes)?;
        if target.starts_with('/') {
            return Err(format!("is a link to the absolute {target:?}"));
        }
        let up = target.split('/').filter(|part| !matches!(*part, "" | ".")).take_while(|part| *part == "..").count();
        if up >= depth + self.strip {
            return Err(format!("is a link to {target:?}, outside"));
        }
        Ok(target.to_owned())
    }

    fn hardlink(&self, target: &[u8], path: &str) -> Result<String, String> {
        let parts = self.parts(target, "link target")?;
        let target = parts.get(self.strip..).unwrap_or_default().join("/");
        match self.seen.get(&target) {
            Some(Record::File { .. }) if target != path => Ok(target),
            _ => Err(format!("is a hard link to {target:?}, which is no file of this archive before it")),
        }
    }

    /// Was there something of this name before?
    fn record(&mut self, path: &str, what: &What) -> Result<bool, String> {
        let record = match what {
            What::File { mode } => Record::File { sha256: Digest([0; 32]), mode: *mode, size: 0 },
            What::Folder { mode } => Record::Folder { mode: *mode },
            What::Symlink { target } => Record::Link { target: target.clone() },
            What::Hardlink { target } => self.seen[target].clone(),
        };
        let before = self.seen.get(path);
        if before.is_some_and(|before| std::mem::discriminant(before) != std::mem::discriminant(&record)) {
            return Err("comes twice, as different kinds of thing".into());
        }
        Ok(self.seen.insert(path.to_owned(), record).is_some())
    }
}

fn text<'n>(name: &'n [u8], what: &str, longest: usize) -> Result<&'n str, String> {
    if name.is_empty() {
        return Err(format!("has an empty {what}"));
    }
    if name.len() > longest {
        return Err(format!("has a {what} of {} bytes, more than install.max_path_bytes ({longest})", name.len()));
    }
    let name = str::from_utf8(name).map_err(|_| format!("has a {what} that is not UTF-8"))?;
    if name.chars().any(char::is_control) {
        return Err(format!("has a {what} with a control character"));
    }
    Ok(name)
}

pub(in crate::host) fn refusal(name: &[u8], why: impl Into<String>) -> Refusal {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(name);
    let mut entry: String = text.chars().take(SHOWN).collect();
    if entry.len() < text.len() {
        entry.push('…');
    }
    Refusal { entry, why: why.into() }
}

#[cfg(test)]
mod tests;
