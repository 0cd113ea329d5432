//! The bytes of one artifact, in order, from wherever they are nearest: the cache, the beginning of an earlier transfer and
//! then the server. Hashed on the way, and written down so that the next attempt need not begin at nothing.
//!
//! Blocking: it belongs on a thread of its own, which it shares with nobody.
use super::{
    Artifact, ArtifactServer, Cache, Fault, FetchError, FetchStep, Origins,
    cache::Partial,
    client,
    download::{Download, Take},
};
use crate::{host::failpoint, model::catalog::Digest};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    ops::ControlFlow,
};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Bytes read from disk at a time.
const PIECE: usize = 256 << 10;

/// Where to take an artifact from, and whom to tell.
pub(in crate::host) struct Source<'a> {
    pub server: &'a ArtifactServer,
    pub artifact: &'a Artifact,
    pub cache: Option<&'a Cache>,
    pub cancel: &'a CancellationToken,
    /// Bytes so far, and in all if that is known. Called for every piece.
    pub watch: &'a (dyn Fn(u64, Option<u64>) + Sync),
    /// Take nothing from disk: what was there is no good.
    pub fresh: bool,
    /// Filled in.
    pub origins: &'a Origins,
}

/// An artifact whose bytes are what was promised.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub digest: Digest,
    pub bytes: u64,
    /// Where it came from, as it may be shown.
    pub url: String,
    /// No server was asked.
    pub from_cache: bool,
}

/// Takes the pieces; `Break` ends the transfer.
pub(in crate::host) type Out<'a> = dyn FnMut(Bytes) -> ControlFlow<()> + 'a;

impl Source<'_> {
    pub fn receive(&self, out: &mut Out) -> Result<Received, FetchError> {
        let mut feed = Feed { source: self, hash: Sha256::new(), at: 0, total: self.artifact.size, partial: None, out };
        if let (Some(cache), Some(digest), false) = (self.cache, self.artifact.digest, self.fresh)
            && let Some(file) = cache.find(&digest)
        {
            return feed.replay_complete(cache, &digest, file);
        }
        feed.partial = self.cache.and_then(|cache| noted(cache.take_up(self.artifact)).flatten());
        let mut download = Download::new(self.server, self.artifact, self.cancel);
        feed.replay_partial(&mut download)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| self.failed(FetchStep::Prepare, Fault::Disk(e)))?;
        match runtime.block_on(download.run(&mut feed)) {
            Ok(url) => feed.finish(&url),
            Err(e) => {
                if matches!(e.fault, Fault::Changed | Fault::Size { .. } | Fault::WebPage | Fault::TooLarge { .. }) {
                    feed.discard();
                }
                Err(e)
            }
        }
    }

    fn failed(&self, step: FetchStep, fault: Fault) -> FetchError {
        FetchError::new(step, self.artifact.shown(), fault)
    }
}

/// Between the transfer and whoever unpacks.
struct Feed<'a, 'b> {
    source: &'a Source<'a>,
    hash: Sha256,
    at: u64,
    total: Option<u64>,
    partial: Option<Partial>,
    out: &'a mut Out<'b>,
}

impl Feed<'_, '_> {
    fn replay_complete(mut self, cache: &Cache, promised: &Digest, file: File) -> Result<Received, FetchError> {
        self.source.origins.note_disk();
        self.total = file.metadata().ok().map(|about| about.len());
        self.replay(file)?;
        let (got, expected) = (Digest(self.hash.finalize().into()), *promised);
        if got != expected {
            noted(cache.forget(promised));
            return Err(self.source.failed(FetchStep::Verify, Fault::Digest { expected, got }));
        }
        Ok(Received { digest: got, bytes: self.at, url: self.source.artifact.shown(), from_cache: true })
    }

    /// The beginning that an earlier transfer left, if it can be gone on from.
    fn replay_partial(&mut self, download: &mut Download) -> Result<(), FetchError> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        let digest = self.source.artifact.digest.is_some();
        let size = noted(partial.size()).unwrap_or(0);
        let origin = partial.origin(digest).filter(|_| !self.source.fresh && size > 0);
        let Some(origin) = origin.filter(|origin| digest || origin.validator.is_some()) else {
            if noted(partial.empty()).is_none() {
                self.partial = None;
            }
            return Ok(());
        };
        let Some(file) = noted(partial.reader()) else { return Ok(()) };
        self.source.origins.note_disk();
        self.total = origin.total.or(self.total);
        self.replay(file.take(size))?;
        (download.at, download.total) = (self.at, self.total);
        download.known = origin.validator.map(|validator| (origin.url, validator));
        Ok(())
    }

    fn replay(&mut self, mut from: impl Read) -> Result<(), FetchError> {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut from).take(PIECE as u64).read_to_end(&mut piece);
            read.map_err(|e| self.source.failed(FetchStep::Keep, Fault::Disk(e)))?;
            if piece.is_empty() {
                return Ok(());
            }
            if self.source.cancel.is_cancelled() || self.pass_on(piece.into()).is_break() {
                return Err(self.source.failed(FetchStep::Transfer, Fault::Cancelled));
            }
        }
    }

    fn pass_on(&mut self, bytes: Bytes) -> ControlFlow<()> {
        self.hash.update(&bytes);
        self.at += bytes.len() as u64;
        (self.source.watch)(self.at, self.total);
        (self.out)(bytes)
    }

    fn finish(mut self, url: &Url) -> Result<Received, FetchError> {
        let got = Digest(std::mem::take(&mut self.hash).finalize().into());
        if let Some(expected) = self.source.artifact.digest.filter(|expected| *expected != got) {
            self.discard();
            return Err(FetchError::new(FetchStep::Verify, client::shown(url), Fault::Digest { expected, got }));
        }
        failpoint::reach("install.fetched");
        if let Some(partial) = self.partial.take() {
            noted(partial.publish(&got));
        }
        Ok(Received { digest: got, bytes: self.at, url: client::shown(url), from_cache: false })
    }

    fn discard(&mut self) {
        if let Some(partial) = self.partial.take() {
            noted(partial.discard());
        }
    }
}

impl Take for Feed<'_, '_> {
    fn take(&mut self, bytes: Bytes) -> ControlFlow<()> {
        if let Some(partial) = &mut self.partial
            && let Err(e) = partial.append(&bytes)
        {
            // The install may still succeed; what was kept must not stand in its way on a full disk.
            tracing::warn!(error = %e, "the cache cannot be written; this file is fetched without it");
            self.discard();
        }
        self.pass_on(bytes)
    }

    fn identified(&mut self, url: &Url, validator: Option<&str>, total: Option<u64>) {
        self.total = total;
        self.source.origins.note(url);
        if let Some(partial) = &self.partial {
            noted(partial.note_origin(url, validator, total));
        }
    }
}

/// The cache's failures are not the install's.
fn noted<T>(done: io::Result<T>) -> Option<T> {
    done.inspect_err(|e| tracing::warn!(error = %e, "the artifact cache failed; going on without it")).ok()
}
