//! What is published: its name on the command line, the catalog it stands in, and where its file goes.
use super::book::Document;
use crate::{
    model::catalog::{self, ArtifactPath, CODE_SERVER, Layout, RUNTIMES},
    policy::catalog::Shelf,
};
use std::{fmt, str::FromStr};

/// Names of what games are run with; `java` alone is the dev runtime.
const GAME_JAVA: &str = "game-java";
const AGENT: &str = "agent";

/// Something with versions. Written `node`, `code-server`, `minecraft/paper`, `game-java`, `agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Runtime(String),
    Addon(String),
    GameJava,
    Variant { game: String, variant: String },
    Agent,
}

/// Text that names nothing that can be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is nothing that can be published: write one of node, python, go, java, dotnet (dev runtimes), code-server, \
     game-java, agent, GAME/VARIANT (minecraft/paper), runtime/NAME or addon/NAME"
)]
pub struct NoTarget(pub String);

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Target, NoTarget> {
        let refused = || NoTarget(text.chars().take(100).collect());
        let id = |part: &str| catalog::id(part).map(str::to_owned).map_err(|_| refused());
        match text.split_once('/') {
            Some(("runtime", name)) => Ok(Target::Runtime(id(name)?)),
            Some(("addon", name)) => Ok(Target::Addon(id(name)?)),
            Some((game, variant)) => Ok(Target::Variant { game: id(game)?, variant: id(variant)? }),
            None if text == GAME_JAVA => Ok(Target::GameJava),
            None if text == AGENT => Ok(Target::Agent),
            None if text == CODE_SERVER => Ok(Target::Addon(CODE_SERVER.into())),
            None if RUNTIMES.contains(&text) => Ok(Target::Runtime(text.into())),
            None => Err(refused()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Runtime(id) if RUNTIMES.contains(&id.as_str()) => f.write_str(id),
            Target::Runtime(id) => write!(f, "runtime/{id}"),
            Target::Addon(id) if id == CODE_SERVER => f.write_str(id),
            Target::Addon(id) => write!(f, "addon/{id}"),
            Target::GameJava => f.write_str(GAME_JAVA),
            Target::Variant { game, variant } => write!(f, "{game}/{variant}"),
            Target::Agent => f.write_str(AGENT),
        }
    }
}

impl Target {
    pub fn document(&self) -> Document {
        match self {
            Target::Runtime(_) | Target::Addon(_) => Document::Dev,
            Target::GameJava | Target::Variant { .. } => Document::Games,
            Target::Agent => Document::Agents,
        }
    }

    /// Where an installer looks for it; the agent is found by its manifest alone.
    pub fn shelf(&self) -> Option<Shelf<'_>> {
        match self {
            Target::Runtime(id) => Some(Shelf::DevRuntime(id)),
            Target::Addon(id) => Some(Shelf::Addon(id)),
            Target::GameJava => Some(Shelf::GameRuntime("java")),
            Target::Variant { game, variant } => Some(Shelf::Variant { game, variant }),
            Target::Agent => None,
        }
    }

    /// What its tree must look like, where that is known.
    pub fn layout(&self) -> Option<&'static Layout> {
        match self {
            Target::Runtime(id) | Target::Addon(id) => catalog::layout(id),
            Target::GameJava => catalog::layout("java"),
            Target::Variant { .. } | Target::Agent => None,
        }
    }

    /// Where the file of `version` goes; `ending` is the archive's (`tar.gz`) and means nothing for jars and programs.
    pub fn place(&self, version: &str, ending: &str) -> Option<ArtifactPath> {
        let place = match self {
            Target::Runtime(id) => {
                let prefix = self.layout().map_or(id.as_str(), |layout| layout.prefix);
                format!("devcontainer/{id}/{prefix}-{version}.{ending}")
            }
            Target::Addon(id) => format!("addons/{id}/{id}-{version}-linux-amd64.{ending}"),
            Target::GameJava => format!("java/{version}/OpenJDK{version}.{ending}"),
            // A jar is a .zip by its contents, and lies where servers and installers always lie.
            Target::Variant { game, variant } if matches!(ending, "zip" | "jar" | "") => {
                return catalog::paths::game(game, variant, version).into_iter().next();
            }
            Target::Variant { game, variant } => format!("{game}/{variant}/{version}/{game}-{version}.{ending}"),
            Target::Agent => format!("agents/versions/{version}/zlh-agent-linux-amd64"),
        };
        place.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        let names = ["node", "java", "code-server", "game-java", "agent", "minecraft/paper", "runtime/ruby", "addon/x"];
        for name in names {
            assert_eq!(name.parse::<Target>().unwrap().to_string(), name);
        }
        for name in ["", "ruby", "Node", "a/b/c", "minecraft/", "/paper", "../x", "minecraft/.."] {
            assert!(name.parse::<Target>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_published_lies_where_a_bare_catalog_would_look() {
        for (name, version, ending) in [
            ("node", "22", "tar.xz"),
            ("java", "21", "tar.gz"),
            ("runtime/ruby", "3.3", "tar.zst"),
            ("code-server", "4.96.4", "tar.gz"),
            ("game-java", "21", "tar.gz"),
            ("minecraft/paper", "1.21.4", "jar"),
            ("minecraft/fabric", "1.21.4", "jar"),
        ] {
            let target: Target = name.parse().unwrap();
            let place = target.place(version, ending).unwrap();
            let release = catalog::Release::bare(version);
            let looked = crate::policy::catalog::artifact(&target.shelf().unwrap(), &release).candidates;
            assert!(looked.contains(&place), "{name}: {place} is not among {looked:?}");
        }
        let agent = Target::Agent.place("1.0.8", "").unwrap();
        assert_eq!(agent.as_str(), "agents/versions/1.0.8/zlh-agent-linux-amd64");
    }
}
