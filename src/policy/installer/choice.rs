//! A want and the artifact server's catalog become a parcel, or a refusal that names the field and what is allowed.
use crate::{
    model::{
        catalog::{self, ArtifactPath, DevCatalog, GameCatalog, Product, Release, paths},
        install::{Family, Parcel, TreeId, Wanted},
        refusal::Refusal,
        time::WallTime,
    },
    policy::catalog::{
        Shelf, artifact,
        choose::{NoRelease, Wish, choose},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// Which of the server's catalogs says something about a want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sheet {
    Dev,
    Games,
}

impl Sheet {
    /// Relative to the server's address.
    pub fn path(self) -> &'static str {
        match self {
            Sheet::Dev => paths::DEV_CATALOG,
            Sheet::Games => paths::GAME_CATALOG,
        }
    }
}

/// A catalog that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Catalog {
    Dev(DevCatalog),
    Games(GameCatalog),
}

/// How a version is chosen where several fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Taste {
    pub channel: String,
    pub minimum_age: Duration,
    pub now: WallTime,
}

/// Are these names at all? What is asked for ends up in messages, paths and addresses.
pub fn check(wanted: &Wanted) -> Result<(), Refusal> {
    let (what, version) = fields(wanted);
    catalog::id(&wanted.family().id).map_err(|e| unusable(what, e.to_string()))?;
    let named = wanted.version();
    named.map_or(Ok(()), |v| catalog::version(&v).map(drop).map_err(|e| unusable(version, e.to_string())))?;
    direct(wanted).map(drop)
}

/// The catalog to ask; `None`: the want says itself where it lies.
pub fn sheet(wanted: &Wanted) -> Option<Sheet> {
    match wanted {
        Wanted::Runtime { .. } | Wanted::Addon { .. } => Some(Sheet::Dev),
        Wanted::GameJava { path: Some(_), .. } | Wanted::GameFiles { path: Some(_), .. } => None,
        Wanted::GameJava { path: None, .. } | Wanted::GameFiles { path: None, .. } => Some(Sheet::Games),
    }
}

/// Where the want says itself where it lies. A path that is none is refused.
pub fn direct(wanted: &Wanted) -> Result<Option<Parcel>, Refusal> {
    let (field, path, version) = match wanted {
        Wanted::GameJava { major, path: Some(path) } => ("java_path", path, major.to_string()),
        Wanted::GameFiles { path: Some(path), version, .. } => ("artifact_path", path, version.clone()),
        _ => return Ok(None),
    };
    let path: ArtifactPath =
        path.parse().map_err(|e| unusable(field, format!("{e}; allowed: a path on the artifact server")))?;
    let tree = checked(wanted.family(), &version, "version")?;
    let known = Release { path: Some(path), ..Release::bare(version) };
    Ok(Some(parcel(tree, &shelf(wanted), &known)))
}

/// What the catalog has for it.
pub fn chosen(wanted: &Wanted, catalog: &Catalog, taste: &Taste) -> Result<Parcel, Refusal> {
    if let Some(parcel) = direct(wanted)? {
        return Ok(parcel);
    }
    let Some(product) = product(wanted, catalog)? else { return by_convention(wanted) };
    let version = wanted.version();
    let wish =
        Wish { version: version.as_deref(), channel: &taste.channel, minimum_age: taste.minimum_age, now: taste.now };
    let release = choose(product, wish).map_err(|e| unusable(fields(wanted).1, said(&e)))?;
    let tree = checked(wanted.family(), &release.version, fields(wanted).1)?;
    Ok(parcel(tree, &shelf(wanted), release))
}

/// A bare game catalog lists no Java, and the Java lies where it always does.
fn by_convention(wanted: &Wanted) -> Result<Parcel, Refusal> {
    let version = wanted.version().unwrap_or_default();
    let tree = checked(wanted.family(), &version, fields(wanted).1)?;
    Ok(parcel(tree, &shelf(wanted), &Release::bare(version)))
}

