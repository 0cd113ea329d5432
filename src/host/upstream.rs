//! Fetches from the release pages of upstreams, for a publisher: small answers, and files straight into the store.
//! Redirects are followed (releases lie on other hosts than their pages), but never from https to http.
use reqwest::{Client, Response, redirect};
use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};

const CONNECT: Duration = Duration::from_secs(15);
/// An upstream that sends nothing for this long counts as gone.
const STALL: Duration = Duration::from_secs(60);
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
    pub fn new() -> io::Result<Upstream> {
        // Fails only if one is installed already.
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("zlh/", env!("CARGO_PKG_VERSION")))
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

    /// A release page, whole.
    pub fn page(&self, url: &str) -> Result<Vec<u8>, UpstreamError> {
        let mut page = Vec::new();
        self.fetch(url, |piece, _| {
            page.extend_from_slice(piece);
            if page.len() > LARGEST_PAGE { Err(io::Error::other("larger than any release page")) } else { Ok(()) }
        })?;
        Ok(page)
    }

    /// A file, piece by piece into `to`; `watch` is told bytes so far and in all.
    pub fn file(
        &self,
        url: &str,
        to: &mut impl Write,
        mut watch: impl FnMut(u64, Option<u64>),
    ) -> Result<(), UpstreamError> {
        let mut at = 0;
        self.fetch(url, |piece, total| {
            at += piece.len() as u64;
            watch(at, total);
            to.write_all(piece)
        })
    }

    fn fetch(
        &self,
        url: &str,
        mut take: impl FnMut(&[u8], Option<u64>) -> io::Result<()>,
    ) -> Result<(), UpstreamError> {
        let failed = |why: String| UpstreamError { url: url.to_owned(), why };
        self.runtime.block_on(async {
            let mut response = self.ask(url).await.map_err(failed)?;
            let total = response.content_length();
            let mut at = 0;
            while let Some(piece) = response.chunk().await.map_err(|e| failed(causes(&e)))? {
                at += piece.len() as u64;
                take(&piece, total).map_err(|e| failed(e.to_string()))?;
            }
            match total.filter(|total| *total != at) {
                Some(total) => Err(failed(format!("ended after {at} of {total} bytes"))),
                None => Ok(()),
            }
        })
    }

    async fn ask(&self, url: &str) -> Result<Response, String> {
        let response = self.client.get(url).send().await.map_err(|e| causes(&e))?;
        match response.status() {
            status if status.is_success() => Ok(response),
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
