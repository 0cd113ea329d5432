//! Where a viewer begins: at the byte it names, or a little scrollback back, at a line's start.
use super::How;
use crate::{
    http::agent::backend::KeptOutput,
    model::console::{Epoch, LogRange},
};
use std::io;

/// The next byte a viewer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub epoch: Epoch,
    pub offset: u64,
}

/// An offset of the past that is no longer kept stays as it is: the viewer is told of the gap. One of the future becomes
/// the end.
pub async fn beginning(log: &dyn KeptOutput, range: LogRange, how: &How, replay: u64) -> io::Result<Cursor> {
    let continues = how.epoch.is_none_or(|epoch| epoch == range.epoch.0);
    let offset = match how.from {
        Some(from) if continues => from.min(range.end),
        _ => line_start(log, range, replay).await?,
    };
    Ok(Cursor { epoch: range.epoch, offset })
}

/// The first line that begins within the last `replay` bytes, or those bytes if none does.
async fn line_start(log: &dyn KeptOutput, range: LogRange, replay: u64) -> io::Result<u64> {
    let floor = range.end.saturating_sub(replay).max(range.start);
    if floor == 0 || floor == range.end {
        return Ok(floor);
    }
    // From the byte before: if that is a newline, `floor` is a line's start already.
    let look = (floor - 1).max(range.start);
    let most = usize::try_from(range.end - look).unwrap_or(usize::MAX);
    let chunk = log.read(look, most).await?;
    let newline = chunk.bytes.iter().position(|b| *b == b'\n');
    Ok(newline.map_or(floor.max(chunk.from), |at| chunk.from + at as u64 + 1))
}
