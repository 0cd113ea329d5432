//! A .zip, by the same rules as a tar. Its index stands at the end, so it is unpacked from a file.
use super::{
    collect::{Batch, Collector},
    error::InstallError,
    pipeline::disk,
    rules::{Kind, Raw, refusal},
    tar_stream::Sink,
    tree::Tree,
};
use crate::model::settings::Install;
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};
use tokio_util::sync::CancellationToken;
use zip::{ZipArchive, read::ZipFile};

const PIECE: usize = 256 << 10;
/// The end record and the longest comment after it.
const LONGEST_TAIL: u64 = 22 + 65_535;

type Archive<'a> = ZipArchive<BufReader<&'a File>>;

pub(super) fn unpack(
    file: &File,
    collector: &mut Collector,
    tree: &mut Tree,
    cancel: &CancellationToken,
    install: &Install,
) -> Result<(), InstallError> {
    let packed = file.metadata().map_err(unreadable)?.len();
    check_count(file, packed, install)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    if archive.has_duplicate_names() {
        return Err(InstallError::Damaged("the .zip has one name twice; pack it again".into()));
    }
    if archive.has_overlapping_files().map_err(damaged)? {
        return Err(InstallError::Damaged("files of the .zip share their bytes, which only traps do".into()));
    }
    let (mut room, mut plain) = (Vec::new(), 0);
    for index in 0..archive.len() {
        if cancel.is_cancelled() {
            return Err(InstallError::Cancelled);
        }
        plain += entry(&mut archive, index, collector, tree, &mut room)?;
        collector.rules.ratio(&collector.last, plain, packed)?;
    }
    Ok(())
}

/// The index is read into memory as a whole, so its size comes first. Zip64 says its count elsewhere, after a full one here.
fn check_count(mut file: &File, size: u64, install: &Install) -> Result<(), InstallError> {
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(size.saturating_sub(LONGEST_TAIL + 76))).map_err(unreadable)?;
    file.read_to_end(&mut tail).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let number = |at: usize, bytes: usize| {
        let field = tail.get(at..at + bytes)?;
        Some(field.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b)))
    };
    let find = |mark: &[u8]| tail.windows(4).rposition(|w| w == mark);
    let short = find(b"PK\x05\x06").and_then(|at| number(at + 10, 2)).unwrap_or(0);
    let long = find(b"PK\x06\x06").and_then(|at| number(at + 32, 8)).unwrap_or(0);
    let (count, most) = (short.max(long), install.max_entries);
    let many = || InstallError::Damaged(format!("{count} entries are more than the {most} of install.max_entries"));
    if count > most { Err(many()) } else { Ok(()) }
}

/// Makes one entry; its plain bytes are returned.
fn entry(
    archive: &mut Archive,
    index: usize,
    collector: &mut Collector,
    tree: &mut Tree,
    room: &mut Vec<u8>,
) -> Result<u64, InstallError> {
    let name = name(archive, index).map_err(|e| not_read(collector, e))?;
    let mut file = archive.by_index(index).map_err(|e| refusal(&name, format!("cannot be read ({e})")))?;
    if name.contains(&b'\\') {
        return Err(refusal(&name, "has a name with '\\'").into());
    }
    let kind = kind(&file, &name);
    let target = if kind == Kind::Symlink { target(&mut file, &name)? } else { Vec::new() };
    let mode = file.unix_mode().unwrap_or(0o644);
    let size = if kind == Kind::File { file.size() } else { 0 };
    collector.entry(&Raw { name: &name, kind, target: &target, mode, size })?;
    let plain = if kind == Kind::File { content(&mut file, &name, size, collector, tree, room)? } else { 0 };
    collector.end();
    apply(collector, tree, room)?;
    Ok(plain)
}

/// Known also of an entry that cannot be read, because it has a password.
fn name(archive: &mut Archive, index: usize) -> zip::result::ZipResult<Vec<u8>> {
    Ok(archive.by_index_raw(index)?.name_raw().to_vec())
}

fn content(
    file: &mut impl Read,
    name: &[u8],
    size: u64,
    collector: &mut Collector,
    tree: &mut Tree,
    room: &mut Vec<u8>,
) -> Result<u64, InstallError> {
    let mut total = 0;
    loop {
        room.clear();
        (&mut *file).take(PIECE as u64).read_to_end(room).map_err(|e| damaged_entry(name, &e))?;
        total += room.len() as u64;
        if total > size {
            return Err(refusal(name, format!("is larger than the {size} bytes it claims")).into());
        }
        if room.is_empty() {
            break;
        }
        collector.content(room, 0..room.len());
        apply(collector, tree, room)?;
    }
    if total < size {
        return Err(refusal(name, format!("has {total} bytes, not the {size} it claims")).into());
    }
    Ok(total)
}

fn apply(collector: &mut Collector, tree: &mut Tree, room: &mut Vec<u8>) -> Result<(), InstallError> {
    let batch = Batch { piece: std::mem::take(room), steps: collector.steps() };
    let applied = tree.apply(&batch).map_err(disk);
    *room = batch.piece;
    applied
}

fn kind(file: &ZipFile<BufReader<&File>>, name: &[u8]) -> Kind {
    match file.unix_mode().unwrap_or(0) & libc::S_IFMT {
        libc::S_IFLNK => Kind::Symlink,
        libc::S_IFIFO => Kind::Other("FIFO"),
        libc::S_IFSOCK => Kind::Other("socket"),
        libc::S_IFCHR => Kind::Other("character device"),
        libc::S_IFBLK => Kind::Other("block device"),
        _ if name.ends_with(b"/") => Kind::Folder,
        _ => Kind::File,
    }
}

/// A .zip keeps the target of a link as the content of a file.
fn target(file: &mut impl Read, name: &[u8]) -> Result<Vec<u8>, InstallError> {
    const LONGEST: u64 = 4096;
    let mut target = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut target).map_err(|e| damaged_entry(name, &e))?;
    Ok(target)
}

fn not_read(collector: &Collector, error: zip::result::ZipError) -> InstallError {
    InstallError::Damaged(format!("the .zip cannot be read after entry {:?}: {error}", collector.last))
}

fn damaged_entry(name: &[u8], error: &io::Error) -> InstallError {
    InstallError::Damaged(format!("entry {:?} of the .zip is damaged: {error}", String::from_utf8_lossy(name)))
}

fn damaged(error: zip::result::ZipError) -> InstallError {
    InstallError::Damaged(format!("the .zip cannot be read: {error}; publish it again"))
}

fn unreadable(error: io::Error) -> InstallError {
    InstallError::Damaged(format!("the fetched .zip cannot be read: {error}"))
}
