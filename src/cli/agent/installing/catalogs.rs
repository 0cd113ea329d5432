//! The artifact server's catalogs: fetched anew for each order, believed only if signed as they must be and no older than
//! the last one.
use crate::{
    host::{
        artifacts::ArtifactServer,
        store::{Durability, Store, StoreError},
    },
    model::{
        catalog::{AgentManifest, Digest, Stamp, paths},
        settings::Settings,
        snapshot::Warning,
    },
    policy::{
        catalog::{
            fresh::{self, Believed},
            read::{self, Dirt},
            signature::{self, KeyStatement, PublicKey},
        },
        installer::choice::{Catalog, Sheet},
    },
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tokio::sync::{Mutex, OnceCell};

/// Larger catalogs than this are a mistake.
const MOST_BYTES: u64 = 16 << 20;
const MOST_SIGNATURE_BYTES: u64 = 64 << 10;
const NAME: &str = "catalogs";

/// The artifact server, made when it is first needed: reading the system's certificates takes a while.
#[derive(Clone)]
pub struct Server {
    settings: Arc<Settings>,
    made: Arc<OnceCell<ArtifactServer>>,
}

impl Server {
    /// Does it have this file? Only its own "no" counts as one: what hinders the question is told when it is fetched.
    pub async fn lacks(&self, path: &str) -> bool {
        match self.ready().await {
            Ok(server) => matches!(server.document(path, 1).await, Ok(None)),
            Err(_) => false,
        }
    }

    pub async fn ready(&self) -> Result<ArtifactServer, String> {
        let settings = self.settings.clone();
        let make = || async move {
            let none = "artifacts_url is not set: say where the artifact server is (agent.toml, ZLH_ARTIFACTS_URL or \
                        --artifacts-url), then ask again";
            let base = settings.artifacts_url.clone().ok_or(none)?;
            let made = tokio::task::spawn_blocking(move || {
                ArtifactServer::new(&format!("{base}/"), &settings.install.mirrors, &settings.install)
            });
            let made = made.await.map_err(|e| format!("preparing to fetch broke off: {e}"))?;
            made.map_err(|e| e.to_string())
        };
        self.made.get_or_try_init(make).await.cloned()
    }
}

/// What is remembered of each server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    /// By address and catalog.
    believed: BTreeMap<String, Believed>,
    keys: Option<Keys>,
}

/// Keys that a signed statement left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Keys {
    /// What `trusted_keys` was then: an operator who changes it begins anew.
    configured: Vec<String>,
    serial: u64,
    trusted: Vec<PublicKey>,
}

pub struct Catalogs {
    settings: Arc<Settings>,
    server: Server,
    store: Store,
    /// One reader at a time: what is believed must not go back and forth.
    remembered: Mutex<Option<Remembered>>,
}

impl Catalogs {
    pub fn new(settings: Arc<Settings>, state: &Path) -> Result<Catalogs, StoreError> {
        let server = Server { settings: settings.clone(), made: Arc::default() };
        Ok(Catalogs { settings, server, store: Store::open(state)?, remembered: Mutex::new(None) })
    }

    pub fn server(&self) -> Server {
        self.server.clone()
    }

    /// Why there is no such catalog, for a person.
    pub fn missing(&self, sheet: Sheet) -> String {
        let url = self.settings.artifacts_url.as_deref().unwrap_or_default();
        format!("asking for {url}/{}: is not there (404); publish one (zlh artifacts add)", sheet.path())
    }

    /// The catalog as it is now, and what was wrong with it; `None` if the server has none.
    pub async fn read(&self, sheet: Sheet) -> Result<Option<(Catalog, Vec<Warning>)>, String> {
        let read = self.believed(sheet.path(), |bytes| parse(sheet, bytes)).await?;
        Ok(read.map(|(catalog, dirt)| (catalog, warnings(sheet, &dirt))))
    }

    /// The manifest of the agent's own releases, believed by the same rules.
    pub async fn agent_manifest(&self) -> Result<AgentManifest, String> {
        let parse = |bytes: &[u8]| {
            let reading = read::agent_manifest(bytes).map_err(|e| e.to_string())?;
            let stamp = reading.catalog.stamp;
            Ok((reading.catalog, stamp, reading.warnings))
        };
        let (manifest, dirt) = self.believed(paths::AGENT_MANIFEST, parse).await?.ok_or_else(|| {
            let url = self.settings.artifacts_url.as_deref().unwrap_or_default();
            format!("asking for {url}/{}: is not there (404); no agent was published", paths::AGENT_MANIFEST)
        })?;
        dirt.iter().for_each(|one| tracing::warn!(%one, "an entry of the agent's manifest was skipped"));
        Ok(manifest)
    }

    async fn believed<T>(
        &self,
        path: &str,
        parse: impl Fn(&[u8]) -> Result<(T, Stamp, Vec<Dirt>), String>,
    ) -> Result<Option<(T, Vec<Dirt>)>, String> {
        let server = self.server.ready().await?;
        let mut remembered = self.remembered.lock().await;
        let known = match &mut *remembered {
            Some(known) => known,
            unread => unread.insert(self.load().await?),
        };
        let keys = self.keys(&server, known).await?;
        let Some(document) = server.document(path, MOST_BYTES).await.map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        let about = |why: String| format!("reading {}: {why}", document.url);
        self.check_signature(&server, path, &document.bytes, &keys).await.map_err(about)?;
        let (catalog, stamp, dirt) = parse(&document.bytes).map_err(about)?;
        let address = format!("{} {}", self.settings.artifacts_url.as_deref().unwrap_or_default(), path);
        self.believe(known, address, Believed::of(stamp, digest(&document.bytes))).await.map_err(about)?;
        Ok(Some((catalog, dirt)))
    }

