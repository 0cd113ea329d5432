//! The console on disk: files named by the absolute offset of their first byte, so that a gap shows in the names.
use super::Piece;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const SUFFIX: &str = ".log";

struct Segment {
    start: u64,
    len: u64,
    path: PathBuf,
}

impl Segment {
    fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// First offset on disk and the offset after the last; `None` if there is nothing.
pub(super) fn range(folder: &Path) -> Option<(u64, u64)> {
    let segments = list(folder).ok()?;
    Some((segments.first()?.start, segments.last()?.end()))
}

/// Up to `max` bytes from the first offset at or after `from` that is on disk and before `until`.
pub(super) fn read(folder: &Path, from: u64, until: u64, max: usize) -> io::Result<Option<Piece>> {
    let segments = list(folder)?;
    let Some(segment) = segments.iter().find(|s| s.end() > from && s.start < until) else { return Ok(None) };
    let from = from.max(segment.start);
    let mut bytes = vec![0; max.min((segment.end() - from) as usize)];
    let read = File::open(&segment.path).and_then(|f| f.read_at(&mut bytes, from - segment.start));
    match read {
        Ok(0) => Ok(None),
        Ok(n) => {
            bytes.truncate(n);
            Ok(Some(Piece { from, bytes: bytes.into() }))
        }
        // The keeper makes room by deleting the oldest.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Oldest first. Files with other names are not ours.
fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let segment = |entry: fs::DirEntry| {
        let start = start_of(entry.file_name().to_str()?)?;
        Some(Segment { start, len: entry.metadata().ok()?.len(), path: entry.path() })
    };
    let mut segments: Vec<Segment> = entries.flatten().filter_map(segment).filter(|s| s.len > 0).collect();
    segments.sort_by_key(|s| s.start);
    Ok(segments)
}

/// Twenty digits and the suffix, as the keeper writes them.
fn start_of(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?.parse().ok()
}
