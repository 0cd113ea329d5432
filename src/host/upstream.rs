//! Fetches from the release pages of upstreams, for a publisher: small answers, and files straight into the store.
//! Redirects are followed (releases lie on other hosts than their pages), but never from https to http.
use reqwest::{Client, Response, StatusCode, redirect};
use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};

const AGENT: &str = concat!("zlh/", env!("CARGO_PKG_VERSION"));
const CONNECT: Duration = Duration::from_secs(15);
/// An upstream that sends nothing for this long counts as gone.
const STALL: Duration = Duration::from_secs(60);
const NOT_THERE: &str = "is not there (404), though its release page names it";
const MOST_REDIRECTS: usize = 10;
/// Largest answer of a release page.
const LARGEST_PAGE: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{url}: {why}")]
pub struct UpstreamError {
    url: String,
    why: String,
}

/// Blocking: for a command that does nothing else meanwhile.
pub struct Upstream {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Upstream {
    /// `contact`: how the publisher can be reached, for upstreams that want to know.
    pub fn new(contact: Option<&str>) -> io::Result<Upstream> {
        // Fails only if one is installed already.
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(contact.map_or_else(|| AGENT.to_owned(), |contact| format!("{AGENT} ({contact})")))
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .redirect(redirect::Policy::custom(|attempt| {
                let secure = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
                if attempt.previous().len() > MOST_REDIRECTS || (secure && attempt.url().scheme() != "https") {
                    return attempt.stop();
                }
                attempt.follow()
            }))
            .build()
            .map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Upstream { client, runtime })
    }

    /// A release page, whole; `None` if there is none at that address.
    pub fn page(&self, url: &str) -> Result<Option<Vec<u8>>, UpstreamError> {
        let mut page = Vec::new();
        let there = self.fetch(url, |piece, _| {
            page.extend_from_slice(piece);
            if page.len() > LARGEST_PAGE { Err(io::Error::other("larger than any release page")) } else { Ok(()) }
        })?;
        Ok(there.then_some(page))
    }

    /// A file, piece by piece into `to`; `watch` is told bytes so far and in all.
    pub fn file(
        &self,
        url: &str,
        to: &mut impl Write,
        mut watch: impl FnMut(u64, Option<u64>),
    ) -> Result<(), UpstreamError> {
        let mut at = 0;
        let there = self.fetch(url, |piece, total| {
            at += piece.len() as u64;
            watch(at, total);
            to.write_all(piece)
        })?;
        if there { Ok(()) } else { Err(UpstreamError { url: url.to_owned(), why: NOT_THERE.into() }) }
    }

    /// False: there is nothing at that address.
    fn fetch(
        &self,
        url: &str,
        mut take: impl FnMut(&[u8], Option<u64>) -> io::Result<()>,
    ) -> Result<bool, UpstreamError> {
        let failed = |why: String| UpstreamError { url: url.to_owned(), why };
        self.runtime.block_on(async {
            let Some(mut response) = self.ask(url).await.map_err(failed)? else { return Ok(false) };
            let total = response.content_length();
            let mut at = 0;
            while let Some(piece) = response.chunk().await.map_err(|e| failed(causes(&e)))? {
                at += piece.len() as u64;
                take(&piece, total).map_err(|e| failed(e.to_string()))?;
            }
            match total.filter(|total| *total != at) {
                Some(total) => Err(failed(format!("ended after {at} of {total} bytes"))),
                None => Ok(true),
            }
        })
    }

    async fn ask(&self, url: &str) -> Result<Option<Response>, String> {
        let response = self.client.get(url).send().await.map_err(|e| causes(&e))?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(response)),
            status if status.is_redirection() => Err(format!("redirects too often, or to http ({status})")),
            status => Err(format!("answered {status}")),
        }
    }
}

fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
