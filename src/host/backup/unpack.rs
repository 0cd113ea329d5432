//! Reads an archive back and holds it against its manifest: same names in the same order, same kinds, same bytes.
//!
//! Who only reads on has verified it ([`Nobody`]); who makes the entries ([`super::plant`]) gets nothing that was not
//! judged. A manifest says what to expect and is itself believed in nothing: paths are judged here, and once more by the
//! kernel, when the entry is made.
use super::{
    error::{BackupError, failed},
    manifest::{Entry, Reader, What},
    snapshot::Line,
    walk::{DEEPEST, LONGEST},
};
use crate::{
    host::install::{
        rules::{Kind, Raw, Refusal, refusal},
        tar_stream::{Sink, TarStream},
    },
    model::{backup::Backup, catalog::Digest, settings},
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, BufReader, Read},
    ops::Range,
    path::Path,
};

const PIECE: usize = 256 << 10;
/// Bytes after a tar's end mark.
const MOST_AFTER_END: u64 = 1 << 20;
/// Longest name of one file or folder, as Linux has it.
const LONGEST_NAME: usize = 255;

/// Takes the entries.
pub(super) trait Taker {
    fn entry(&mut self, entry: &Entry) -> Result<(), BackupError>;
    /// Bytes of the last file.
    fn content(&mut self, bytes: &[u8]) -> Result<(), BackupError>;
    /// The last entry is complete.
    fn end(&mut self, entry: &Entry) -> Result<(), BackupError>;
}

/// Takes nothing: reading alone compares.
pub(super) struct Nobody;

impl Taker for Nobody {
    fn entry(&mut self, _: &Entry) -> Result<(), BackupError> {
        Ok(())
    }
    fn content(&mut self, _: &[u8]) -> Result<(), BackupError> {
        Ok(())
    }
    fn end(&mut self, _: &Entry) -> Result<(), BackupError> {
        Ok(())
    }
}

/// Opened before the reader's rights are those of somebody who may not.
pub(super) struct Archive {
    file: File,
    length: u64,
}

impl Archive {
    pub fn open(path: &Path) -> Result<Archive, BackupError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        opened.map(|(length, file)| Archive { file, length }).map_err(failed("open", path))
    }
}

/// Reads all of `archive`. An error comes before or after any number of entries: take them for nothing until it is `Ok`.
pub(super) fn read(
    Archive { file, length }: Archive,
    manifest: Reader,
    of: &Backup,
    limits: &settings::Backups,
    line: Line,
    taker: &mut dyn Taker,
) -> Result<(), BackupError> {
    if length != of.archive_bytes {
        return Err(BackupError::Damaged(format!("the archive has {length} bytes, it had {}", of.archive_bytes)));
    }
    let mut hashed = Hashed { file, hash: Sha256::new(), read: 0 };
    let mut check = Check { manifest, taker, now: None, bytes: 0, most: limits.max_bytes, fault: None };
    let damaged = |e: io::Error| BackupError::Damaged(format!("the archive cannot be unpacked: {e}"));
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(PIECE, &mut hashed)).map_err(damaged)?;
    decoder.window_log_max(super::WINDOW_LOG).map_err(damaged)?;
    let (mut tar, mut piece, mut after) = (TarStream::default(), vec![0; PIECE], 0);
    loop {
        if line.cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        let got = decoder.read(&mut piece).map_err(damaged)?;
        if got == 0 {
            break;
        }
        after += if tar.is_over() { got as u64 } else { 0 };
        let fed = tar.feed(&piece[..got], &mut check);
        check.fault.take().map_or(Ok(()), Err)?;
        fed.map_err(|e| BackupError::Damaged(e.to_string()))?;
        if after > MOST_AFTER_END {
            return Err(BackupError::Damaged("the archive goes on after its end".into()));
        }
        let done = decoder.get_ref().get_ref().read as f64 / length.max(1) as f64;
        (line.tell)("reading the backup", Some(done.min(1.0)));
    }
    drop(decoder);
    tar.finish().map_err(|e| BackupError::Damaged(e.to_string()))?;
    check.finish()?;
    match Digest(hashed.hash.finalize().into()) == of.sha256 {
        true => Ok(()),
        false => Err(BackupError::Damaged("the archive has another SHA-256 than when it was made".into())),
    }
}

/// Hashes what is read.
struct Hashed {
    file: File,
    hash: Sha256,
    read: u64,
}

impl Read for &mut Hashed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(to)?;
        self.hash.update(&to[..got]);
        self.read += got as u64;
        Ok(got)
    }
}

