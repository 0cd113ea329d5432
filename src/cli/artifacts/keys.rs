//! `zlh artifacts keygen` and `sign`.
use super::desk::{Desk, answer};
use crate::{
    cli::{client::print, failure::Failure},
    host::signing_key::SigningKey,
    model::catalog::paths,
    policy::{
        catalog::signature::{KeyStatement, PublicKey},
        publish::book::Document,
    },
};
use serde_json::json;
use std::path::Path;

/// The secret goes to a file, the public key to standard output.
pub fn make(store: &Path, file: &Path, as_json: bool) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = |path: &Path| path.canonicalize().ok();
    if let (Some(store), Some(folder)) = (real(store), real(folder))
        && folder.starts_with(&store)
    {
        let why = format!("{} lies in the folder that is served; a secret key must not", file.display());
        return Err(Failure::Usage(why));
    }
    let key = PublicKey(SigningKey::create(file).map_err(answer)?.public());
    match as_json {
        true => print(&format!("{}\n", json!({"key": key, "id": key.id(), "file": file}))),
        false => print(&format!("{key}\n")),
    }
}

/// Adds to the statement that agents read before any catalog. What was said before still holds.
pub fn trust(desk: &Desk, new: &[PublicKey], revoked: &[String]) -> Result<(), Failure> {
    if !desk.has_keys() || (new.is_empty() && revoked.is_empty()) {
        let why =
            "say which key signs (--key FILE, one that agents trust already), and what changes: KEY or --revoke KEY";
        return Err(Failure::Usage(why.into()));
    }
    let locked = desk.store.lock().map_err(answer)?;
    let old = desk.store.document(paths::KEY_STATEMENT).map_err(answer)?;
    let unreadable = |e| answer(format!("{}: {e}; correct or remove it first", paths::KEY_STATEMENT));
    let mut said: KeyStatement = match old {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(unreadable)?,
        None => KeyStatement { serial: 0, keys: Vec::new(), revoked: Vec::new() },
    };
    said.serial += 1;
    said.keys.extend(new);
    said.revoked.extend(revoked.iter().map(|key| key.parse().map_or_else(|_| key.clone(), |key: PublicKey| key.id())));
    said.revoked.sort();
    said.revoked.dedup();
    said.keys.sort();
    said.keys.dedup();
    said.keys.retain(|key| !said.revoked.contains(&key.id()));
    let mut text = serde_json::to_vec_pretty(&said).map_err(answer)?;
    text.push(b'\n');
    desk.write(&locked, paths::KEY_STATEMENT, &text)?;
    let line = format!(
        "statement {}: trusted besides the agents' own keys: {}; no longer: {}",
        said.serial,
        listed(said.keys.iter().map(PublicKey::id)),
        listed(said.revoked.iter().cloned())
    );
    desk.say(&line, &json!(said))
}

fn listed(keys: impl Iterator<Item = String>) -> String {
    let keys: Vec<String> = keys.collect();
    if keys.is_empty() { "none".into() } else { keys.join(", ") }
}

/// Signs every catalog that is there; also when one was written by hand.
pub fn sign(desk: &Desk) -> Result<(), Failure> {
    if !desk.has_keys() {
        return Err(Failure::Usage("say which key signs: --key FILE (zlh artifacts keygen makes one)".into()));
    }
    let locked = desk.store.lock().map_err(answer)?;
    let mut signed = Vec::new();
    for path in Document::ALL.map(Document::path).into_iter().chain([paths::KEY_STATEMENT]) {
        if let Some(bytes) = desk.store.document(path).map_err(answer)? {
            desk.write(&locked, path, &bytes)?;
            signed.push(path);
        }
    }
    let keys: Vec<String> = desk.public_keys().iter().map(PublicKey::id).collect();
    let line = format!("signed by {}: {}", keys.join(", "), signed.join(", "));
    desk.say(&line, &json!({"signed": signed, "keys": keys}))
}
