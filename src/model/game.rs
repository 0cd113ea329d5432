//! A game definition as read from `catalog/games/*.toml`, and the `/config` body that picks one.
mod embedded;
pub use embedded::EMBEDDED;

use super::settings::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that makes one game different from another; a new game is one such file and no code.
///
/// Texts of `argv`, `env` and `arguments` may hold the variables of `policy::launch`: `{port}`, `{memory_mb}`,
/// `{heap_mb}`, `{java}`, `{node}`, `{root}`, `{world}`, `{variant}`, `{version}`, `{entry}`, `{econ_port}`,
/// `{econ_password}`. Globs are those of [`super::glob`], relative to the server root.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GameDefinition {
    /// Equal to the file's name; what `/config` calls `game`.
    pub id: String,
    /// For people.
    pub title: String,
    /// What `/config` calls `variant`; none at all for most games.
    #[serde(default)]
    pub variants: BTreeMap<String, Variant>,
    /// The variant of a body that names none.
    #[serde(default)]
    pub default_variant: Option<String>,
    /// Ports of a body that names none; the first is `{port}`.
    #[serde(default)]
    pub ports: Vec<u16>,
    #[serde(default)]
    pub memory: Option<MemoryRule>,
    #[serde(default)]
    pub runtime: Option<RuntimeRule>,
    pub launch: LaunchTemplate,
    pub stop: Vec<StopText>,
    /// Console commands after which exit 0 is a clean stop, besides those of `stop`.
    #[serde(default)]
    pub stop_commands: Vec<String>,
    pub ready: ReadyText,
    #[serde(default)]
    pub console: ConsoleKind,
    /// Sets of `catalog/crash/`, in order; a variant's own come after these.
    pub signatures: Vec<String>,
    /// Files whose change since the last good start is told in a crash report.
    #[serde(default)]
    pub watched_files: Vec<String>,
    /// Signal number that makes the program print what its threads do (3 for Java).
    #[serde(default)]
    pub dump_signal: Option<i32>,
    /// Account to run as instead of `game.user`.
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub files: FileRules,
    /// What a backup of the server root is. Every definition says it: what is copied must not be an accident.
    #[serde(default)]
    pub backup: Option<BackupRule>,
    /// Absent: nothing but a body's own `artifact_path` is ever installed.
    #[serde(default)]
    pub install: Option<InstallRule>,
}

/// One flavour of a game. Lists are added to the game's own; `entry` replaces it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// Follow the launch's `argv`.
    pub arguments: Vec<String>,
    pub entry: Vec<String>,
    pub requires: Vec<String>,
    pub signatures: Vec<String>,
    pub watched_files: Vec<String>,
    pub install: InstallRule,
}

/// What backups of a server root leave out, and how the game is kept from writing while its files are copied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupRule {
    /// Patterns of [`super::exclude`]: what an install brings again, and what nobody wants back.
    pub exclude: Vec<String>,
    /// Absent: the game has no such commands; what changes while it is copied is told.
    pub hold: Option<HoldRule>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRule {
    /// Console lines, in order: write nothing from now on, and write what is not written yet.
    pub commands: Vec<String>,
    /// Regular expression of the line that says that the last of them is done.
    pub held: String,
    /// Console lines that take it back.
    pub release: Vec<String>,
}

/// How a server root is made from what the artifact server has. Texts may hold the variables of `policy::launch`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstallRule {
    /// On the artifact server; `None`: where files of games lie by convention.
    pub path: Option<String>,
    /// The version of a body that names none.
    pub version: Option<String>,
    /// The name that an artifact of one file gets in the server root.
    pub file: Option<String>,
    /// Run once for each artifact, in the server root and as the server's account: what makes a server of it.
    pub run: Vec<String>,
    /// Files that are wanted before the first start, where the artifact server has them.
    pub extras: Vec<Extra>,
    /// What is written into files of the owner's.
    pub presets: Vec<Preset>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// On the artifact server.
    pub path: String,
    /// In the server root. One that is there already is left alone.
    pub to: String,
}

