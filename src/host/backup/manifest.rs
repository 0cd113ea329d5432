//! What is in an archive, name by name, in the archive's order: one line of JSON each, packed with zstd.
use super::error::{BackupError, failed};
use crate::model::catalog::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// Longer than any line that is written.
const LONGEST_LINE: u64 = 64 << 10;
const LEVEL: i32 = 3;

/// A name or the target of a link, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub Vec<u8>);

/// Text where it is text, else the bytes as numbers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Written::Bytes(self.0.clone()).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Text(text) => Name(text.into_bytes()),
            Written::Bytes(bytes) => Name(bytes),
        })
    }
}

/// Seconds and nanoseconds since 1970.
pub(super) type Time = (i64, i64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Beneath the top folder.
    pub path: Name,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum What {
    Folder {
        mode: u32,
        mtime: Time,
    },
    File {
        mode: u32,
        mtime: Time,
        size: u64,
        sha256: Digest,
    },
    Symlink {
        target: Name,
        mtime: Time,
    },
    /// Another name of a file that came before.
    Hardlink {
        to: Name,
    },
    /// It was there and is not in the archive.
    Left {
        why: String,
    },
}

pub(super) struct Writer {
    out: zstd::stream::write::Encoder<'static, File>,
}

impl Writer {
    pub fn new(file: File) -> io::Result<Writer> {
        Ok(Writer { out: zstd::stream::write::Encoder::new(file, LEVEL)? })
    }

    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.out.write_all(&line)
    }

    pub fn finish(self) -> io::Result<()> {
        self.out.finish()?.sync_all()
    }
}

/// Reads it line by line; the memory it takes does not grow with it.
pub(super) struct Reader {
    lines: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
    path: PathBuf,
    line: Vec<u8>,
    left: u64,
}

impl Reader {
    /// `most`: entries it may have.
    pub fn open(path: &Path, most: u64) -> Result<Reader, BackupError> {
        let open = || {
            let mut decoder = zstd::stream::read::Decoder::new(File::open(path)?)?;
            decoder.window_log_max(super::WINDOW_LOG)?;
            io::Result::Ok(BufReader::new(decoder))
        };
        Ok(Reader { lines: open().map_err(failed("open", path))?, path: path.to_owned(), line: Vec::new(), left: most })
    }

    /// `None` at the end.
    pub fn next(&mut self) -> Result<Option<Entry>, BackupError> {
        let damaged =
            |path: &Path, why: &dyn std::fmt::Display| BackupError::Damaged(format!("{}: {why}", path.display()));
        self.line.clear();
        let read = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut self.line);
        if read.map_err(|e| damaged(&self.path, &e))? == 0 {
            return Ok(None);
        }
        self.left =
            self.left.checked_sub(1).ok_or_else(|| damaged(&self.path, &"it has more lines than it may have"))?;
        serde_json::from_slice(&self.line).map(Some).map_err(|e| damaged(&self.path, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_also_names_that_are_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let name = |bytes: &[u8]| Name(bytes.to_vec());
        let entries = [
            Entry { path: name(b"a"), what: What::Folder { mode: 0o2755, mtime: (-5, 7) } },
            Entry {
                path: name(b"a/\xff\n"),
                what: What::File { mode: 0o600, mtime: (1, 2), size: 3, sha256: Digest([9; 32]) },
            },
            Entry { path: name(b"l"), what: What::Symlink { target: name(b"../\xfe"), mtime: (0, 0) } },
            Entry { path: name(b"h"), what: What::Hardlink { to: name(b"a/\xff\n") } },
            Entry { path: name(b"s"), what: What::Left { why: "is a socket".into() } },
        ];
        let mut writer = Writer::new(File::create(&path).unwrap()).unwrap();
        entries.iter().for_each(|entry| writer.add(entry).unwrap());
        writer.finish().unwrap();
        let mut reader = Reader::open(&path, 5).unwrap();
        for entry in &entries {
            assert_eq!(reader.next().unwrap().as_ref(), Some(entry));
        }
        assert_eq!(reader.next().unwrap(), None);
        let mut short = Reader::open(&path, 2).unwrap();
        assert!(short.next().is_ok() && short.next().is_ok() && short.next().is_err());
        std::fs::write(&path, zstd::encode_all(&b"{\"path\":\"x\"}\n"[..], 1).unwrap()).unwrap();
        assert!(Reader::open(&path, 9).unwrap().next().unwrap_err().to_string().contains("damaged"));
    }
}
