//! Tries again where that may help: from the beginning if bytes that lay on disk may be to blame, and from another mirror if
//! it is what this one sent.
use super::{Artifact, Fault, FetchError};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use url::Url;

/// Where the bytes of one attempt came from.
#[derive(Default)]
pub(in crate::host) struct Origins {
    disk: AtomicBool,
    urls: Mutex<Vec<Url>>,
}

impl Origins {
    pub(super) fn note_disk(&self) {
        self.disk.store(true, Ordering::Relaxed);
    }

    pub(super) fn note(&self, url: &Url) {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner).push(url.clone());
    }

    fn is_disk(&self) -> bool {
        self.disk.load(Ordering::Relaxed)
    }

    /// The artifact at the addresses that gave nothing; `None` if that leaves none, or all of them.
    fn others(&self, artifact: &Artifact) -> Option<Artifact> {
        let gave = self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        let left: Vec<Url> = artifact.urls.iter().filter(|url| !gave.contains(url)).cloned().collect();
        (!left.is_empty() && left.len() < artifact.urls.len()).then(|| Artifact { urls: left, ..artifact.clone() })
    }
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Trouble {
    /// This machine, or whoever cancelled: no other bytes would help.
    Local,
    /// The bytes did not come, wherever they were asked for.
    Transfer,
    /// The bytes came, and are not what they should be.
    Content,
    /// They are of two states of the file.
    Changed,
}

impl Trouble {
    pub fn of(error: &FetchError) -> Trouble {
        match &error.fault {
            fault if fault.is_local() => Trouble::Local,
            Fault::Changed => Trouble::Changed,
            Fault::Digest { .. } => Trouble::Content,
            _ => Trouble::Transfer,
        }
    }
}

/// Attempts until one succeeds or no further one makes sense. `attempt` is told the addresses, and whether it must take
/// nothing from disk. The failures are of different addresses, the first one's first.
pub(in crate::host) fn persist<T, E: std::fmt::Display>(
    artifact: &Artifact,
    attempt: impl Fn(&Artifact, bool, &Origins) -> Result<T, E>,
    trouble: impl Fn(&E) -> Trouble,
) -> Result<T, Vec<E>> {
    let (mut artifact, mut fresh, mut failures) = (artifact.clone(), false, Vec::new());
    loop {
        let origins = Origins::default();
        let error = match attempt(&artifact, fresh, &origins) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let trouble = trouble(&error);
        if trouble == Trouble::Local {
            return Err(vec![error]);
        }
        if !fresh && (origins.is_disk() || trouble == Trouble::Changed) {
            tracing::warn!(artifact = artifact.shown(), %error, "fetching again from the beginning");
            fresh = true;
            continue;
        }
        let content = matches!(trouble, Trouble::Content | Trouble::Changed);
        let others = origins.others(&artifact).filter(|_| content);
        tracing::debug!(artifact = artifact.shown(), %error, elsewhere = others.is_some(), "fetching failed");
        failures.push(error);
        match others {
            Some(others) => (artifact, fresh) = (others, true),
            None => return Err(failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const ALL: [&str; 3] = ["http://a/", "http://b/", "http://c/"];

    fn artifact() -> Artifact {
        let urls = ALL.map(|url| url.parse().unwrap()).to_vec();
        Artifact { urls, digest: None, size: None }
    }

    /// Whom each attempt asks (`abc`, `!` if it must take nothing from disk), when the first that is asked gives bytes
    /// and all fail so.
    fn attempts(trouble: Trouble, disk: bool) -> (Vec<String>, usize) {
        let seen = RefCell::new(Vec::new());
        let attempt = |artifact: &Artifact, fresh: bool, origins: &Origins| -> Result<(), &'static str> {
            let asked: String = artifact.urls.iter().map(|url| url.host_str().unwrap()).collect();
            seen.borrow_mut().push(format!("{asked}{}", if fresh { "!" } else { "" }));
            if disk && !fresh {
                origins.note_disk();
            }
            origins.note(&artifact.urls[0]);
            Err("no")
        };
        let failures = persist(&artifact(), attempt, |_| trouble).unwrap_err().len();
        (seen.into_inner(), failures)
    }

    #[test]
    fn what_is_tried_again_and_where() {
        let table: [(Trouble, bool, &[&str], usize); 6] = [
            (Trouble::Local, true, &["abc"], 1),
            (Trouble::Transfer, false, &["abc"], 1),
            (Trouble::Transfer, true, &["abc", "abc!"], 1),
            (Trouble::Content, false, &["abc", "bc!", "c!"], 3),
            (Trouble::Content, true, &["abc", "abc!", "bc!", "c!"], 3),
            (Trouble::Changed, false, &["abc", "abc!", "bc!", "c!"], 3),
        ];
        for (trouble, disk, tried, failures) in table {
            assert_eq!(
                attempts(trouble, disk),
                (tried.iter().map(ToString::to_string).collect(), failures),
                "{trouble:?}"
            );
        }
    }
}