/// Lines of a `key=value` file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    pub file: String,
    /// Made so before each start; all other lines stay as their owner wrote them.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Written where the key is missing.
    #[serde(default)]
    pub once: BTreeMap<String, String>,
    /// Only where the operator accepts the game's licence (`game.accept_eula`).
    #[serde(default)]
    pub eula: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchTemplate {
    /// Program and arguments. Empty: the body's `command`.
    pub argv: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `{entry}` is the first file that one of these globs finds; it is required.
    #[serde(default)]
    pub entry: Vec<String>,
    /// Files and folders without which a launch makes no sense.
    #[serde(default)]
    pub requires: Vec<String>,
}

/// Memory of a body that names none, and the least one it may name; both in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryRule {
    pub default_mb: u64,
    pub least_mb: u64,
}

/// The language runtime a game needs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeRule {
    /// `java` or `node`; also the variable that stands for its program.
    pub name: String,
    /// Newest first: the first row whose `from` is not above the game's version names the major version.
    pub majors: Vec<RuntimeMajor>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeMajor {
    /// A version of the game, e.g. `1.20.5`.
    pub from: String,
    pub major: u32,
}

/// One rung of a stop ladder as people write it: `{"stdin":"stop","wait":"40s"}` or `{"signal":"SIGTERM","wait":"10s"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The signal goes to the whole process group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
    pub wait: String,
}

/// A readiness probe as people write it: `{"kind":"log","pattern":"listening on","within":"60s"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyText {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// Where console lines go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum ConsoleKind {
    #[default]
    Pty,
    /// A TCP console on `{econ_port}` (the body's second port, else the one after the first) with `{econ_password}`.
    Econ,
    Fifo {
        path: String,
    },
}

/// What the file interface may touch beneath the server root.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileRules {
    pub write: Vec<String>,
    pub delete: Vec<String>,
    pub upload: Vec<UploadRule>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadRule {
    pub glob: String,
    /// Largest file, in MiB.
    pub max_mb: u64,
}

/// All definitions by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Games(pub BTreeMap<String, GameDefinition>);

impl Games {
    /// The definitions built into this program.
    pub fn embedded() -> Result<Games, String> {
        Games::parse(EMBEDDED.iter().copied())
    }

    /// `files`: file name without ending, and its text. The error names the file.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Games, String> {
        let mut games = BTreeMap::new();
        for (name, text) in files {
            let game: GameDefinition = toml::from_str(text).map_err(|e| format!("catalog/games/{name}.toml: {e}"))?;
            if game.id != name {
                return Err(format!("catalog/games/{name}.toml: id is {:?}, not the file's name", game.id));
            }
            games.insert(name.to_owned(), game);
        }
        Ok(Games(games))
    }
}

/// A `/config` request after reading: known fields only, syntax checked, nothing resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigBody {
    pub vmid: u32,
    pub game: String,
    pub variant: Option<String>,
    pub version: Option<String>,
    pub world: Option<String>,
    pub ports: Option<Vec<u16>>,
    pub memory_mb: Option<u64>,
    /// Where the server itself comes from on the artifact server.
    pub artifact_path: Option<String>,
    /// A `java` program on this machine (absolute), or an archive on the artifact server (`java/21/OpenJDK21.tar.gz`).
    pub java_path: Option<String>,
    pub command: Option<Vec<String>>,
    /// Relative to `/opt/zlh/custom/`.
    pub workdir: Option<String>,
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub stop: Option<Vec<StopText>>,
    pub ready: Option<ReadyText>,
    pub steam_user: Option<String>,
    pub steam_pass: Option<Secret>,
    pub steam_auth: Option<Secret>,
    pub admin_user: Option<String>,
    pub admin_pass: Option<Secret>,
    /// Fields nobody here knows, by name.
    pub unknown: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded_and_the_other_way_round() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/games");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap().trim_end_matches(".toml").to_owned())
            .collect();
        on_disk.sort();
        let embedded: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
        assert_eq!(embedded, on_disk, "left: list in embedded.rs (sorted), right: catalog/games");
        assert_eq!(Games::embedded().unwrap().0.len(), on_disk.len());
    }

    #[test]
    fn a_faulty_definition_is_named_with_its_fault() {
        let typo = Games::parse([("x", "id = \"x\"\ntitel = \"X\"\n")]).unwrap_err();
        assert!(typo.contains("catalog/games/x.toml") && typo.contains("titel"), "{typo}");
        let (_, custom) = EMBEDDED.iter().find(|(name, _)| *name == "custom").unwrap();
        let other = Games::parse([("other", *custom)]).unwrap_err();
        assert!(other.contains("not the file's name"), "{other}");
    }
}
