//! Reads catalogs as they are found in the wild: what is not usable is skipped and named, the rest counts.
//!
//! Skipped, each with a warning that says where: entries of the wrong type, without a good id or version, said twice.
//! A bad field of a good version (a hash that is none, say) costs the version if using it would be unsafe (`path`,
//! `sha256`), otherwise the field.
use crate::model::{
    catalog::{
        self, AgentBuild, AgentManifest, ArtifactPath, DevCatalog, GameCatalog, GameEntry, Product, Release,
        ReleaseFile, Stamp,
    },
    time::WallTime,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt};

/// Warnings kept of one catalog; a last one says that there were more.
const MOST_WARNINGS: usize = 50;
/// Products, and versions of a product, looked at.
const MOST_ENTRIES: usize = 10_000;

/// A catalog and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading<T> {
    pub catalog: T,
    pub warnings: Vec<Dirt>,
}

/// Something that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirt {
    /// `runtimes[2].versions[0]`.
    pub at: String,
    pub why: String,
}

impl fmt::Display for Dirt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

/// Nothing of it can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is a web page, not a catalog; does the address lead to the artifact server?")]
    Html,
    #[error("it is no JSON: {0}")]
    NotJson(String),
    #[error("it has no list {0:?}")]
    NoList(&'static str),
}

/// `/devcontainer/_catalog.json`.
pub fn dev(bytes: &[u8]) -> Result<Reading<DevCatalog>, Unreadable> {
    let mut top = object(bytes, "runtimes")?;
    let mut dirt = Dirty::default();
    let stamp = stamp(&mut top, &mut dirt);
    let runtimes = products(&mut top, "runtimes", &mut dirt);
    let addons = products(&mut top, "addons", &mut dirt);
    Ok(Reading { catalog: DevCatalog { stamp, runtimes, addons, extra: top }, warnings: dirt.0 })
}

/// `/_catalog.json`.
pub fn games(bytes: &[u8]) -> Result<Reading<GameCatalog>, Unreadable> {
    let mut top = object(bytes, "games")?;
    let mut dirt = Dirty::default();
    let stamp = stamp(&mut top, &mut dirt);
    let listed = list(&mut top, "games", "", &mut dirt);
    let games = unique(listed, "games", &mut dirt, game, |game| &game.id);
    let runtimes = products(&mut top, "runtimes", &mut dirt);
    Ok(Reading { catalog: GameCatalog { stamp, games, runtimes, extra: top }, warnings: dirt.0 })
}

/// `/agents/manifest.json`.
pub fn agent_manifest(bytes: &[u8]) -> Result<Reading<AgentManifest>, Unreadable> {
    let mut top = object(bytes, "artifacts")?;
    let mut dirt = Dirty::default();
    let stamp = stamp(&mut top, &mut dirt);
    let mut artifacts = BTreeMap::new();
    for (version, platforms) in taken::<Map<String, Value>>(&mut top, "artifacts", "", &mut dirt).unwrap_or_default() {
        let at = format!("artifacts.{version}");
        if let Err(e) = semver::Version::parse(&version) {
            dirt.add(&at, format!("no semantic version: {e}"));
        } else if let Some(builds) = platforms_of(platforms, &at, &mut dirt) {
            artifacts.insert(version, builds);
        }
    }
    let latest = taken(&mut top, "latest", "", &mut dirt);
    let channels = taken(&mut top, "channels", "", &mut dirt).unwrap_or_default();
    let previous = taken(&mut top, "previous", "", &mut dirt).unwrap_or_default();
    let catalog = AgentManifest { stamp, latest, channels, previous, artifacts, extra: top };
    Ok(Reading { catalog, warnings: dirt.0 })
}

#[derive(Default)]
struct Dirty(Vec<Dirt>);

impl Dirty {
    fn add(&mut self, at: &str, why: impl Into<String>) {
        if self.0.len() < MOST_WARNINGS {
            self.0.push(Dirt { at: at.to_owned(), why: why.into() });
        } else if self.0.len() == MOST_WARNINGS {
            self.0.push(Dirt { at: "and so on".into(), why: "more than 50 entries cannot be used".into() });
        }
    }
}

fn object(bytes: &[u8], list: &'static str) -> Result<Map<String, Value>, Unreadable> {
    if bytes.trim_ascii_start().starts_with(b"<") {
        return Err(Unreadable::Html);
    }
    let top: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| Unreadable::NotJson(e.to_string()))?;
    if top.contains_key(list) { Ok(top) } else { Err(Unreadable::NoList(list)) }
}

