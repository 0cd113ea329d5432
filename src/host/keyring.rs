//! The gateway's keys: a file only its owner may read, newest key first; older ones still open what they closed.
//!
//! One line a key: its id and 32 bytes in base64url. Each use has its own key, derived by HKDF-SHA-256 (RFC 5869), so
//! that an IDE token tells nothing about what agent tokens are encrypted with.
use crate::model::{gateway::SigningKey, ids::Vmid, settings::Secret};
use data_encoding::BASE64URL_NOPAD as BASE64;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

const KEY_BYTES: usize = 32;
/// Longer files hold something else.
const LARGEST_FILE: u64 = 64 << 10;
/// Keys kept after a rotation; what was closed with an older one must have been closed anew by then.
pub const KEPT: usize = 8;
const SALT: &[u8] = b"zlh gateway v1";

/// 32 bytes of chance.
pub fn chance() -> io::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
    Ok(bytes)
}

/// A new secret that can stand in a header: 256 bits in base64url.
pub fn secret_text() -> io::Result<String> {
    Ok(BASE64.encode(&chance()?))
}

struct Master {
    id: String,
    key: [u8; KEY_BYTES],
}

/// All keys of one file.
pub struct Keyring {
    keys: Vec<Master>,
    /// Derived once: every request of every IDE asks for them.
    signing: Vec<SigningKey>,
}

impl Keyring {
    /// Reads the file; one that is not there is made, with a first key.
    pub fn open(path: &Path) -> io::Result<Keyring> {
        match File::open(path) {
            Ok(file) => Keyring::read(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Keyring::create(path),
            Err(e) => Err(e),
        }
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    }

    fn create(path: &Path) -> io::Result<Keyring> {
        let keyring = Keyring::of(vec![Master::new()?]);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            file.write_all(keyring.text().as_bytes())?;
            file.sync_all()
        });
        match written {
            // Somebody else was first: theirs is the key.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Keyring::read(File::open(path)?),
            done => done.map(|()| keyring),
        }
    }

    fn read(file: File) -> io::Result<Keyring> {
        let mode = file.metadata()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(io::Error::other(format!("others can read it (mode {mode:03o}); chmod 600 it")));
        }
        let mut text = String::new();
        file.take(LARGEST_FILE).read_to_string(&mut text)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Master> = lines
            .enumerate()
            .map(|(i, line)| Master::parse(line).ok_or_else(|| io::Error::other(format!("key {} is unusable", i + 1))))
            .collect::<io::Result<_>>()?;
        if keys.is_empty() { Err(io::Error::other("it holds no key")) } else { Ok(Keyring::of(keys)) }
    }

    /// Puts a new key in front, replaces the file in one step. The caller encrypts anew what is stored.
    pub fn rotate(path: &Path) -> io::Result<Keyring> {
        let mut keyring = Keyring::open(path)?;
        keyring.keys.insert(0, Master::new()?);
        keyring.keys.truncate(KEPT);
        let keyring = Keyring::of(keyring.keys);
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(keyring.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(keyring)
    }

    fn text(&self) -> String {
        self.keys.iter().map(|key| format!("{} {}\n", key.id, BASE64.encode(&key.key))).collect()
    }

    fn of(keys: Vec<Master>) -> Keyring {
        let one = |master: &Master| SigningKey { id: master.id.clone(), key: master.derive(b"ide token") };
        Keyring { signing: keys.iter().map(one).collect(), keys }
    }

    /// Keys of IDE tokens, newest first.
    pub fn signing_keys(&self) -> &[SigningKey] {
        &self.signing
    }

    /// A seal on `text` that nobody makes or moves to another text who has not this file.
    pub fn seal(&self, text: &str) -> String {
        let master = &self.keys[0];
        format!("{}.{}", master.id, BASE64.encode(hmac::sign(&master.seals(), text.as_bytes()).as_ref()))
    }

    /// Is this [`Keyring::seal`]'s on `text`? `None`: it was made with a key that is gone.
    pub fn is_sealed(&self, text: &str, seal: &str) -> Option<bool> {
        let (id, tag) = seal.split_once('.').unwrap_or_default();
        let master = self.keys.iter().find(|key| key.id == id)?;
        let tag = BASE64.decode(tag.as_bytes()).unwrap_or_default();
        Some(hmac::verify(&master.seals(), text.as_bytes(), &tag).is_ok())
    }

    /// An agent's token as it may be stored; `vmid` is bound to it, so that it cannot be moved to another server's row.
    pub fn close(&self, vmid: Vmid, token: &Secret) -> io::Result<String> {
        let master = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&chance()?[..NONCE_LEN]);
        let mut sealed = token.0.as_bytes().to_vec();
        let sealing = master.sealing()?;
        sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(vmid), &mut sealed)
            .map_err(|_| io::Error::other("cannot encrypt"))?;
        Ok(format!("{}.{}", master.id, BASE64.encode(&[&nonce[..], &sealed].concat())))
    }

    /// The token that [`Keyring::close`] put away.
    pub fn open_token(&self, vmid: Vmid, stored: &str) -> io::Result<Secret> {
        let unusable = || io::Error::other(format!("the stored agent token of {vmid} is unusable"));
        let (id, sealed) = stored.split_once('.').ok_or_else(unusable)?;
        let master = self.keys.iter().find(|key| key.id == id);
        let master = master.ok_or_else(|| io::Error::other(format!("the key file has no key {id}")))?;
        let bytes = BASE64.decode(sealed.as_bytes()).map_err(|_| unusable())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(unusable)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = master.sealing()?.open_in_place(nonce, aad(vmid), &mut sealed).map_err(|_| unusable())?.to_vec();
        String::from_utf8(open).map(Secret).map_err(|_| unusable())
    }
}

