//! The bridge plugin of a Velocity proxy over HTTP: `GET /zpack/status`, `POST /zpack/register`, `POST /zpack/unregister`.
//! Every call shows `X-Zpack-Secret`, the SHA-256 of the shared secret in hex.
use data_encoding::HEXLOWER;
use reqwest::{Client, RequestBuilder, redirect};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{fs, io, path::Path, time::Duration};

/// A proxy answers at once or is not there.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longer lists are no proxy's.
const LARGEST: usize = 4 << 20;

/// A server on the proxy's list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    pub name: String,
    pub address: String,
    pub port: u16,
}

#[derive(Deserialize)]
struct Status {
    servers: Vec<Listed>,
}

#[derive(Clone)]
pub struct Bridge {
    client: Client,
    url: String,
    secret: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the proxy's bridge cannot be reached: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the proxy's bridge answers {0}; is the shared secret right?")]
    Refused(reqwest::StatusCode),
    #[error("the proxy's bridge answers more than {LARGEST} bytes")]
    TooLong,
    #[error("the proxy's bridge does not answer with its list: {0}")]
    Foreign(#[from] serde_json::Error),
}

impl Bridge {
    pub fn new(url: &str, secret_file: &Path) -> io::Result<Bridge> {
        let secret = fs::read_to_string(secret_file)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", secret_file.display())))?;
        let secret = HEXLOWER.encode(&Sha256::digest(secret.trim().as_bytes()));
        // Whoever was first has chosen the same.
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).no_proxy().build();
        Ok(Bridge { client: client.map_err(io::Error::other)?, url: url.to_owned(), secret })
    }

    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut answer = self.asked(self.client.get(format!("{}/zpack/status", self.url))).await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err(Error::TooLong);
            }
        }
        Ok(serde_json::from_slice::<Status>(&body)?.servers)
    }

    pub async fn register(&self, name: &str, address: &str, port: u16) -> Result<(), Error> {
        let body = serde_json::json!({"server_name": name, "address": address, "port": port});
        self.asked(self.client.post(format!("{}/zpack/register", self.url)).json(&body)).await.map(|_| ())
    }

    pub async fn unregister(&self, name: &str) -> Result<(), Error> {
        let body = serde_json::json!({"server_name": name});
        self.asked(self.client.post(format!("{}/zpack/unregister", self.url)).json(&body)).await.map(|_| ())
    }

    async fn asked(&self, request: RequestBuilder) -> Result<reqwest::Response, Error> {
        let answer = request.header("X-Zpack-Secret", &self.secret).send().await?;
        if answer.status().is_success() { Ok(answer) } else { Err(Error::Refused(answer.status())) }
    }
}

#[cfg(test)]
mod tests;