fn stamp(top: &mut Map<String, Value>, dirt: &mut Dirty) -> Stamp {
    Stamp { serial: taken(top, "serial", "", dirt), generated_at: taken(top, "generatedAt", "", dirt) }
}

/// Takes a field out; `null` is absent, a wrong type is dirt.
fn taken<T: DeserializeOwned>(from: &mut Map<String, Value>, key: &str, at: &str, dirt: &mut Dirty) -> Option<T> {
    let value = from.remove(key).filter(|value| !value.is_null())?;
    serde_json::from_value(value).map_err(|e| dirt.add(&joined(at, key), e.to_string())).ok()
}

fn joined(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

fn list(from: &mut Map<String, Value>, key: &str, at: &str, dirt: &mut Dirty) -> Vec<Value> {
    let mut found: Vec<Value> = taken(from, key, at, dirt).unwrap_or_default();
    if found.len() > MOST_ENTRIES {
        dirt.add(&joined(at, key), format!("only the first {MOST_ENTRIES} entries are looked at"));
        found.truncate(MOST_ENTRIES);
    }
    found
}

/// Reads each entry; of two with one name the first counts.
fn unique<T>(
    listed: Vec<Value>,
    at: &str,
    dirt: &mut Dirty,
    read: impl Fn(Value, &str, &mut Dirty) -> Option<T>,
    name: impl Fn(&T) -> &String,
) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for (i, value) in listed.into_iter().enumerate() {
        let at = format!("{at}[{i}]");
        let Some(entry) = read(value, &at, dirt) else { continue };
        if seen.insert(name(&entry).clone()) {
            kept.push(entry);
        } else {
            dirt.add(&at, format!("{} is there already", name(&entry)));
        }
    }
    kept
}

fn game(value: Value, at: &str, dirt: &mut Dirty) -> Option<GameEntry> {
    let (id, mut fields) = named(value, at, dirt)?;
    let variants = products_at(&mut fields, "variants", at, dirt);
    if variants.is_empty() {
        dirt.add(at, format!("game {id} has no variant that can be used"));
        return None;
    }
    Some(GameEntry { id, variants, extra: fields })
}

fn products(top: &mut Map<String, Value>, key: &str, dirt: &mut Dirty) -> Vec<Product> {
    products_at(top, key, "", dirt)
}

fn products_at(from: &mut Map<String, Value>, key: &str, at: &str, dirt: &mut Dirty) -> Vec<Product> {
    let listed = list(from, key, at, dirt);
    unique(listed, &joined(at, key), dirt, product, |product| &product.id)
}

/// An object with a good id.
fn named(value: Value, at: &str, dirt: &mut Dirty) -> Option<(String, Map<String, Value>)> {
    let Value::Object(mut fields) = value else {
        dirt.add(at, "no object");
        return None;
    };
    match fields.remove("id") {
        Some(Value::String(id)) => match catalog::id(&id) {
            Ok(_) => Some((id, fields)),
            Err(e) => skipped(dirt, at, e.to_string()),
        },
        _ => skipped(dirt, at, "no id".into()),
    }
}

fn skipped<T>(dirt: &mut Dirty, at: &str, why: String) -> Option<T> {
    dirt.add(at, why);
    None
}

fn product(value: Value, at: &str, dirt: &mut Dirty) -> Option<Product> {
    let (id, mut fields) = named(value, at, dirt)?;
    let listed = list(&mut fields, "versions", at, dirt);
    let versions = unique(listed, &joined(at, "versions"), dirt, release, |release| &release.version);
    if versions.is_empty() {
        return skipped(dirt, at, format!("{id} has no version that can be used"));
    }
    let mut current: BTreeMap<String, String> = taken(&mut fields, "current", at, dirt).unwrap_or_default();
    current.retain(|channel, version| {
        let known = versions.iter().any(|release| release.version == *version);
        if !known {
            dirt.add(&joined(at, "current"), format!("channel {channel} names {version}, which is not in versions"));
        }
        known
    });
    let previous = taken(&mut fields, "previous", at, dirt).unwrap_or_default();
    Some(Product { id, versions, current, previous, extra: fields })
}

