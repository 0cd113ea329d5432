//! What a server root is made of, resolved for one `/config`: what to install, and what becomes of it.
use super::install::Wanted;
use std::collections::BTreeMap;

/// Carried out in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Furnishing {
    /// The Java or Node that runs the game, if this machine lacks it.
    pub runtime: Option<Wanted>,
    /// Why `files` cannot be named, for a person.
    pub unclear: Option<String>,
    pub files: Option<Wanted>,
    /// The name that `files` gets in the server root if it is one file.
    pub file: Option<String>,
    /// Files of the owner: never overwritten once they differ. Globs.
    pub owners: Vec<String>,
    pub extras: Vec<WantedExtra>,
    /// Program and arguments; empty: nothing to run.
    pub run: Vec<String>,
    pub presets: Vec<Lines>,
}

/// A file that is put in place if the artifact server has it and nobody has put another there.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedExtra {
    pub wanted: Wanted,
    pub to: String,
}

/// Lines of a `key=value` file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    pub file: String,
    /// Made so.
    pub set: BTreeMap<String, String>,
    /// Written where the key is missing.
    pub once: BTreeMap<String, String>,
}