fn product<'a>(wanted: &Wanted, catalog: &'a Catalog) -> Result<Option<&'a Product>, Refusal> {
    let unknown = |what: &str, known: Vec<&str>| {
        Err(unusable(fields(wanted).0, format!("no {what:?} on the artifact server; allowed: {}", known.join(", "))))
    };
    let ids = |products: &'a [Product]| products.iter().map(|p| p.id.as_str()).collect::<Vec<_>>();
    match (wanted, catalog) {
        (Wanted::Runtime { id, .. }, Catalog::Dev(dev)) => match dev.runtime(id) {
            Some(product) => Ok(Some(product)),
            None => unknown(id, ids(&dev.runtimes)),
        },
        (Wanted::Addon { id, .. }, Catalog::Dev(dev)) => match dev.addon(id) {
            Some(product) => Ok(Some(product)),
            None => unknown(id, ids(&dev.addons)),
        },
        (Wanted::GameJava { .. }, Catalog::Games(games)) => Ok(games.runtime("java")),
        (Wanted::GameFiles { game, variant, .. }, Catalog::Games(games)) => {
            let Some(entry) = games.games.iter().find(|entry| entry.id == *game) else {
                let known = games.games.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>().join(", ");
                return Err(unusable("game", format!("no {game:?} on the artifact server; allowed: {known}")));
            };
            match games.variant(game, variant) {
                Some(product) => Ok(Some(product)),
                None => unknown(variant, ids(&entry.variants)),
            }
        }
        (Wanted::Runtime { .. } | Wanted::Addon { .. }, Catalog::Games(_)) => unknown("", Vec::new()),
        (Wanted::GameJava { .. } | Wanted::GameFiles { .. }, Catalog::Dev(_)) => unknown("", Vec::new()),
    }
}

/// The `/config` fields that say what and which version.
fn fields(wanted: &Wanted) -> (&'static str, &'static str) {
    match wanted {
        Wanted::Runtime { .. } => ("runtime", "version"),
        Wanted::Addon { .. } => ("addons", "addons"),
        Wanted::GameJava { .. } => ("java_path", "java_path"),
        Wanted::GameFiles { .. } => ("variant", "version"),
    }
}

fn shelf(wanted: &Wanted) -> Shelf<'_> {
    match wanted {
        Wanted::Runtime { id, .. } => Shelf::DevRuntime(id),
        Wanted::Addon { id, .. } => Shelf::Addon(id),
        Wanted::GameJava { .. } => Shelf::GameRuntime("java"),
        Wanted::GameFiles { game, variant, .. } => Shelf::Variant { game, variant },
    }
}

/// Versions become names of folders.
fn checked(family: Family, version: &str, field: &str) -> Result<TreeId, Refusal> {
    let sound = catalog::version(version).map_err(|e| unusable(field, e.to_string()))?;
    Ok(family.version(sound))
}

fn parcel(tree: TreeId, shelf: &Shelf<'_>, release: &Release) -> Parcel {
    let found = artifact(shelf, release);
    let env: BTreeMap<String, String> = found.env;
    let (paths, sha256, size) = (found.candidates, found.sha256, found.size);
    Parcel { tree, paths, sha256, size, strip: found.strip, bin: found.bin, env }
}

fn said(why: &NoRelease) -> String {
    match why {
        NoRelease::Unknown { wish, offered, .. } => format!("no {wish:?}; allowed: {}", offered.join(", ")),
        NoRelease::TooYoung { .. } => why.to_string(),
    }
}

