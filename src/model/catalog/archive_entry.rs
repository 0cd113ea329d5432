//! A name in an archive, as far as it tells what the archive is.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveEntry {
    /// With `/`, as the archive has it.
    pub path: String,
    pub kind: EntryKind,
    /// The first bytes of a program; empty for everything else.
    pub head: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Folder,
    File,
    /// A file with an x bit.
    Program,
    Link,
    Other,
}
