//! The artifact server as a client sees it: small documents in memory, big files in a stream that survives a broken
//! connection, and a cache by content that all installs share.
//!
//! What may go wrong with a server that is down, lies, stalls or was replaced is in [`FetchError`]: each names the step, the
//! URL and what to do. Nothing here trusts a length, a name or a type that the server says; the digest decides.
mod cache;
mod certificate;
mod client;
mod document;
mod download;
mod error;
mod file;
mod head;
mod persist;
mod source;

pub use cache::{Cache, Trimmed};
pub use document::Document;
pub use error::{Fault, FetchError, FetchStep};
pub use file::{FetchedFile, sweep};
pub(super) use persist::{Origins, Trouble, persist};
pub use source::Received;
pub(super) use source::Source;

use crate::model::{catalog::Digest, settings::Install};
use std::sync::Arc;
use url::Url;

/// One artifact server and its mirrors. Cheap to clone.
#[derive(Clone)]
pub struct ArtifactServer(Arc<Inner>);

struct Inner {
    /// The server itself first, then its mirrors; each ends with `/`.
    bases: Vec<Url>,
    client: reqwest::Client,
    install: Install,
}

/// What shall be fetched, and what is known of it before.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Where it lies, best first. Several addresses are one file.
    pub urls: Vec<Url>,
    /// Without it the bytes are taken as they come.
    pub digest: Option<Digest>,
    /// Bytes of the file.
    pub size: Option<u64>,
}

impl ArtifactServer {
    /// `base` and `mirrors` are `http` or `https` addresses of folders. Fails for what is no such address and for a
    /// `install.ca_file` that cannot be used. Blocking: reads the system's certificates.
    pub fn new(base: &str, mirrors: &[String], install: &Install) -> Result<ArtifactServer, FetchError> {
        let mut bases = vec![client::base(base)?];
        for mirror in mirrors {
            bases.push(client::base(mirror)?);
        }
        let client = client::client(&bases[0], install)?;
        Ok(ArtifactServer(Arc::new(Inner { bases, client, install: install.clone() })))
    }

    /// The artifact at `path` (relative, as catalogs write it), on the server and its mirrors.
    pub fn artifact(&self, path: &str, digest: Option<Digest>, size: Option<u64>) -> Result<Artifact, FetchError> {
        let mut urls = Vec::new();
        for base in &self.0.bases {
            urls.push(client::beneath(base, path)?);
        }
        Ok(Artifact { urls, digest, size })
    }

    /// What lies at an address that an earlier [`Received::url`] named: there first if that is still one of ours, then on
    /// all others.
    pub fn again(&self, url: &str, digest: Digest, size: u64) -> Result<Artifact, FetchError> {
        let below =
            |base: &Url| url.strip_prefix(client::shown(base).as_str()).map(|path| (base.clone(), path.to_owned()));
        let Some((from, path)) = self.0.bases.iter().find_map(below) else {
            return Ok(Artifact { urls: vec![client::file(url)?], digest: Some(digest), size: Some(size) });
        };
        let join = |base: &Url| base.join(&path).map_err(|e| client::no_address(base, &path, &e.to_string()));
        let others = self.0.bases.iter().filter(|base| **base != from);
        let urls = std::iter::once(&from).chain(others).map(join).collect::<Result<_, _>>()?;
        Ok(Artifact { urls, digest: Some(digest), size: Some(size) })
    }

    /// The settings it works by.
    pub fn install(&self) -> &Install {
        &self.0.install
    }
}

impl Artifact {
    /// Its address as it may be shown: without a password.
    pub fn shown(&self) -> String {
        self.urls.first().map(client::shown).unwrap_or_default()
    }
}
