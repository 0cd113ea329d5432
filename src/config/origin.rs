//! Where a value came from, and what was wrong with one.
use std::{collections::BTreeMap, fmt, path::PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Default,
    /// `line` counts from 1.
    File {
        path: PathBuf,
        line: usize,
    },
    Environment(String),
    Set,
    /// With its dashes.
    Flag(String),
    /// The token itself.
    TokenFile(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Set => f.write_str("--set"),
            Origin::Flag(name) => f.write_str(name),
            Origin::TokenFile(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Origin of each value that is not a default, and what an operator should know though nothing is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    by_key: BTreeMap<&'static str, Origin>,
    pub notes: Vec<String>,
}

impl Origins {
    pub fn of(&self, key: &str) -> Origin {
        self.by_key.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn set(&mut self, key: &'static str, origin: Origin) {
        self.by_key.insert(key, origin);
    }
}

/// One thing that is wrong with the configuration; displayed as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key}: {problem}")]
pub struct Fault {
    pub origin: Origin,
    /// The dotted key, or what stood in its place.
    pub key: String,
    pub problem: String,
}

impl Fault {
    pub(super) fn new(origin: Origin, key: impl Into<String>, problem: impl Into<String>) -> Fault {
        Fault { origin, key: key.into(), problem: problem.into() }
    }
}
