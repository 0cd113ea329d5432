//! Where files lie on an artifact server when the catalog does not say (the platform's own convention).
use super::{ArtifactPath, layout};

pub const GAME_CATALOG: &str = "_catalog.json";
pub const DEV_CATALOG: &str = "devcontainer/_catalog.json";
pub const AGENT_MANIFEST: &str = "agents/manifest.json";
/// Which keys speak for this server from now on (`policy::catalog::signature`).
pub const KEY_STATEMENT: &str = "_keys.json";

/// The detached signature of a catalog or manifest.
pub fn signature_of(path: &str) -> String {
    format!("{path}.sig")
}

/// The file that holds a file's SHA-256, where no catalog does.
pub fn checksum_of(path: &str) -> String {
    format!("{path}.sha256")
}

/// What to ask for, one after the other, until the server has it.
fn candidates<const N: usize>(of: [String; N]) -> Vec<ArtifactPath> {
    of.iter().filter_map(|path| path.parse().ok()).collect()
}

/// `devcontainer/<runtime>/<prefix>-<version>.tar.…`; an unknown runtime's prefix is its id.
pub fn dev_runtime(runtime: &str, version: &str) -> Vec<ArtifactPath> {
    let prefix = layout(runtime).map_or(runtime, |layout| layout.prefix);
    candidates(["gz", "xz", "zst"].map(|kind| format!("devcontainer/{runtime}/{prefix}-{version}.tar.{kind}")))
}

pub fn addon(id: &str, version: &str) -> Vec<ArtifactPath> {
    candidates([format!("addons/{id}/{id}-{version}-linux-amd64.tar.gz")])
}

/// The Java that games are run with, by its major version.
pub fn java_for_games(major: &str) -> Vec<ArtifactPath> {
    candidates([format!("java/{major}/OpenJDK{major}.tar.gz")])
}

/// The one file a game's variant is installed from.
pub fn game(game: &str, variant: &str, version: &str) -> Vec<ArtifactPath> {
    let file = match variant {
        "forge" => "forge-installer.jar",
        "neoforge" => "neoforge-installer.jar",
        "quilt" => "quilt-installer.jar",
        "fabric" => "fabric-server.jar",
        _ => "server.jar",
    };
    candidates([format!("{game}/{variant}/{version}/{file}")])
}
