//! IDE cookies whose signature was found good: a page sends the same one with each of its thousands of requests.
//!
//! Only what the cookie says is remembered, not that it still holds: that is asked each time. Who has no key makes
//! nothing be remembered, and with other keys all is forgotten.
use crate::{host::keyring::Keyring, model::gateway::IdePass};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Past so many all are forgotten, and checked anew when they come again.
const MOST: usize = 10_000;

#[derive(Default)]
pub struct Passes {
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    /// The keys they were checked with.
    keyring: Option<Arc<Keyring>>,
    /// By the cookie's digest: nothing here opens anything, and no comparison tells how much of a guess is right.
    by_digest: HashMap<[u8; 32], Arc<IdePass>>,
}

impl Passes {
    /// What `cookie` says, by `check` if it was not seen before.
    pub fn read<E>(
        &self,
        keyring: &Arc<Keyring>,
        cookie: &str,
        check: impl FnOnce() -> Result<IdePass, E>,
    ) -> Result<Arc<IdePass>, E> {
        let digest: [u8; 32] = Sha256::digest(cookie).into();
        {
            let mut read = self.lock();
            if !read.keyring.as_ref().is_some_and(|known| Arc::ptr_eq(known, keyring)) {
                *read = Read { keyring: Some(keyring.clone()), by_digest: HashMap::new() };
            }
            if let Some(pass) = read.by_digest.get(&digest) {
                return Ok(pass.clone());
            }
        }
        let pass = Arc::new(check()?);
        let mut read = self.lock();
        if read.by_digest.len() >= MOST {
            read.by_digest.clear();
        }
        if read.keyring.as_ref().is_some_and(|known| Arc::ptr_eq(known, keyring)) {
            read.by_digest.insert(digest, pass.clone());
        }
        Ok(pass)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{gateway::UserId, ids::Vmid, time::WallTime};

    fn pass(vmid: u32) -> Result<IdePass, ()> {
        let (user, credential) = (UserId("ann".into()), "c".into());
        Ok(IdePass { user, vmid: Vmid(vmid), epoch: 0, credential, expires_at: WallTime(1) })
    }

    #[test]
    fn a_cookie_is_checked_once_with_each_set_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Arc::new(Keyring::open(&folder.path().join("key")).unwrap());
        let (passes, keys) = (Passes::default(), open());
        assert_eq!(passes.read(&keys, "a", || pass(1)).unwrap().vmid, Vmid(1));
        assert_eq!(passes.read(&keys, "a", || Err::<IdePass, _>(())).unwrap().vmid, Vmid(1));
        assert!(passes.read(&keys, "b", || Err::<IdePass, _>(())).is_err());
        assert_eq!(passes.read(&keys, "b", || pass(2)).unwrap().vmid, Vmid(2), "what was bad is not remembered");
        assert!(passes.read(&open(), "a", || Err::<IdePass, _>(())).is_err(), "other keys");
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keyring::open(&folder.path().join("key")).unwrap());
        let passes = Passes::default();
        (0..MOST + 10).for_each(|n| _ = passes.read(&keys, &n.to_string(), || pass(1)).unwrap());
        assert!(passes.lock().by_digest.len() <= MOST);
    }
}
