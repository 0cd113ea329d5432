//! Reads a tar as it comes, in pieces of any size, without a copy of file content. The `tar` crate reads the header blocks;
//! what follows which header, and how much of it is believed, is decided here.
//!
//! Known: ustar, old and GNU headers, GNU long names, pax records. Sparse files are refused: their size is a claim.
use super::rules::{Kind, Raw, Refusal, refusal};
use std::ops::Range;
use tar::Header;

const BLOCK: usize = 512;
/// Bytes of pax records for one entry: extended attributes may be long.
const MOST_RECORDS: u64 = 1 << 20;

/// Takes what the archive holds.
pub(in crate::host) trait Sink {
    /// An entry; a file's content follows.
    fn entry(&mut self, raw: &Raw) -> Result<(), Refusal>;
    /// Content of the last entry: this part of the piece that was fed.
    fn content(&mut self, piece: &[u8], part: Range<usize>);
    /// The last entry's content is complete.
    fn end(&mut self);
    /// A header that only describes another entry.
    fn extension(&mut self) -> Result<(), Refusal>;
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(in crate::host) enum TarError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the tar is damaged: {0}")]
    Damaged(&'static str),
}

#[derive(Default)]
pub(in crate::host) struct TarStream {
    state: State,
    /// The header block, or the records, as far as they have come.
    gathered: Vec<u8>,
    next: Told,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    /// Gathering a long name or pax records.
    Extension {
        kind: u8,
        left: u64,
        padding: u64,
    },
    Content {
        left: u64,
        padding: u64,
    },
    Padding(u64),
    End,
}

/// What extension headers said of the next entry.
#[derive(Default)]
struct Told {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl TarStream {
    pub fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<(), TarError> {
        let mut at = 0;
        while at < piece.len() {
            let here = piece.len() - at;
            let upto = |left: u64| left.min(here as u64) as usize;
            match &mut self.state {
                State::Header => {
                    let take = here.min(BLOCK - self.gathered.len());
                    self.gathered.extend_from_slice(&piece[at..at + take]);
                    at += take;
                    if self.gathered.len() == BLOCK {
                        self.header(sink)?;
                    }
                }
                State::Extension { kind, left, padding } => {
                    let take = upto(*left);
                    self.gathered.extend_from_slice(&piece[at..at + take]);
                    *left -= take as u64;
                    at += take;
                    if *left == 0 {
                        let (kind, padding) = (*kind, *padding);
                        self.extension(kind)?;
                        self.skip(padding);
                    }
                }
                State::Content { left, padding } => {
                    let take = upto(*left);
                    sink.content(piece, at..at + take);
                    *left -= take as u64;
                    at += take;
                    if *left == 0 {
                        let padding = *padding;
                        sink.end();
                        self.skip(padding);
                    }
                }
                State::Padding(left) => {
                    let take = upto(*left);
                    let left = *left - take as u64;
                    at += take;
                    self.skip(left);
                }
                State::End => return Ok(()),
            }
        }
        Ok(())
    }

    /// There is no more. An archive without its end mark may lack more than that.
    pub fn finish(&self) -> Result<(), TarError> {
        match self.state {
            State::End => Ok(()),
            _ => Err(TarError::Damaged("it ends before its end mark; it was cut off")),
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.state, State::End)
    }

    fn skip(&mut self, padding: u64) {
        self.gathered.clear();
        self.state = if padding == 0 { State::Header } else { State::Padding(padding) };
    }

    fn header(&mut self, sink: &mut impl Sink) -> Result<(), TarError> {
        let block = std::mem::take(&mut self.gathered);
        if block.iter().all(|b| *b == 0) {
            self.state = State::End;
            return Ok(());
        }
        let header = Header::from_byte_slice(&block);
        if header.cksum().ok() != Some(checksum(&block)) {
            return Err(TarError::Damaged("the checksum of a header is wrong"));
        }
        let size = header.entry_size().map_err(|_| TarError::Damaged("a header has no readable size"))?;
        let done = match block[156] {
            kind @ (b'x' | b'g' | b'L' | b'K') => self.begin_extension(kind, size, header, sink),
            kind => self.begin_entry(kind, size, header, sink),
        };
        // Its room is used again.
        self.gathered = block;
        self.gathered.clear();
        done
    }