/// The tar as it comes against the manifest.
struct Check<'a> {
    manifest: Reader,
    taker: &'a mut dyn Taker,
    now: Option<(Entry, Sha256)>,
    bytes: u64,
    most: u64,
    /// What the tar reader cannot carry.
    fault: Option<BackupError>,
}

impl Check<'_> {
    /// The next entry that is in the archive.
    fn expected(&mut self) -> Result<Option<Entry>, BackupError> {
        loop {
            match self.manifest.next()? {
                Some(Entry { what: What::Left { .. }, .. }) => {}
                other => return Ok(other),
            }
        }
    }

    fn begin(&mut self, raw: &Raw) -> Result<(), BackupError> {
        let name = raw.name.strip_suffix(b"/").unwrap_or(raw.name);
        let refused = |why: String| BackupError::Refused { entry: shown(name), why };
        sound(name).map_err(|why| refused(why.into()))?;
        if let Kind::Other(kind) = raw.kind {
            return Err(refused(format!("is a {kind}")));
        }
        let Some(entry) = self.expected()? else { return Err(refused("is in no manifest".into())) };
        if entry.path.0 != name {
            return Err(refused(format!("stands where the manifest has {:?}", shown(&entry.path.0))));
        }
        let (kind, size) = match &entry.what {
            What::Folder { .. } => (Kind::Folder, 0),
            What::File { size, .. } => (Kind::File, *size),
            What::Symlink { .. } => (Kind::Symlink, 0),
            What::Hardlink { to } => {
                sound(&to.0).map_err(|why| refused(format!("is another name of {:?}, which {why}", shown(&to.0))))?;
                (Kind::Hardlink, 0)
            }
            What::Left { .. } => return Err(refused("is in no manifest".into())),
        };
        if raw.kind != kind || raw.size != size {
            return Err(refused(format!(
                "is a {:?} of {} bytes, the manifest says {kind:?} of {size}",
                raw.kind, raw.size
            )));
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.most {
            return Err(BackupError::TooMuch {
                what: "what it unpacks to",
                most: self.most,
                setting: "backups.max_bytes",
            });
        }
        self.taker.entry(&entry)?;
        self.now = Some((entry, Sha256::new()));
        Ok(())
    }

    fn complete(&mut self) -> Result<(), BackupError> {
        let Some((entry, hash)) = self.now.take() else { return Ok(()) };
        if let What::File { sha256, .. } = &entry.what
            && Digest(hash.finalize().into()) != *sha256
        {
            return Err(BackupError::Damaged(format!(
                "{:?} has other bytes than when it was copied",
                shown(&entry.path.0)
            )));
        }
        self.taker.end(&entry)
    }

    fn finish(mut self) -> Result<(), BackupError> {
        match self.expected()? {
            None => Ok(()),
            Some(entry) => Err(BackupError::Damaged(format!("the archive lacks {:?}", shown(&entry.path.0)))),
        }
    }
}

impl Sink for Check<'_> {
    fn entry(&mut self, raw: &Raw) -> Result<(), Refusal> {
        self.begin(raw).map_err(|fault| {
            self.fault = Some(fault);
            refusal(raw.name, "is refused")
        })
    }

    fn content(&mut self, piece: &[u8], part: Range<usize>) {
        if let Some((_, hash)) = &mut self.now
            && self.fault.is_none()
        {
            hash.update(&piece[part.clone()]);
            self.fault = self.taker.content(&piece[part]).err();
        }
    }

    fn end(&mut self) {
        if self.fault.is_none() {
            self.fault = self.complete().err();
        }
    }

    fn extension(&mut self) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Could this be the path of something beneath the top folder?
pub(super) fn sound(path: &[u8]) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > LONGEST + LONGEST_NAME {
        return Err("has no path, or too long a one");
    }
    let names: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    if path[0] == b'/' {
        return Err("has an absolute path");
    }
    if names.iter().any(|name| matches!(*name, b"" | b"." | b"..") || name.len() > LONGEST_NAME || name.contains(&0)) {
        return Err("has a path that leads elsewhere");
    }
    if names.len() > DEEPEST + 1 { Err("lies too deep") } else { Ok(()) }
}

pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_beneath_the_top_are_sound() {
        for good in [&b"a"[..], b"a/b.c", b"..a/b..", b"\xff\n", b"...", b"a b"] {
            assert_eq!(sound(good), Ok(()), "{}", shown(good));
        }
        let (deep, long) = (b"a/".repeat(DEEPEST + 1), [b'x'; LONGEST_NAME + 1]);
        for bad in [&b""[..], b"/", b"/etc/passwd", b"..", b"a/../b", b"./a", b"a//b", b"a/", b"a\0b", &deep, &long] {
            assert!(sound(bad).is_err(), "{}", shown(bad));
        }
    }
}
