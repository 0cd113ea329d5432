//! Small documents: catalogs, signatures, checksum files, manifests. Whole in memory, and capped.
use super::{
    ArtifactServer, Fault, FetchError, FetchStep, client,
    head::{self, Have},
};
use crate::model::catalog::Digest;
use reqwest::Response;
use tokio::time::{sleep, timeout};
use url::Url;

/// A document as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub bytes: Vec<u8>,
    /// The address that answered, without a password.
    pub url: String,
}

impl ArtifactServer {
    /// The document at `path`, at most `most` bytes of it; `None` if neither the server nor a mirror has it.
    pub async fn document(&self, path: &str, most: u64) -> Result<Option<Document>, FetchError> {
        let artifact = self.artifact(path, None, None)?;
        let waits = &self.0.install.backoff;
        let mut failures = Vec::new();
        // Everyone is asked once before anyone is asked again.
        for wait in std::iter::once(None).chain(waits.iter().map(Some)) {
            if let Some(wait) = wait {
                sleep(*wait).await;
            }
            failures.clear();
            for url in &artifact.urls {
                match self.read(url, most).await {
                    Ok(document) => return Ok(Some(document)),
                    // Who does not have it must not hide that another could not be asked.
                    Err(FetchError { fault: Fault::NotFound, .. }) => {}
                    Err(e) => failures.push(e),
                }
            }
            if !failures.iter().any(|e: &FetchError| e.fault.is_passing()) {
                break;
            }
        }
        FetchError::of_all(failures).map_or(Ok(None), Err)
    }

    /// The digest in the `.sha256` file beside `path`; `None` if there is no such file.
    pub async fn checksum(&self, path: &str) -> Result<Option<Digest>, FetchError> {
        const MOST: u64 = 4096;
        let Some(document) = self.document(&format!("{path}.sha256"), MOST).await? else { return Ok(None) };
        let digest = Digest::of_checksum_file(&String::from_utf8_lossy(&document.bytes));
        let unusable = |e| {
            let fault = Fault::Setup(format!("is no checksum file ({e}); write it with sha256sum"));
            FetchError::new(FetchStep::Verify, document.url.clone(), fault)
        };
        digest.map(Some).map_err(unusable)
    }

    async fn read(&self, url: &Url, most: u64) -> Result<Document, FetchError> {
        let failed = |step, fault| FetchError::new(step, client::shown(url), fault);
        let mut response = self.ask(url).await.map_err(|fault| failed(FetchStep::Ask, fault))?;
        let have = Have { at: 0, total: None, validator: None, digest: false };
        let head = head::judge(&response, &have).map_err(|fault| failed(FetchStep::Ask, fault))?;
        let mut bytes = Vec::new();
        loop {
            let size = head.total.unwrap_or(0).max(bytes.len() as u64);
            if size > most {
                let setting = "this kind of document";
                return Err(failed(FetchStep::Transfer, Fault::TooLarge { size, most, setting }));
            }
            match self.chunk(&mut response, bytes.len() as u64, head.total).await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(fault) => return Err(failed(FetchStep::Transfer, fault)),
            }
        }
        if head::looks_like_a_page(&bytes) {
            return Err(failed(FetchStep::Verify, Fault::WebPage));
        }
        Ok(Document { bytes, url: head::answered(&response) })
    }

    async fn ask(&self, url: &Url) -> Result<Response, Fault> {
        self.answer(self.0.client.get(url.clone())).await
    }

    /// Sends a request and waits for the head of the answer, not for ever.
    pub(super) async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Response, Fault> {
        let request = request.header(reqwest::header::ACCEPT_ENCODING, "identity");
        let limit = self.0.install.connect_timeout + self.0.install.stall;
        match timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => Err(client::fault(&e)),
            Err(_) => Err(Fault::Stalled(limit)),
        }
    }

    /// The next bytes of an answer of which `at` are here; `None` at its end.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        at: u64,
        total: Option<u64>,
    ) -> Result<Option<bytes::Bytes>, Fault> {
        let stall = self.0.install.stall;
        match timeout(stall, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(e)) => {
                let of = total.map_or_else(|| "an unknown number".to_owned(), |n| n.to_string());
                Err(Fault::Ended { at, of, why: client::chain(&e) })
            }
            Err(_) => Err(Fault::Stalled(stall)),
        }
    }
}
