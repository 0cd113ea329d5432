//! What a catalog means: read leniently, used strictly.
//!
//! [`read`] skips what nobody can use and says where; [`choose`] picks a version; [`fresh`] refuses a catalog older than
//! the last one believed; [`signature`] says whose word it is; [`artifact`] is what to download for a choice.
pub mod choose;
pub mod fresh;
pub mod read;
pub mod signature;

use crate::model::catalog::{ArtifactPath, Digest, Release, layout, paths};
use std::collections::BTreeMap;

/// Where in the catalogs a product stands; decides its default path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shelf<'a> {
    DevRuntime(&'a str),
    Addon(&'a str),
    GameRuntime(&'a str),
    Variant { game: &'a str, variant: &'a str },
}

/// What to download for one release.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    pub version: String,
    /// Relative to the server's root. More than one only where the catalog names none: the first that exists is meant.
    pub candidates: Vec<ArtifactPath>,
    /// Absent: look for `<file>.sha256` beside it.
    pub sha256: Option<Digest>,
    pub size: Option<u64>,
    /// Absent: as the archive shows.
    pub strip: Option<u32>,
    pub bin: Vec<String>,
    /// `{root}` is the unpacked tree.
    pub env: BTreeMap<String, String>,
}

/// The catalog's word goes first, then what is known of the product.
pub fn artifact(shelf: &Shelf<'_>, release: &Release) -> Artifact {
    let known = match shelf {
        Shelf::DevRuntime(id) | Shelf::Addon(id) | Shelf::GameRuntime(id) => layout(id),
        Shelf::Variant { .. } => None,
    };
    let bin = match (&release.bin[..], known) {
        ([], Some(layout)) => layout.bin.iter().map(|folder| (*folder).to_owned()).collect(),
        (own, _) => own.to_vec(),
    };
    let mut env = release.env.clone();
    for (key, value) in known.map_or(&[][..], |layout| layout.env) {
        env.entry((*key).to_owned()).or_insert_with(|| (*value).to_owned());
    }
    Artifact {
        version: release.version.clone(),
        candidates: release.path.clone().map_or_else(|| default_paths(shelf, &release.version), |path| vec![path]),
        sha256: release.sha256,
        size: release.size,
        strip: release.strip,
        bin,
        env,
    }
}

fn default_paths(shelf: &Shelf<'_>, version: &str) -> Vec<ArtifactPath> {
    match shelf {
        Shelf::DevRuntime(id) => paths::dev_runtime(id, version),
        Shelf::Addon(id) => paths::addon(id, version),
        Shelf::GameRuntime(_) => paths::java_for_games(version.split('.').next().unwrap_or(version)),
        Shelf::Variant { game, variant } => paths::game(game, variant, version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(shelf: Shelf<'_>, version: &str) -> Vec<String> {
        let found = artifact(&shelf, &Release::bare(version)).candidates;
        found.iter().map(|path| path.to_string()).collect()
    }

    #[test]
    fn a_bare_version_lies_where_the_convention_says() {
        let node = first(Shelf::DevRuntime("node"), "24");
        assert_eq!(node, ["gz", "xz", "zst"].map(|kind| format!("devcontainer/node/node-24.tar.{kind}")));
        assert_eq!(first(Shelf::DevRuntime("java"), "21")[0], "devcontainer/java/jdk-21.tar.gz");
        assert_eq!(first(Shelf::DevRuntime("ruby"), "3.3")[0], "devcontainer/ruby/ruby-3.3.tar.gz");
        let addon = first(Shelf::Addon("code-server"), "4.96.4");
        assert_eq!(addon, ["addons/code-server/code-server-4.96.4-linux-amd64.tar.gz"]);
        assert_eq!(first(Shelf::GameRuntime("java"), "21.0.5"), ["java/21/OpenJDK21.tar.gz"]);
        for (variant, file) in [
            ("paper", "server.jar"),
            ("forge", "forge-installer.jar"),
            ("neoforge", "neoforge-installer.jar"),
            ("fabric", "fabric-server.jar"),
        ] {
            let game = Shelf::Variant { game: "minecraft", variant };
            assert_eq!(first(game, "1.21.4"), [format!("minecraft/{variant}/1.21.4/{file}")]);
        }
    }

    #[test]
    fn the_catalogs_word_goes_before_what_is_known() {
        let release = Release {
            path: Some("x/jdk.tar.zst".parse().unwrap()),
            bin: vec!["Contents/bin".into()],
            env: [("JAVA_HOME".to_owned(), "{root}/Contents".to_owned())].into(),
            ..Release::bare("21")
        };
        let found = artifact(&Shelf::DevRuntime("java"), &release);
        assert_eq!(found.candidates, ["x/jdk.tar.zst".parse().unwrap()]);
        assert_eq!((found.bin, found.env), (release.bin, release.env));
        let known = artifact(&Shelf::DevRuntime("java"), &Release::bare("21"));
        assert_eq!((known.bin, known.env["JAVA_HOME"].as_str()), (vec!["bin".to_owned()], "{root}"));
    }
}
