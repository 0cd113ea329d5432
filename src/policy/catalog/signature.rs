//! Whose word a catalog is: ed25519 over the exact bytes of the file, detached, in `<file>.sig`.
//!
//! ```json
//! {"signatures":[{"key":"<key id>","signature":"<64 bytes, base64>"}]}
//! ```
//! The canonical bytes are the file itself: nothing is parsed before it is verified, and `openssl pkeyutl -verify` can
//! check it. A file may be signed by several keys; one that is trusted suffices. So a key is replaced by trusting the new
//! one beside the old, signing with both, and then dropping the old. Where nobody can touch every agent, a statement
//! ([`KeyStatement`]) signed by a trusted key does the same.
use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// Signatures looked at of one file.
const MOST_SIGNATURES: usize = 16;
const PREFIX: &str = "ed25519:";

/// A public key. Written `ed25519:<base64 of its 32 bytes>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// What a signature file calls it: the first 8 bytes of its SHA-256, in hexadecimal.
    pub fn id(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.0)[..8])
    }

    fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, signature).is_ok()
    }
}

/// Text that is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is written ed25519:<base64 of 32 bytes>, as `zlh artifacts keygen` prints it")]
pub struct NotAKey;

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<PublicKey, NotAKey> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(NotAKey)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| NotAKey)?;
        bytes.try_into().map(PublicKey).map_err(|_| NotAKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// The content of a `.sig` file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureFile {
    pub signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// [`PublicKey::id`].
    pub key: String,
    /// Base64.
    pub signature: String,
}

/// Why a file is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    #[error("trusted_keys is set, but there is no signature beside it")]
    Missing,
    #[error("its signature file cannot be read: {0}")]
    Unreadable(String),
    #[error("it is signed by {}, and none of these is in trusted_keys", signers.join(", "))]
    UnknownKey { signers: Vec<String> },
    #[error("the signature of the trusted key {key} does not fit: the file was changed after it was signed")]
    Forged { key: String },
}

/// Says which trusted key signed exactly these bytes. `None` where nothing is trusted in particular: then anything goes.
pub fn verify(bytes: &[u8], signature: Option<&[u8]>, trusted: &[PublicKey]) -> Result<Option<PublicKey>, Untrusted> {
    if trusted.is_empty() {
        return Ok(None);
    }
    let file = signature.ok_or(Untrusted::Missing)?;
    let file: SignatureFile = serde_json::from_slice(file).map_err(|e| Untrusted::Unreadable(e.to_string()))?;
    let mut forged = None;
    for signature in file.signatures.iter().take(MOST_SIGNATURES) {
        let Some(key) = trusted.iter().find(|key| key.id() == signature.key) else { continue };
        let fits = BASE64.decode(signature.signature.as_bytes()).is_ok_and(|raw| key.verifies(bytes, &raw));
        if fits {
            return Ok(Some(*key));
        }
        forged = Some(key.id());
    }
    let signers = file.signatures.into_iter().take(MOST_SIGNATURES).map(|s| s.key).collect();
    Err(forged.map_or(Untrusted::UnknownKey { signers }, |key| Untrusted::Forged { key }))
}

/// `_keys.json`: from now on these keys speak for the server, and those no longer. Signed like a catalog, by a key that
/// was trusted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatement {
    /// Rises with every statement: an old one cannot bring back a revoked key.
    pub serial: u64,
    pub keys: Vec<PublicKey>,
    #[serde(default)]
    pub revoked: Vec<String>,
}

/// What is trusted after a statement. A statement that would leave nothing, or is not newer than `last`, is refused.
pub fn keys_after(
    trusted: &[PublicKey],
    last: Option<u64>,
    statement: &[u8],
    signature: Option<&[u8]>,
) -> Result<(u64, Vec<PublicKey>), Untrusted> {
    let unreadable = |why: String| Untrusted::Unreadable(why);
    if verify(statement, signature, trusted)?.is_none() {
        return Err(unreadable("a statement about keys means nothing where no key is trusted".into()));
    }
    let said: KeyStatement = serde_json::from_slice(statement).map_err(|e| unreadable(e.to_string()))?;
    if last.is_some_and(|last| said.serial <= last) {
        return Err(unreadable(format!("statement {} about keys is not newer than the last", said.serial)));
    }
    let mut keys: Vec<PublicKey> = trusted.iter().chain(&said.keys).copied().collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| !said.revoked.contains(&key.id()));
    if keys.is_empty() {
        return Err(unreadable("the statement about keys would leave none".into()));
    }
    Ok((said.serial, keys))
}

#[cfg(test)]
mod tests;