fn release(value: Value, at: &str, dirt: &mut Dirty) -> Option<Release> {
    match value {
        Value::String(version) => good_version(version, at, dirt).map(Release::bare),
        // 22 for "22" is a slip that loses nothing; 3.10 without quotes is 3.1, so a fraction is not guessed at.
        Value::Number(number) if number.is_u64() => Some(Release::bare(number.to_string())),
        Value::Object(fields) => rich_release(fields, at, dirt),
        _ => skipped(dirt, at, "a version is text or an object".into()),
    }
}

fn good_version(version: String, at: &str, dirt: &mut Dirty) -> Option<String> {
    match catalog::version(&version) {
        Ok(_) => Some(version),
        Err(e) => skipped(dirt, at, e.to_string()),
    }
}

fn rich_release(mut fields: Map<String, Value>, at: &str, dirt: &mut Dirty) -> Option<Release> {
    let version = taken::<String>(&mut fields, "version", at, dirt);
    let Some(version) = version else { return skipped(dirt, at, "no version".into()) };
    let version = good_version(version, at, dirt)?;
    // What would be downloaded and trusted must be as it was meant, or not be used at all.
    let path = sound::<ArtifactPath>(&mut fields, "path", at, dirt)?;
    let sha256 = sound(&mut fields, "sha256", at, dirt)?;
    let size = sound(&mut fields, "size", at, dirt)?;
    let files = sound::<Vec<Map<String, Value>>>(&mut fields, "files", at, dirt)?.unwrap_or_default();
    Some(Release {
        version,
        path,
        sha256,
        size,
        strip: taken(&mut fields, "strip", at, dirt),
        bin: folders(taken(&mut fields, "bin", at, dirt).unwrap_or_default(), at, dirt),
        env: taken(&mut fields, "env", at, dirt).unwrap_or_default(),
        released_at: taken::<WallTime>(&mut fields, "releasedAt", at, dirt),
        channel: taken(&mut fields, "channel", at, dirt),
        files: files.into_iter().filter_map(|file| release_file(file, &joined(at, "files"), dirt)).collect(),
        extra: fields,
    })
}

/// The outer `None`: it is there and not sound, so the whole entry is skipped.
fn sound<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    key: &str,
    at: &str,
    dirt: &mut Dirty,
) -> Option<Option<T>> {
    let there = fields.get(key).is_some_and(|value| !value.is_null());
    let value = taken(fields, key, at, dirt);
    (value.is_some() || !there).then_some(value)
}

/// Folders for PATH: within the tree, or the tree itself.
fn folders(listed: Vec<String>, at: &str, dirt: &mut Dirty) -> Vec<String> {
    let good = |folder: &String| folder == "." || folder.parse::<ArtifactPath>().is_ok();
    let (kept, bad): (Vec<String>, Vec<String>) = listed.into_iter().partition(good);
    bad.iter().for_each(|folder| dirt.add(&joined(at, "bin"), format!("{folder:?} is no folder within the tree")));
    kept
}

fn release_file(mut file: Map<String, Value>, at: &str, dirt: &mut Dirty) -> Option<ReleaseFile> {
    let path = sound(&mut file, "path", at, dirt)??;
    let to = sound(&mut file, "to", at, dirt)??;
    let sha256 = sound(&mut file, "sha256", at, dirt)?;
    Some(ReleaseFile { path, to, sha256, size: sound(&mut file, "size", at, dirt)? })
}

fn platforms_of(value: Value, at: &str, dirt: &mut Dirty) -> Option<BTreeMap<String, AgentBuild>> {
    let Value::Object(platforms) = value else { return skipped(dirt, at, "no object".into()) };
    let mut builds = BTreeMap::new();
    for (platform, value) in platforms {
        let at = joined(at, &platform);
        let Value::Object(fields) = value else {
            dirt.add(&at, "no object");
            continue;
        };
        if let Some(build) = build_of(fields, &at, dirt) {
            builds.insert(platform, build);
        }
    }
    Some(builds)
}

fn build_of(mut fields: Map<String, Value>, at: &str, dirt: &mut Dirty) -> Option<AgentBuild> {
    let Some(binary) = sound(&mut fields, "binary", at, dirt)? else { return skipped(dirt, at, "no binary".into()) };
    let sha256 = sound(&mut fields, "sha256", at, dirt)?;
    let size = sound(&mut fields, "size", at, dirt)?;
    Some(AgentBuild { binary, sha256, size, extra: fields })
}

#[cfg(test)]
mod tests;
