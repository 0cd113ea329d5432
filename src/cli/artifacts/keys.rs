//! `zlh artifacts keygen` and `sign`.
use super::desk::{Desk, answer};
use crate::{
    cli::{client::print, failure::Failure},
    host::signing_key::SigningKey,
    model::catalog::paths,
    policy::{catalog::signature::PublicKey, publish::book::Document},
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
