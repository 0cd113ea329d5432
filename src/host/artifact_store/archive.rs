//! The names in an archive, without unpacking it: a publisher's look before anything is offered.
use crate::model::catalog::{ArchiveEntry, EntryKind};
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

/// Names looked at of one archive.
const MOST_ENTRIES: usize = 1_000_000;
/// Enough of a program to tell what it is built for.
const HEAD: usize = 32;

/// How a file is packed, by its first bytes: names lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    TarGz,
    TarXz,
    TarZst,
    Zip,
    /// Anything else: a program, say.
    Plain,
}

impl Packing {
    pub fn of(file: &mut File) -> io::Result<Packing> {
        let head = head(file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(match head[..] {
            [0x1f, 0x8b, ..] => Packing::TarGz,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::TarXz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::TarZst,
            [b'P', b'K', 3, 4, ..] => Packing::Zip,
            _ => Packing::Plain,
        })
    }

    pub fn ending(self) -> &'static str {
        match self {
            Packing::TarGz => "tar.gz",
            Packing::TarXz => "tar.xz",
            Packing::TarZst => "tar.zst",
            Packing::Zip => "zip",
            Packing::Plain => "",
        }
    }
}

/// The first bytes.
pub fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    reader.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// All names in it; reads it to its end, so that a damaged archive is noticed here.
pub fn entries(file: File, packing: Packing) -> io::Result<Vec<ArchiveEntry>> {
    let file = BufReader::with_capacity(1 << 20, file);
    match packing {
        Packing::TarGz => tar_entries(flate2::bufread::MultiGzDecoder::new(file)),
        Packing::TarXz => tar_entries(liblzma::bufread::XzDecoder::new_multi_decoder(file)),
        Packing::TarZst => tar_entries(zstd::stream::read::Decoder::with_buffer(file)?),
        Packing::Zip => zip_entries(file.into_inner()),
        Packing::Plain => Err(io::Error::new(io::ErrorKind::InvalidData, "no .tar.gz, .tar.xz, .tar.zst or .zip")),
    }
}

fn tar_entries(reader: impl Read) -> io::Result<Vec<ArchiveEntry>> {
    let mut archive = tar::Archive::new(reader);
    let mut found = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        bounded(&found)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if is_sparse(&mut entry)? {
            let why = format!("{path} is a sparse file, which no agent unpacks; pack it without --sparse");
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => EntryKind::Folder,
            tar::EntryType::Symlink | tar::EntryType::Link => EntryKind::Link,
            kind if !kind.is_file() => EntryKind::Other,
            _ if entry.header().mode()? & 0o111 != 0 => EntryKind::Program,
            _ => EntryKind::File,
        };
        let head = if kind == EntryKind::Program { head(&mut entry)? } else { Vec::new() };
        found.push(ArchiveEntry { path, kind, head });
    }
    // What follows the last entry is read too: a truncated archive shows only there.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(found)
}

/// Its size is a claim that nothing in the archive bears out, so installs refuse it: better here than everywhere.
fn is_sparse(entry: &mut tar::Entry<impl Read>) -> io::Result<bool> {
    if entry.header().entry_type().is_gnu_sparse() {
        return Ok(true);
    }
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        if extension?.key_bytes().starts_with(b"GNU.sparse") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn zip_entries(file: File) -> io::Result<Vec<ArchiveEntry>> {
    let mut archive = zip::ZipArchive::new(file).map_err(io::Error::other)?;
    let mut found = Vec::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(io::Error::other)?;
        bounded(&found)?;
        let kind = match entry.unix_mode() {
            _ if entry.is_dir() => EntryKind::Folder,
            _ if entry.is_symlink() => EntryKind::Link,
            Some(mode) if mode & 0o111 != 0 => EntryKind::Program,
            _ => EntryKind::File,
        };
        let head = if kind == EntryKind::Program { head(&mut entry)? } else { Vec::new() };
        let path = entry.name().map_err(io::Error::other)?.into_owned();
        found.push(ArchiveEntry { path, kind, head });
    }
    Ok(found)
}

fn bounded(found: &[ArchiveEntry]) -> io::Result<()> {
    if found.len() < MOST_ENTRIES { Ok(()) } else { Err(io::Error::other("more than a million names in it")) }
}
