//! Servers that speak first, such as SSH: the greeting is the proof. It is read, and nothing is said.
use super::{ProbeAnswer, ProbeError, connect, failed, shown};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;

/// A greeting is shorter (RFC 4253 allows 255 bytes).
const MOST: usize = 255;

pub async fn ask(at: SocketAddr, begins: &str) -> Result<ProbeAnswer, ProbeError> {
    let mut server = connect(at).await?;
    let mut said = Vec::new();
    while said.len() < MOST && !said.contains(&b'\n') {
        let mut piece = [0; MOST];
        match server.read(&mut piece).await.map_err(|e| failed(at, e))? {
            0 => break,
            n => said.extend_from_slice(&piece[..n]),
        }
    }
    let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line.starts_with(begins.as_bytes()) {
        true => Ok(ProbeAnswer { version: Some(shown(&String::from_utf8_lossy(line), 100)), ..ProbeAnswer::default() }),
        false => Err(ProbeError::Foreign {
            at,
            protocol: "what was expected",
            detail: format!("it greets with {:?}, not with {begins}", shown(&String::from_utf8_lossy(line), 60)),
        }),
    }
}
