//! A tree of one file: an artifact that is no archive.
use super::{
    collect::{Batch, Collector},
    error::InstallError,
    pipeline::disk,
    rules::{Kind, Raw},
    tar_stream::Sink,
    tree::Tree,
};
use std::{
    fs::File,
    io::{Read, Seek},
};

const PIECE: u64 = 256 << 10;

pub(super) fn unpack(mut file: &File, name: &str, to: &mut Collector, tree: &mut Tree) -> Result<(), InstallError> {
    let unreadable = |e| InstallError::Damaged(format!("the fetched file cannot be read: {e}"));
    file.rewind().map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut piece = Vec::new();
    file.take(PIECE).read_to_end(&mut piece).map_err(unreadable)?;
    let program = piece.starts_with(b"\x7fELF") || piece.starts_with(b"#!");
    let mode = if program { 0o755 } else { 0o644 };
    to.entry(&Raw { name: name.as_bytes(), kind: Kind::File, target: b"", mode, size })?;
    while !piece.is_empty() {
        to.content(&piece, 0..piece.len());
        let batch = Batch { piece, steps: to.steps() };
        tree.apply(&batch).map_err(disk)?;
        piece = batch.piece;
        piece.clear();
        file.take(PIECE).read_to_end(&mut piece).map_err(unreadable)?;
    }
    to.end();
    tree.apply(&Batch { piece, steps: to.steps() }).map_err(disk)
}
