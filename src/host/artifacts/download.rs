//! One big file, byte after byte in order, across broken connections, servers that ignore `Range`, and mirrors.
//!
//! A file that is another one than it was at the first request is never joined to the old beginning ([`Fault::Changed`]).
use super::{
    Artifact, ArtifactServer, Fault, FetchError, FetchStep, client,
    head::{self, Have, Head},
};
use bytes::Bytes;
use reqwest::{
    Response,
    header::{IF_RANGE, RANGE},
};
use std::ops::ControlFlow;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use url::Url;

/// So many bytes in one attempt, and the ladder of waits begins anew: a slow line is no dead one.
const PROGRESS: u64 = 1 << 20;

/// Takes the bytes; `Break`: it wants no more, for a reason that it knows.
pub(super) trait Take {
    fn take(&mut self, bytes: Bytes) -> ControlFlow<()>;
    /// Told once per answer, before its bytes: what would allow to go on later.
    fn identified(&mut self, url: &Url, validator: Option<&str>, total: Option<u64>);
}

/// How far a download is.
pub(super) struct Download<'a> {
    server: &'a ArtifactServer,
    artifact: &'a Artifact,
    cancel: &'a CancellationToken,
    /// Bytes taken.
    pub at: u64,
    pub total: Option<u64>,
    /// The address that bytes came from, and how it names this state of the file.
    pub known: Option<(String, String)>,
}

impl<'a> Download<'a> {
    pub fn new(server: &'a ArtifactServer, artifact: &'a Artifact, cancel: &'a CancellationToken) -> Self {
        Download { server, artifact, cancel, at: 0, total: artifact.size, known: None }
    }

    /// To the end of the file. The address it came from last is returned.
    pub async fn run(&mut self, taker: &mut impl Take) -> Result<Url, FetchError> {
        let mut waits = self.server.0.install.backoff.iter();
        let mut last = self.no_address();
        loop {
            let before = self.at;
            let (mut passing, mut failures) = (false, Vec::new());
            for url in &self.artifact.urls {
                match self.once(url, taker).await {
                    Ok(()) => return Ok(url.clone()),
                    Err(e) if e.fault.is_local() => return Err(e),
                    Err(e) => {
                        passing |= e.fault.is_passing();
                        failures.push(e);
                    }
                }
            }
            last = FetchError::of_all(failures).unwrap_or(last);
            if self.at - before >= PROGRESS {
                waits = self.server.0.install.backoff.iter();
            }
            match waits.next().filter(|_| passing) {
                Some(wait) => tokio::select! {
                    () = sleep(*wait) => {}
                    () = self.cancel.cancelled() => return Err(self.failed(FetchStep::Transfer, None, Fault::Cancelled)),
                },
                None => return Err(last),
            }
        }
    }

    async fn once(&mut self, url: &Url, taker: &mut impl Take) -> Result<(), FetchError> {
        let (mut response, head) =
            self.open(url).await.map_err(|fault| self.failed(FetchStep::Ask, Some(url), fault))?;
        self.total = head.total.or(self.total);
        self.known = head.validator.clone().map(|validator| (client::shown(url), validator));
        taker.identified(url, head.validator.as_deref(), self.total);
        let taken = self.transfer(&mut response, &head, taker).await;
        taken.map_err(|fault| self.failed(FetchStep::Transfer, Some(url), fault))
    }

    async fn open(&self, url: &Url) -> Result<(Response, Head), Fault> {
        let known =
            self.known.as_ref().filter(|(of, _)| *of == client::shown(url)).map(|(_, validator)| validator.as_str());
        let mut request = self.server.0.client.get(url.clone());
        if self.at > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.at));
            if let Some(validator) = known {
                request = request.header(IF_RANGE, validator);
            }
        }
        let response = tokio::select! {
            response = self.server.answer(request) => response?,
            () = self.cancel.cancelled() => return Err(Fault::Cancelled),
        };
        let digest = self.artifact.digest.is_some();
        let head = head::judge(&response, &Have { at: self.at, total: self.total, validator: known, digest })?;
        self.allowed(head.total.unwrap_or(0))?;
        match (self.artifact.size, head.total) {
            (Some(expected), Some(got)) if expected != got => Err(Fault::Size { expected, got }),
            _ => Ok((response, head)),
        }
    }

    async fn transfer(&mut self, response: &mut Response, head: &Head, taker: &mut impl Take) -> Result<(), Fault> {
        let mut skip = head.skip;
        loop {
            let next = tokio::select! {
                next = self.server.chunk(response, self.at, head.total) => next?,
                () = self.cancel.cancelled() => return Err(Fault::Cancelled),
            };
            let Some(mut bytes) = next else { break };
            let known = skip.min(bytes.len() as u64);
            skip -= known;
            let bytes = bytes.split_off(known as usize);
            if self.at == 0 && head::looks_like_a_page(&bytes) {
                return Err(Fault::WebPage);
            }
            self.at += bytes.len() as u64;
            self.allowed(self.at)?;
            if !bytes.is_empty() && taker.take(bytes).is_break() {
                return Err(Fault::Cancelled);
            }
        }
        match head.total.or(self.artifact.size) {
            Some(total) if self.at != total => {
                Err(Fault::Ended { at: self.at, of: total.to_string(), why: "the answer is incomplete".into() })
            }
            _ => Ok(()),
        }
    }

    fn allowed(&self, size: u64) -> Result<(), Fault> {
        let most = self.server.0.install.max_download_bytes;
        let setting = "install.max_download_bytes";
        if size > most { Err(Fault::TooLarge { size, most, setting }) } else { Ok(()) }
    }

    fn failed(&self, step: FetchStep, url: Option<&Url>, fault: Fault) -> FetchError {
        FetchError::new(step, url.map_or_else(|| self.artifact.shown(), client::shown), fault)
    }

    fn no_address(&self) -> FetchError {
        let fault = Fault::Address("there is no address to fetch it from".into());
        self.failed(FetchStep::Prepare, None, fault)
    }
}
