//! Archives as no honest program writes them, byte for byte.
use std::io::Write;
use tar::{EntryType, Header};

/// One entry of a tar.
#[derive(Clone)]
pub struct Entry {
    name: Vec<u8>,
    kind: u8,
    target: Vec<u8>,
    mode: u32,
    content: Vec<u8>,
    /// What the header claims instead of the truth.
    size: Option<u64>,
}

fn entry(name: impl AsRef<[u8]>, kind: u8) -> Entry {
    let name = name.as_ref().to_vec();
    Entry { name, kind, target: Vec::new(), mode: 0o644, content: Vec::new(), size: None }
}

pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    Entry { content: content.as_ref().to_vec(), ..entry(name, b'0') }
}

pub fn folder(name: impl AsRef<[u8]>) -> Entry {
    Entry { mode: 0o755, ..entry(name, b'5') }
}

pub fn symlink(name: &str, target: &str) -> Entry {
    Entry { target: target.into(), ..entry(name, b'2') }
}

pub fn hardlink(name: &str, target: &str) -> Entry {
    Entry { target: target.into(), ..entry(name, b'1') }
}

/// Anything else by its type flag.
pub fn other(name: &str, kind: u8) -> Entry {
    entry(name, kind)
}

/// Pax records for the next entry (`kind` `x`) or for all (`g`).
pub fn pax(kind: u8, records: &[(&str, &str)]) -> Entry {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (1..).map(|digits| rest.len() + digits).find(|n| n.to_string().len() + rest.len() == *n);
        content.extend(format!("{}{rest}", length.unwrap()).bytes());
    }
    Entry { content, ..entry("PaxHeaders/x", kind) }
}

/// A GNU long name (`L`) or long link target (`K`) for the next entry.
pub fn long(kind: u8, text: &str) -> Entry {
    Entry { content: format!("{text}\0").into_bytes(), ..entry("././@LongLink", kind) }
}

impl Entry {
    pub fn mode(self, mode: u32) -> Entry {
        Entry { mode, ..self }
    }

    pub fn kind(self, kind: u8) -> Entry {
        Entry { kind, ..self }
    }

    pub fn claiming(self, size: u64) -> Entry {
        Entry { size: Some(size), ..self }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..self.name.len()].copy_from_slice(&self.name);
        old.linkname[..self.target.len()].copy_from_slice(&self.target);
        header.set_entry_type(EntryType::new(self.kind));
        header.set_mode(self.mode);
        header.set_uid(0);
        header.set_gid(0);
        // Before 1970, as some tools write it: nobody may trip over a time.
        header.set_mtime(u64::MAX);
        header.set_size(self.size.unwrap_or(self.content.len() as u64));
        header.set_cksum();
        out.extend(header.as_bytes());
        out.extend(&self.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut out));
    out.extend([0; 1024]);
    out
}

pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// One entry of a .zip, stored without compression.
#[derive(Clone)]
pub struct Zipped {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    /// Unix mode with the type bits.
    pub mode: u32,
    pub flags: u16,
    /// What the headers claim instead of the truth.
    pub size: Option<u32>,
}

pub fn zipped(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>, mode: u32) -> Zipped {
    let (name, content) = (name.as_ref().to_vec(), content.as_ref().to_vec());
    Zipped { name, content, mode, flags: 1 << 11, size: None }
}

pub fn zip(entries: &[Zipped], comment: &[u8]) -> Vec<u8> {
    let (mut out, mut index) = (Vec::new(), Vec::new());
    for entry in entries {
        let at = out.len() as u32;
        let packed = entry.content.len() as u32;
        let mut common = Vec::new();
        common.extend([20u16, entry.flags, 0, 0, 0x21].iter().flat_map(|n| n.to_le_bytes()));
        let crc = crc32fast::hash(&entry.content);
        common.extend([crc, packed, entry.size.unwrap_or(packed)].iter().flat_map(|n| n.to_le_bytes()));
        common.extend([entry.name.len() as u16, 0].iter().flat_map(|n| n.to_le_bytes()));
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(&entry.name);
        out.extend(&entry.content);
        index.extend(b"PK\x01\x02\x14\x03");
        index.extend(&common);
        index.extend([0u16; 3].iter().flat_map(|n| n.to_le_bytes()));
        index.extend([entry.mode << 16, at].iter().flat_map(|n| n.to_le_bytes()));
        index.extend(&entry.name);
    }
    let (at, count) = (out.len() as u32, entries.len() as u16);
    out.extend(&index);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].iter().flat_map(|n| n.to_le_bytes()));
    out.extend([index.len() as u32, at].iter().flat_map(|n| n.to_le_bytes()));
    out.extend((comment.len() as u16).to_le_bytes());
    out.extend(comment);
    out
}