    /// A catalog older than the last one may bring back a version with a known hole.
    async fn believe(&self, known: &mut Remembered, address: String, found: Believed) -> Result<(), String> {
        let last = known.believed.get(&address);
        if last == Some(&found) {
            return Ok(());
        }
        let stale = |e| format!("{e}; if it was set back on purpose, remove {}", self.path());
        fresh::judge(last, &found).map_err(stale)?;
        known.believed.insert(address, found);
        self.save(known.clone()).await
    }

    /// The keys that are trusted now: as configured, and as signed statements have changed them since.
    async fn keys(&self, server: &ArtifactServer, known: &mut Remembered) -> Result<Vec<PublicKey>, String> {
        let configured = &self.settings.trusted_keys;
        if configured.is_empty() {
            return Ok(Vec::new());
        }
        let parsed: Result<Vec<PublicKey>, _> = configured.iter().map(|key| key.parse()).collect();
        let parsed = parsed.map_err(|e| format!("trusted_keys: {e}"))?;
        let kept = known.keys.clone().filter(|keys| keys.configured == *configured);
        let (last, trusted) = kept.map_or((None, parsed), |keys| (Some(keys.serial), keys.trusted));
        let Some(statement) = document(server, paths::KEY_STATEMENT).await? else { return Ok(trusted) };
        let newer = |said: &KeyStatement| last.is_none_or(|last| said.serial > last);
        if !serde_json::from_slice::<KeyStatement>(&statement).is_ok_and(|said| newer(&said)) {
            return Ok(trusted);
        }
        let signature = document(server, &paths::signature_of(paths::KEY_STATEMENT)).await?;
        let changed = signature::keys_after(&trusted, last, &statement, signature.as_deref());
        let (serial, trusted) = changed.map_err(|e| format!("{}: {e}", paths::KEY_STATEMENT))?;
        known.keys = Some(Keys { configured: configured.clone(), serial, trusted: trusted.clone() });
        self.save(known.clone()).await?;
        Ok(trusted)
    }

    async fn check_signature(
        &self,
        server: &ArtifactServer,
        path: &str,
        bytes: &[u8],
        keys: &[PublicKey],
    ) -> Result<(), String> {
        if keys.is_empty() {
            return Ok(());
        }
        let signature = document(server, &paths::signature_of(path)).await?;
        let signed = signature::verify(bytes, signature.as_deref(), keys);
        signed
            .map(drop)
            .map_err(|e| format!("{e}; have the publisher sign it (zlh artifacts sign), or correct trusted_keys"))
    }

    async fn load(&self) -> Result<Remembered, String> {
        let store = self.store.clone();
        let loaded = tokio::task::spawn_blocking(move || store.load(NAME)).await;
        let loaded = loaded.map_err(|e| format!("reading what is known of catalogs broke off: {e}"))?;
        Ok(loaded.map_err(|e| e.to_string())?.unwrap_or_default())
    }

    async fn save(&self, known: Remembered) -> Result<(), String> {
        let store = self.store.clone();
        let saved = tokio::task::spawn_blocking(move || store.save(NAME, &known, Durability::Machine)).await;
        let saved = saved.map_err(|e| format!("saving what is known of catalogs broke off: {e}"))?;
        saved.map_err(|e| e.to_string())
    }

    fn path(&self) -> String {
        self.store.folder().join(format!("{NAME}.json")).display().to_string()
    }
}

async fn document(server: &ArtifactServer, path: &str) -> Result<Option<Vec<u8>>, String> {
    let found = server.document(path, MOST_SIGNATURE_BYTES).await.map_err(|e| e.to_string())?;
    Ok(found.map(|document| document.bytes))
}

fn parse(sheet: Sheet, bytes: &[u8]) -> Result<(Catalog, Stamp, Vec<Dirt>), String> {
    let said = |e: read::Unreadable| e.to_string();
    match sheet {
        Sheet::Dev => {
            let reading = read::dev(bytes).map_err(said)?;
            let stamp = reading.catalog.stamp;
            Ok((Catalog::Dev(reading.catalog), stamp, reading.warnings))
        }
        Sheet::Games => {
            let reading = read::games(bytes).map_err(said)?;
            let stamp = reading.catalog.stamp;
            Ok((Catalog::Games(reading.catalog), stamp, reading.warnings))
        }
    }
}

/// All in one: a status is no place for fifty lines about somebody else's file.
fn warnings(sheet: Sheet, dirt: &[Dirt]) -> Vec<Warning> {
    dirt.iter().for_each(|one| tracing::warn!(catalog = sheet.path(), %one, "an entry of the catalog was skipped"));
    let Some(first) = dirt.first() else { return Vec::new() };
    let message = format!("{} entries of {} were skipped; the first: {first}", dirt.len(), sheet.path());
    vec![Warning { code: "catalog_dirty".into(), message }]
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