    fn begin_extension(&mut self, kind: u8, size: u64, header: &Header, sink: &mut impl Sink) -> Result<(), TarError> {
        sink.extension()?;
        if size > MOST_RECORDS {
            let why = format!("describes another with {size} bytes, more than {MOST_RECORDS}");
            return Err(refusal(&header.path_bytes(), why).into());
        }
        let padding = padding(size);
        match size {
            0 => self.skip(0),
            left => self.state = State::Extension { kind, left, padding },
        }
        Ok(())
    }

    fn begin_entry(&mut self, kind: u8, size: u64, header: &Header, sink: &mut impl Sink) -> Result<(), TarError> {
        let told = std::mem::take(&mut self.next);
        let (name, target) = (header.path_bytes(), header.link_name_bytes().unwrap_or_default());
        let name = told.name.as_deref().unwrap_or(&name);
        let target = told.target.as_deref().unwrap_or(&target);
        if told.sparse || kind == b'S' {
            return Err(refusal(name, "is a sparse file; pack it without --sparse").into());
        }
        let size = told.size.unwrap_or(size);
        // Links are often written without one.
        let mode = header.mode().unwrap_or(0o644);
        let kind = kind_of(kind, name);
        sink.entry(&Raw { name, kind, target, mode, size })?;
        if size == 0 {
            sink.end();
            self.skip(0);
        } else {
            self.state = State::Content { left: size, padding: padding(size) };
        }
        Ok(())
    }

    /// A long name or pax records are complete.
    fn extension(&mut self, kind: u8) -> Result<(), TarError> {
        let text = std::mem::take(&mut self.gathered);
        match kind {
            b'L' => self.next.name = Some(without_end(&text)),
            b'K' => self.next.target = Some(without_end(&text)),
            _ => {
                for (key, value) in records(&text)? {
                    self.told(kind == b'g', key, value)?;
                }
            }
        }
        Ok(())
    }

    fn told(&mut self, global: bool, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let matters = matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse");
        if global && matters {
            return Err(TarError::Damaged("it names or sizes all its entries at once"));
        }
        match key {
            b"path" => self.next.name = Some(value.to_vec()),
            b"linkpath" => self.next.target = Some(value.to_vec()),
            b"size" => self.next.size = Some(decimal(value).ok_or(TarError::Damaged("a pax size is no number"))?),
            _ if matters => self.next.sparse = true,
            // Times, owners and attributes: an install has its own.
            _ => {}
        }
        Ok(())
    }
}

fn kind_of(kind: u8, name: &[u8]) -> Kind {
    match kind {
        // Before there was a type for folders, they were files with a slash at the end.
        0 | b'0' if name.ends_with(b"/") => Kind::Folder,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::Hardlink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Other("character device"),
        b'4' => Kind::Other("block device"),
        b'5' => Kind::Folder,
        b'6' => Kind::Other("FIFO"),
        _ => Kind::Other("kind of thing that no install needs"),
    }
}

/// Key and value.
type Pax<'a> = (&'a [u8], &'a [u8]);

/// `"<length> <key>=<value>\n"`, the length counting all of it (POSIX pax). Values may hold line ends.
fn records(mut text: &[u8]) -> Result<Vec<Pax<'_>>, TarError> {
    const BAD: TarError = TarError::Damaged("its pax records are not readable");
    let mut found = Vec::new();
    while !text.is_empty() {
        let blank = text.iter().position(|b| *b == b' ').ok_or(BAD)?;
        let length = decimal(&text[..blank]).and_then(|n| usize::try_from(n).ok()).ok_or(BAD)?;
        let record = text.get(blank + 1..length).and_then(|r| r.strip_suffix(b"\n")).ok_or(BAD)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or(BAD)?;
        found.push((&record[..equals], &record[equals + 1..]));
        text = &text[length..];
    }
    Ok(found)
}

fn decimal(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// GNU long names end with a NUL.
fn without_end(text: &[u8]) -> Vec<u8> {
    text.strip_suffix(b"\0").unwrap_or(text).to_vec()
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// The sum of all bytes, those of the checksum itself counted as blanks.
fn checksum(block: &[u8]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

#[cfg(test)]
mod tests;
