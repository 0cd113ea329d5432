//! Between an archive's reader and the disk: judges each entry, hashes each file, and writes down what is to be made.
//!
//! One [`Batch`] per piece of the archive: file content stays where it is, the steps only point into it.
use super::{
    manifest::Record,
    rules::{Admitted, Raw, Refusal, Rules, What},
    tar_stream::Sink,
};
use crate::model::catalog::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

/// One thing to do on disk, in this order.
#[derive(Debug)]
pub(super) enum Step {
    Make(Admitted),
    /// Content of the file that was made last.
    Write(Range<usize>),
    /// That file is complete.
    Close,
}

/// A piece of the archive, and what is to be done with it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub piece: Vec<u8>,
    pub steps: Vec<Step>,
}

/// Gathers the steps of one piece after the other.
pub(super) struct Collector<'a> {
    pub rules: Rules<'a>,
    /// Make only these; `None`: everything.
    only: Option<&'a HashSet<String>>,
    /// The file whose content is coming, and whether it is to be made.
    file: Option<(String, bool)>,
    hash: Sha256,
    size: u64,
    /// Of the entry that came last, for messages.
    pub last: String,
    steps: Vec<Step>,
}

impl<'a> Collector<'a> {
    pub fn new(rules: Rules<'a>, only: Option<&'a HashSet<String>>) -> Self {
        Collector { rules, only, file: None, hash: Sha256::new(), size: 0, last: String::new(), steps: Vec::new() }
    }

    /// The steps since the last time.
    pub fn steps(&mut self) -> Vec<Step> {
        let room = self.steps.capacity();
        std::mem::replace(&mut self.steps, Vec::with_capacity(room))
    }

    pub fn into_records(self) -> HashMap<String, Record> {
        self.rules.into_records()
    }

    /// A second name of a file can only be made if the file is.
    fn wanted(&self, admitted: &Admitted) -> bool {
        let Some(only) = self.only else { return true };
        let made = |path: &String| only.contains(path) || only.contains(SHARED);
        match &admitted.what {
            What::File { .. } => made(&admitted.path),
            What::Hardlink { target } => only.contains(&admitted.path) && made(target),
            What::Folder { .. } | What::Symlink { .. } => only.contains(&admitted.path),
        }
    }
}

/// In a set of wanted names: make all regular files, because one of the wanted may be a second name of any.
pub(super) const SHARED: &str = "\0shared";

impl Sink for Collector<'_> {
    fn entry(&mut self, raw: &Raw) -> Result<(), Refusal> {
        self.file = None;
        let Some(admitted) = self.rules.admit(raw)? else { return Ok(()) };
        self.last.clone_from(&admitted.path);
        let wanted = self.wanted(&admitted);
        if matches!(admitted.what, What::File { .. }) {
            self.file = Some((admitted.path.clone(), wanted));
            self.size = 0;
        }
        if wanted {
            self.steps.push(Step::Make(admitted));
        }
        Ok(())
    }

    fn content(&mut self, piece: &[u8], part: Range<usize>) {
        let Some((_, wanted)) = &self.file else { return };
        self.hash.update(&piece[part.clone()]);
        self.size += part.len() as u64;
        if *wanted && !part.is_empty() {
            self.steps.push(Step::Write(part));
        }
    }

    fn end(&mut self) {
        let Some((path, wanted)) = self.file.take() else { return };
        self.rules.hashed(&path, Digest(self.hash.finalize_reset().into()), self.size);
        if wanted {
            self.steps.push(Step::Close);
        }
    }

    fn extension(&mut self) -> Result<(), Refusal> {
        let last = self.last.clone();
        self.rules.count(last.as_bytes())
    }
}
