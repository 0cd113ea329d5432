//! A publisher's secret key: made, kept in a file nobody else may read, used to sign. Public keys are
//! `policy::catalog::signature`'s.
use data_encoding::BASE64;
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const PREFIX: &str = "zlh-secret-key-ed25519:";

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} is no secret key as `zlh artifacts keygen` makes them")]
    NotAKey(PathBuf),
    #[error("{0} can be read by others: chmod 600 it, and if anybody could have read it make a new one")]
    Exposed(PathBuf),
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// Never printed.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Makes a key and writes it to a new file of mode 0600.
    pub fn create(path: &Path) -> Result<SigningKey, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(format!("{PREFIX}{}\n", BASE64.encode(&seed)).as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        SigningKey::of_seed(&seed, path)
    }

    pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        if fs::metadata(path).map_err(io)?.mode() & 0o077 != 0 {
            return Err(KeyError::Exposed(path.to_owned()));
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let seed = text.trim().strip_prefix(PREFIX).and_then(|text| BASE64.decode(text.as_bytes()).ok());
        SigningKey::of_seed(&seed.unwrap_or_default(), path)
    }

    fn of_seed(seed: &[u8], path: &Path) -> Result<SigningKey, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(SigningKey).map_err(|_| KeyError::NotAKey(path.to_owned()))
    }

    pub fn public(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        key
    }

    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_comes_back_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = SigningKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let loaded = SigningKey::load(&path).unwrap();
        assert_eq!((loaded.public(), loaded.sign(b"x")), (made.public(), made.sign(b"x")));
        assert!(matches!(SigningKey::create(&path), Err(KeyError::Io { .. })), "a key is never overwritten");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SigningKey::load(&path), Err(KeyError::Exposed(_))));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in ["", "x", "zlh-secret-key-ed25519:", "zlh-secret-key-ed25519:AAAA"] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(SigningKey::load(&path), Err(KeyError::NotAKey(_))), "{text:?}");
        }
    }
}
