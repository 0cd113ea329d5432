//! Lets a fresh program of the agent run by itself for a moment, in an empty folder and on a port of the kernel's choice;
//! and asks an agent on this machine which version it is.
use super::process::{Identity, PidFd};
use nix::sys::signal::Signal;
use serde::Deserialize;
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Of an answer, and of what a program says before it listens.
const MOST_BYTES: u64 = 64 << 10;
/// Time for one answer of an agent on this machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How long an order to end may take before SIGKILL.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const BUSY_WAIT: Duration = Duration::from_millis(20);
const BUSY_TRIES: u32 = 50;

#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error("{0} could not be run: {1}")]
    Start(String, io::Error),
    #[error("it ended before it listened: {0}")]
    Ended(String),
    #[error("it did not listen and answer within {0} s")]
    Late(u64),
    #[error("it did not answer: {0}")]
    Mute(io::Error),
    #[error("it says that it is version {found}, not {expected}")]
    OtherVersion { expected: String, found: String },
}

/// Runs `program` with the folder `root`, which is made and removed. `version`: as `/version` says it.
pub async fn prove(program: &Path, root: &Path, version: &str, within: Duration) -> Result<(), CanaryError> {
    let could_not = |e| CanaryError::Start(program.display().to_string(), e);
    fs::create_dir_all(root).map_err(could_not)?;
    let mut command = Command::new(program);
    command.args(["agent", "--listen", "127.0.0.1:0", "--allow-unauthenticated", "--root"]).arg(root);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("ZLH_AGENT_UPDATE_MODE", "off");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/").kill_on_drop(true);
    let mut child = spawned(&mut command).await.map_err(could_not)?;
    let lived = timeout(within, listens_and_is(&mut child, version)).await;
    end(&mut child).await;
    if let Err(e) = fs::remove_dir_all(root) {
        tracing::warn!(path = %root.display(), error = %e, "what a canary left could not be removed");
    }
    lived.unwrap_or(Err(CanaryError::Late(within.as_secs())))
}

/// A program that was just written is busy while a process that was forked meanwhile has not yet executed its own.
async fn spawned(command: &mut Command) -> io::Result<Child> {
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy => sleep(BUSY_WAIT).await,
            spawned => return spawned,
        }
    }
    command.spawn()
}

async fn listens_and_is(child: &mut Child, version: &str) -> Result<(), CanaryError> {
    let Some(address) = address_of(child.stdout.take()).await else {
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            said = all(stderr).await.map_err(CanaryError::Mute)?;
        }
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(CanaryError::Ended(last.to_owned()));
    };
    let found = version_at(address).await.map_err(CanaryError::Mute)?;
    let expected = version.to_owned();
    if found == expected { Ok(()) } else { Err(CanaryError::OtherVersion { expected, found }) }
}

async fn address_of(stdout: Option<impl AsyncRead + Unpin>) -> Option<SocketAddr> {
    let mut lines = BufReader::new(stdout?.take(MOST_BYTES)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line.strip_prefix("listening agent http://") {
            return address.trim().parse().ok();
        }
    }
    None
}

async fn end(child: &mut Child) {
    let pid = child.id().and_then(|pid| Identity::of(pid as i32).ok().flatten());
    if let Some(handle) = pid.and_then(|pid| PidFd::open(&pid).ok().flatten())
        && handle.signal(Signal::SIGTERM).unwrap_or(false)
        && timeout(ENDS_WITHIN, child.wait()).await.is_ok()
    {
        return;
    }
    if let Err(e) = child.kill().await {
        tracing::warn!(error = %e, "a canary could not be ended");
    }
}

/// Which version (with `v`) the agent that listens at `address` says it is, once `/health` is well.
pub async fn version_at(address: SocketAddr) -> io::Result<String> {
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let address = reachable(address);
    ask(address, "/health").await?;
    let said: Version = serde_json::from_str(&ask(address, "/version").await?)?;
    Ok(said.version)
}

/// Who listens on all addresses is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The body of a 200.
async fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        all(stream).await
    };
    let answer = timeout(ANSWERS_WITHIN, talk).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{path} is answered with {}", head.lines().next().unwrap_or("nothing")))),
    }
}

async fn all(from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    async fn tried(script: &str, within: Duration) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (program, root) = (folder.path().join("zlh"), folder.path().join("root"));
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let tried = prove(&program, &root, "v1.1.0", within).await;
        assert!(!root.exists(), "nothing is left");
        tried.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_does_not_live_says_why() {
        const LONG: Duration = Duration::from_secs(60);
        let ended = tried("echo 'cannot find myself' >&2; exit 3", LONG).await;
        assert_eq!(ended, "it ended before it listened: cannot find myself");
        assert!(tried("exec sleep 600", Duration::from_millis(100)).await.contains("did not listen"));
        let mute = tried("echo listening agent http://127.0.0.1:1; exec sleep 600", LONG).await;
        assert!(mute.starts_with("it did not answer"), "{mute}");
    }
}
