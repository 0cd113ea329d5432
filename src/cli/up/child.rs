//! One part of `zlh up` in a process of its own.
use crate::cli::gateway::{Failure, cannot};
use nix::{
    sys::{prctl, signal::Signal, signal::kill},
    unistd::Pid,
};
use std::{io, net::SocketAddr, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{self, ChildStdout, Command},
    time::timeout,
};

const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Longer than the agent gives its workload to stop.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

pub struct Child {
    name: &'static str,
    process: process::Child,
    pub at: SocketAddr,
    /// Kept open: a part that prints must not break over it.
    _words: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this program with other words, and waits until it listens.
    pub async fn start(name: &'static str, words: &[String]) -> Result<Child, Failure> {
        let program = std::env::current_exe().map_err(cannot("find the program's own file"))?;
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        // SAFETY: prctl is async-signal-safe and touches no memory of the parent.
        unsafe { command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from)) };
        let mut process = command.spawn().map_err(cannot(format!("start the {name}")))?;
        let stdout = process.stdout.take().ok_or_else(|| Failure(format!("the {name} has no output")))?;
        let mut lines = BufReader::new(stdout).lines();
        let said = timeout(STARTS_WITHIN, listening(&mut lines)).await;
        match said {
            Ok(Ok(Some(at))) => Ok(Child { name, process, at, _words: lines }),
            Ok(Ok(None)) => Err(Failure(format!("the {name} ended before it listened; what it said is above"))),
            Ok(Err(e)) => Err(cannot(format!("hear from the {name}"))(e)),
            Err(_) => Err(Failure(format!("the {name} does not listen within {STARTS_WITHIN:?}"))),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Resolves when it ends by itself. Success means that it was told to, as Ctrl-C tells all of us.
    pub async fn ended(&mut self) -> Result<(), Failure> {
        match self.process.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure(format!("the {} ended: {status}", self.name))),
            Err(e) => Err(cannot(format!("wait for the {}", self.name))(e)),
        }
    }

    pub async fn stop(&mut self) {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok());
        let Some(pid) = pid else { return };
        if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM) {
            tracing::warn!(%error, part = self.name, "cannot be told to stop");
        }
        if timeout(ENDS_WITHIN, self.process.wait()).await.is_err() {
            tracing::error!(part = self.name, "did not end in time and is killed");
        }
    }
}

/// `listening agent http://127.0.0.1:18888`
async fn listening(lines: &mut Lines<BufReader<ChildStdout>>) -> io::Result<Option<SocketAddr>> {
    while let Some(line) = lines.next_line().await? {
        let url = line.strip_prefix("listening ").and_then(|rest| rest.split_once(" http://"));
        if let Some(at) = url.and_then(|(_, at)| at.trim_end_matches('/').parse().ok()) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
