//! What can be installed, what is wanted, and what is there. Installed things are trees: folders that are complete only
//! with the manifest inside them, one folder a version, any number side by side.
use super::catalog::{ArtifactPath, Digest};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Which of the agent's folders a family lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shelf {
    /// `opt/zlh/runtimes/<id>/<version>`: node, python, go, java, dotnet.
    Runtimes,
    /// `opt/zlh/services/<id>/<version>`: code-server.
    Services,
    /// `opt/zlh/artifacts/<id>/<version>`: what server roots are made of.
    Games,
}

/// All versions of one thing. At most one of them is the active one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Family {
    pub shelf: Shelf,
    pub id: String,
}

impl Family {
    pub fn runtime(id: &str) -> Family {
        Family { shelf: Shelf::Runtimes, id: id.to_owned() }
    }

    pub fn version(&self, version: &str) -> TreeId {
        TreeId { family: self.clone(), version: version.to_owned() }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// One version of one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TreeId {
    pub family: Family,
    pub version: String,
}

impl fmt::Display for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.version)
    }
}

/// What somebody wants to be there. Equal wants are one install.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Wanted {
    /// A language runtime for people; `version` as the catalog names it, or the beginning of one (`22`).
    Runtime { id: String, version: String },
    /// Something beside runtimes, such as code-server; without a version the one that the catalog offers first.
    Addon { id: String, version: Option<String> },
    /// The Java that a game needs. `path` on the artifact server where somebody insists on one.
    GameJava { major: u32, path: Option<String> },
    /// What a server root is made from. `path` on the artifact server where somebody insists on one.
    GameFiles { game: String, variant: String, version: String, path: Option<String> },
}

impl Wanted {
    /// Whose versions it is about.
    pub fn family(&self) -> Family {
        match self {
            Wanted::Runtime { id, .. } => Family::runtime(id),
            Wanted::Addon { id, .. } => Family { shelf: Shelf::Services, id: id.clone() },
            Wanted::GameJava { .. } => Family::runtime("java"),
            Wanted::GameFiles { game, variant, .. } => Family { shelf: Shelf::Games, id: format!("{game}-{variant}") },
        }
    }

    /// The version asked for, where one is.
    pub fn version(&self) -> Option<String> {
        match self {
            Wanted::Runtime { version, .. } | Wanted::GameFiles { version, .. } => Some(version.clone()),
            Wanted::Addon { version, .. } => version.clone(),
            Wanted::GameJava { major, .. } => Some(major.to_string()),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version() {
            Some(version) => write!(f, "{} {version}", self.family()),
            None => write!(f, "{}", self.family()),
        }
    }
}

/// What the artifact server has for a want: where it lies, what it must hash to, what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    pub tree: TreeId,
    /// On the artifact server, relative to its address; the first that exists is meant.
    pub paths: Vec<ArtifactPath>,
    /// Absent: the one in `<file>.sha256` beside it, if there is one.
    pub sha256: Option<Digest>,
    /// Of the archive, in bytes.
    pub size: Option<u64>,
    /// Leading folders that the archive wraps everything in; `None`: found out from its contents.
    pub strip: Option<u32>,
    /// Folders within the tree that belong into `PATH`.
    pub bin: Vec<String>,
    /// Variables that users of the tree need; `{root}` stands for its folder.
    pub env: BTreeMap<String, String>,
}

/// One tree on this machine, as its own manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    pub id: TreeId,
    /// Absolute.
    pub path: String,
    /// Unpacked.
    pub bytes: u64,
    pub files: u64,
    /// Of the archive it came from.
    pub sha256: Digest,
    /// Absolute folders for `PATH`.
    pub bin: Vec<String>,
    /// With the tree's own path filled in.
    pub env: BTreeMap<String, String>,
    /// The archive's hash was known beforehand and met.
    pub verified: bool,
}

/// Everything installed at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Only complete ones, sorted by id.
    pub trees: Vec<Tree>,
    pub current: BTreeMap<Family, String>,
}

impl Present {
    pub fn tree(&self, id: &TreeId) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.id == *id)
    }

    pub fn active(&self, family: &Family) -> Option<&str> {
        self.current.get(family).map(String::as_str)
    }

    pub fn is_active(&self, id: &TreeId) -> bool {
        self.active(&id.family) == Some(id.version.as_str())
    }
}

/// A process that executes or maps files of a tree, or stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct User {
    pub pid: i32,
    pub name: String,
}

/// One row of `/status`'s `runtimes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeState {
    pub id: String,
    pub version: String,
    /// The one that `current` points at.
    pub active: bool,
    /// Its archive had the hash that the catalog, or the file beside it, said.
    pub verified: bool,
}
