//! The record of an installed tree: every file with its hash, mode and size. It is written last, so a tree that has one is
//! whole, and a tree without one is not installed.
use crate::model::{catalog::Digest, time::WallTime};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

/// Its name in the top folder of the tree.
pub const MANIFEST: &str = ".zlh-manifest.json";
const FORMAT: u32 = 1;
/// Larger than that of the largest tree that the limits allow to be useful.
const LARGEST: u64 = 256 << 20;

/// What was installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Label {
    /// `node`, `code-server`.
    pub id: String,
    pub version: String,
}

/// The first part of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installed {
    pub format: u32,
    #[serde(flatten)]
    pub label: Label,
    /// Where the archive came from, as it may be shown.
    pub source: String,
    /// Of the archive.
    pub sha256: Digest,
    /// Was that digest promised by a catalog or a checksum file?
    pub verified: bool,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// Leading folders that were dropped from the archive's names.
    pub stripped: u32,
    /// The one top folder of the archive, if it was dropped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub top: String,
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    pub installed_at: WallTime,
}

/// One name in the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Record {
    File { sha256: Digest, mode: u32, size: u64 },
    Link { target: String },
    Folder { mode: u32 },
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    #[serde(flatten)]
    pub installed: Installed,
    /// By path below the tree's top folder.
    pub entries: BTreeMap<String, Record>,
}

impl Manifest {
    pub fn new(mut installed: Installed, entries: BTreeMap<String, Record>) -> Manifest {
        installed.format = FORMAT;
        for record in entries.values() {
            if let Record::File { size, .. } = record {
                installed.files += 1;
                installed.bytes += size;
            }
        }
        Manifest { installed, entries }
    }

    /// The manifest of the tree at `root`; `None` where there is none: nothing (whole) is installed there.
    pub fn read(root: &Path) -> io::Result<Option<Manifest>> {
        read(root)
    }

    /// Into a new file.
    pub(super) fn write(&self, file: File) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(256 << 10, file);
        serde_json::to_writer(&mut out, self)?;
        out.flush()
    }
}

impl Installed {
    /// Only the first part of the manifest at `root`, without its thousands of files.
    pub fn read(root: &Path) -> io::Result<Option<Installed>> {
        read(root)
    }
}

/// Both know their format.
trait Formatted {
    fn format(&self) -> u32;
}
impl Formatted for Manifest {
    fn format(&self) -> u32 {
        self.installed.format
    }
}
impl Formatted for Installed {
    fn format(&self) -> u32 {
        self.format
    }
}

fn read<T: for<'de> Deserialize<'de> + Formatted>(root: &Path) -> io::Result<Option<T>> {
    let path = root.join(MANIFEST);
    let about = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let file = match File::open(&path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other.map_err(about)?,
    };
    let read: T = serde_json::from_reader(BufReader::new(file.take(LARGEST))).map_err(|e| about(e.into()))?;
    match read.format() {
        FORMAT => Ok(Some(read)),
        other => {
            Err(about(io::Error::other(format!("has format {other}, this version reads {FORMAT}; install it again"))))
        }
    }
}