fn unusable(field: &str, detail: String) -> Refusal {
    Refusal::Unusable { field: field.into(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::catalog::read;

    const DEV: &str = r#"{"runtimes":[{"id":"node","versions":["20","22",{"version":"24.1.0","sha256":
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":7,"releasedAt":
        "2026-03-10T00:00:00Z"}]}],"addons":[{"id":"code-server","versions":["4.96.4"]}]}"#;
    const GAMES: &str = r#"{"games":[{"id":"minecraft","variants":[{"id":"paper","versions":["1.21.4"]}]}]}"#;

    fn dev() -> Catalog {
        Catalog::Dev(read::dev(DEV.as_bytes()).unwrap().catalog)
    }

    fn games() -> Catalog {
        Catalog::Games(read::games(GAMES.as_bytes()).unwrap().catalog)
    }

    fn taste() -> Taste {
        Taste { channel: "stable".into(), minimum_age: Duration::ZERO, now: WallTime(0) }
    }

    fn runtime(id: &str, version: &str) -> Wanted {
        Wanted::Runtime { id: id.into(), version: version.into() }
    }

    fn refused(wanted: &Wanted, catalog: &Catalog) -> (String, String) {
        match chosen(wanted, catalog, &taste()) {
            Err(Refusal::Unusable { field, detail }) => (field, detail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_catalog_has_becomes_a_parcel() {
        let rich = chosen(&runtime("node", "24"), &dev(), &taste()).unwrap();
        assert_eq!(
            (rich.tree.to_string().as_str(), rich.size, rich.bin.join(":").as_str()),
            ("node 24.1.0", Some(7), "bin")
        );
        let bare = chosen(&runtime("node", "22"), &dev(), &taste()).unwrap();
        assert_eq!(bare.paths[0].as_str(), "devcontainer/node/node-22.tar.gz");
        assert_eq!(bare.sha256, None);
        let addon = chosen(&Wanted::Addon { id: "code-server".into(), version: None }, &dev(), &taste()).unwrap();
        assert_eq!(addon.tree.to_string(), "code-server 4.96.4");
    }

    #[test]
    fn what_it_has_not_is_refused_with_field_and_allowed_values() {
        let (field, detail) = refused(&runtime("nodejs", "22"), &dev());
        assert_eq!(
            (field.as_str(), detail.as_str()),
            ("runtime", "no \"nodejs\" on the artifact server; allowed: node")
        );
        let (field, detail) = refused(&runtime("node", "19"), &dev());
        assert_eq!((field.as_str(), detail.as_str()), ("version", "no \"19\"; allowed: 20, 22, 24.1.0"));
        let paper = |variant: &str, version: &str| Wanted::GameFiles {
            game: "minecraft".into(),
            variant: variant.into(),
            version: version.into(),
            path: None,
        };
        assert_eq!(refused(&paper("pupur", "1.21.4"), &games()).0, "variant");
        assert_eq!(refused(&paper("paper", "1.2"), &games()).1, "no \"1.2\"; allowed: 1.21.4");
    }

    #[test]
    fn a_release_that_is_too_young_waits() {
        let at = |now: &str| {
            let now = serde_json::from_str::<WallTime>(&format!("{now:?}")).unwrap();
            let taste = Taste { minimum_age: Duration::from_secs(86_400), now, ..taste() };
            chosen(&runtime("node", "24"), &dev(), &taste)
        };
        assert!(matches!(at("2026-03-10T12:00:00Z"), Err(Refusal::Unusable { field, .. }) if field == "version"));
        assert!(at("2026-03-12T00:00:00Z").is_ok());
    }

    #[test]
    fn java_for_games_lies_where_the_body_or_the_convention_says() {
        let java = |path: Option<&str>| Wanted::GameJava { major: 21, path: path.map(Into::into) };
        assert_eq!(sheet(&java(Some("java/21/x.tar.gz"))), None);
        let said = direct(&java(Some("java/21/x.tar.gz"))).unwrap().unwrap();
        assert_eq!((said.tree.to_string().as_str(), said.paths[0].as_str()), ("java 21", "java/21/x.tar.gz"));
        let usual = chosen(&java(None), &games(), &taste()).unwrap();
        assert_eq!(usual.paths[0].as_str(), "java/21/OpenJDK21.tar.gz");
        assert!(matches!(direct(&java(Some("../x"))), Err(Refusal::Unusable { field, .. }) if field == "java_path"));
    }
}
