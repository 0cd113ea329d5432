//! What every publisher's command works with: the store, the keys, and edits that are whole.
use crate::{
    cli::{
        client::{now, print},
        failure::Failure,
        show::look::Look,
    },
    host::{
        artifact_store::{ArtifactStore, Locked},
        signing_key::SigningKey,
    },
    model::{catalog::paths, time::WallTime},
    policy::{
        catalog::signature::{PublicKey, Signature, SignatureFile},
        publish::{
            book::{Book, Document},
            edit::{Change, Refused},
        },
    },
};
use std::path::{Path, PathBuf};

pub struct Desk {
    pub store: ArtifactStore,
    keys: Vec<SigningKey>,
    pub json: bool,
    pub look: Look,
}

/// Any failure of the store or an edit, said to the person.
pub fn answer(error: impl std::fmt::Display) -> Failure {
    Failure::Answer(error.to_string())
}

impl Desk {
    pub fn open(store: &Path, keys: &[PathBuf], json: bool, look: Look) -> Result<Desk, Failure> {
        let keys = keys.iter().map(|path| SigningKey::load(path)).collect::<Result<_, _>>().map_err(answer)?;
        Ok(Desk { store: ArtifactStore::open(store).map_err(answer)?, keys, json, look })
    }

    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.iter().map(|key| PublicKey(key.public())).collect()
    }

    /// The book and what in it cannot be read, to look at.
    pub fn book(&self, document: Document) -> Result<Option<(Book, Vec<String>)>, Failure> {
        let Some(bytes) = self.store.document(document.path()).map_err(answer)? else { return Ok(None) };
        let (book, dirt) = Book::read(document, &bytes).map_err(|e| answer(format!("{}: {e}", document.path())))?;
        Ok(Some((book, dirt.iter().map(|dirt| format!("{}: {dirt}", document.path())).collect())))
    }

    /// The book to change, empty if there is none yet. Writing it would drop what cannot be read: a person decides
    /// about that, not we.
    pub fn clean_book(&self, document: Document) -> Result<Book, Failure> {
        let (book, dirt) = self.book(document)?.unwrap_or_else(|| (Book::empty(document), Vec::new()));
        if dirt.is_empty() {
            return Ok(book);
        }
        let lines = dirt.join("\n  ");
        Err(answer(format!("these entries cannot be read; correct or remove them first:\n  {lines}")))
    }

    /// Reads, changes and writes a book under the lock. Nothing is written if nothing changes.
    pub fn edit(
        &self,
        document: Document,
        change: impl FnOnce(&mut Book, WallTime) -> Result<Change, Refused>,
    ) -> Result<Change, Failure> {
        let locked = self.store.lock().map_err(answer)?;
        self.edit_locked(&locked, document, change)
    }

    pub fn edit_locked(
        &self,
        locked: &Locked<'_>,
        document: Document,
        change: impl FnOnce(&mut Book, WallTime) -> Result<Change, Refused>,
    ) -> Result<Change, Failure> {
        let mut book = self.clean_book(document)?;
        let done = change(&mut book, now()).map_err(answer)?;
        if done != Change::Unchanged {
            self.write(locked, document.path(), &book.bytes().map_err(answer)?)?;
        }
        Ok(done)
    }

    /// Replaces a document and its signature so that whoever reads both, at any moment, finds them to fit: for the time
    /// between, the signature file holds the old signatures and the new ones.
    pub fn write(&self, locked: &Locked<'_>, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let old = self.signable(path)?;
        if !self.has_keys() {
            return locked.replace(path, bytes).map_err(answer);
        }
        let signature_path = paths::signature_of(path);
        let new: Vec<Signature> = self.keys.iter().map(|key| signature(key, bytes)).collect();
        let old: SignatureFile = old.and_then(|old| serde_json::from_slice(&old).ok()).unwrap_or_default();
        let others = old.signatures.into_iter().filter(|old| new.iter().all(|new| new.key != old.key));
        let both = SignatureFile { signatures: new.iter().cloned().chain(others).collect() };
        // Whoever has not read a statement about keys yet trusts only keys from before it.
        let stays =
            path == paths::KEY_STATEMENT && self.store.document(path).map_err(answer)?.as_deref() == Some(bytes);
        locked.replace(&signature_path, &written(&both)?).map_err(answer)?;
        locked.replace(path, bytes).map_err(answer)?;
        if stays {
            return Ok(());
        }
        locked.replace(&signature_path, &written(&SignatureFile { signatures: new })?).map_err(answer)
    }

    /// The signature beside a document. One that is signed cannot be changed without a key.
    pub fn signable(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let signature_path = paths::signature_of(path);
        let old = self.store.document(&signature_path).map_err(answer)?;
        if old.is_some() && !self.has_keys() {
            let why = format!("{path} is signed; say --key FILE to sign the change, or remove {signature_path}");
            return Err(Failure::Usage(why));
        }
        Ok(old)
    }

    /// One line for a person, or the JSON for a program.
    pub fn say(&self, line: &str, json: &serde_json::Value) -> Result<(), Failure> {
        if self.json { print(&format!("{json}\n")) } else { print(&format!("{line}\n")) }
    }
}

fn signature(key: &SigningKey, bytes: &[u8]) -> Signature {
    let signature = data_encoding::BASE64.encode(&key.sign(bytes));
    Signature { key: PublicKey(key.public()).id(), signature }
}

fn written(file: &SignatureFile) -> Result<Vec<u8>, Failure> {
    let mut text = serde_json::to_vec_pretty(file).map_err(answer)?;
    text.push(b'\n');
    Ok(text)
}