fn aad(vmid: Vmid) -> Aad<Vec<u8>> {
    Aad::from(format!("agent token of {vmid}").into_bytes())
}

impl Master {
    fn new() -> io::Result<Master> {
        Ok(Master { id: BASE64.encode(&chance()?[..6]), key: chance()? })
    }

    fn parse(line: &str) -> Option<Master> {
        let (id, key) = line.split_once(' ')?;
        let id_is_fine = !id.is_empty() && id.len() <= 64 && !id.contains('.');
        let key = BASE64.decode(key.trim().as_bytes()).ok()?.try_into().ok()?;
        id_is_fine.then(|| Master { id: id.to_owned(), key })
    }

    fn derive(&self, purpose: &[u8]) -> [u8; KEY_BYTES] {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                KEY_BYTES
            }
        }
        let mut out = [0; KEY_BYTES];
        let extracted = Salt::new(HKDF_SHA256, SALT).extract(&self.key);
        // Fails only for more than 255 × 32 bytes.
        let filled = extracted.expand(&[purpose], Length).and_then(|okm| okm.fill(&mut out));
        debug_assert!(filled.is_ok());
        out
    }

    fn seals(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive(b"seal"))
    }

    fn sealing(&self) -> io::Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &self.derive(b"agent token"));
        Ok(LessSafeKey::new(key.map_err(|_| io::Error::other("cannot make a key"))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VMID: Vmid = Vmid(6001);

    #[test]
    fn a_key_file_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.key");
        let first = Keyring::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Keyring::open(&path).unwrap().text(), first.text());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Keyring::open(&path).err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_stored_token_opens_for_its_server_alone_and_after_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.key");
        let old = Keyring::open(&path).unwrap();
        let token = Secret("agent-secret".into());
        let stored = old.close(VMID, &token).unwrap();
        assert!(!stored.contains("agent-secret"));
        assert_ne!(stored, old.close(VMID, &token).unwrap(), "a nonce of its own each time");
        assert_eq!(old.open_token(VMID, &stored).unwrap(), token);
        assert!(old.open_token(Vmid(6002), &stored).is_err(), "moved to another row");
        let new = Keyring::rotate(&path).unwrap();
        assert_eq!(new.open_token(VMID, &stored).unwrap(), token);
        assert!(old.open_token(VMID, &new.close(VMID, &token).unwrap()).is_err());
        assert_eq!(Keyring::open(&path).unwrap().text(), new.text());
        assert_eq!(new.signing_keys().len(), 2);
        assert_ne!(new.signing_keys()[0].key, new.keys[0].key, "never the master key itself");
    }

    #[test]
    fn a_seal_is_for_one_text_and_holds_across_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.key");
        let old = Keyring::open(&path).unwrap();
        let seal = old.seal("7 abc");
        let new = Keyring::rotate(&path).unwrap();
        assert_eq!((new.is_sealed("7 abc", &seal), new.is_sealed("8 abc", &seal)), (Some(true), Some(false)));
        assert_eq!(old.is_sealed("7 abc", &new.seal("7 abc")), None, "a key that this file has not");
        for forged in ["", ".", &seal[..seal.len() - 1], &format!("{seal}A")] {
            assert_ne!(new.is_sealed("7 abc", forged), Some(true), "{forged}");
        }
    }

    #[test]
    fn damaged_files_and_tokens_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.key");
        let keyring = Keyring::open(&path).unwrap();
        let stored = keyring.close(VMID, &Secret("x".into())).unwrap();
        for damaged in ["", ".", "x.y", &stored[..stored.len() - 2], &format!("{stored}AA"), &stored.replace('.', "")] {
            assert!(keyring.open_token(VMID, damaged).is_err(), "{damaged}");
        }
        for damaged in ["", "# nothing\n", "id\n", "id short\n", "a.b AAAA\n"] {
            fs::write(&path, damaged).unwrap();
            assert!(Keyring::open(&path).is_err(), "{damaged}");
        }
    }
}
