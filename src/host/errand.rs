//! A program that is run to its end for us, such as a game's own installer: as the right account, with its output told
//! line by line, and gone with everything it started when it is done, stuck or no longer wanted.
use super::{
    accounts::Account,
    process::{Identity, ProcessGroup},
};
use nix::{
    sys::signal::Signal,
    unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

/// Lines of output that an error shows.
const TAIL_LINES: usize = 30;
/// Longer lines are cut.
const LINE_BYTES: usize = 4096;

pub struct Errand {
    /// Program and arguments; the program is absolute or found in `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// What it runs as, where we may choose.
    pub account: Account,
    /// Silent for this long, it is stuck.
    pub patience: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    #[error("{program} cannot be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} said nothing for {} s and was ended; its last words:\n{tail}", patience.as_secs())]
    Stuck { program: String, patience: Duration, tail: String },
    #[error("{program} failed ({status}); its last words:\n{tail}")]
    Failed { program: String, status: ExitStatus, tail: String },
    #[error("{program} cannot be waited for: {source}")]
    Lost { program: String, source: io::Error },
}

/// Runs it to its end; `told` hears each line. Dropped before that, everything it started is killed.
pub async fn run(errand: &Errand, told: impl Fn(&str)) -> Result<(), ErrandError> {
    let program = errand.argv.join(" ");
    let mut child = start(errand).map_err(|source| ErrandError::Start { program: program.clone(), source })?;
    let _everything = Everything::of(&child);
    let (lines, mut heard) = mpsc::channel(64);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(listen(out, lines.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(listen(err, lines.clone()));
    }
    drop(lines);
    let mut tail = VecDeque::new();
    let status = loop {
        tokio::select! {
            biased;
            Some(line) = heard.recv() => {
                told(&line);
                tail.push_back(line);
                if tail.len() > TAIL_LINES { tail.pop_front(); }
            }
            ended = child.wait() => break ended,
            () = tokio::time::sleep(errand.patience) => {
                return Err(ErrandError::Stuck { program, patience: errand.patience, tail: text(&tail) });
            }
        }
    };
    // What it wrote last may still be in the pipe; a process it left behind may hold the pipe open.
    while let Ok(Some(line)) = tokio::time::timeout(Duration::from_millis(100), heard.recv()).await {
        tail.push_back(line);
    }
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ErrandError::Failed { program, status, tail: text(&tail) }),
        Err(source) => Err(ErrandError::Lost { program, source }),
    }
}

fn text(tail: &VecDeque<String>) -> String {
    let lines: Vec<&str> = tail.iter().skip(tail.len().saturating_sub(TAIL_LINES)).map(String::as_str).collect();
    lines.join("\n")
}

fn start(errand: &Errand) -> io::Result<Child> {
    let (program, arguments) =
        errand.argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&errand.env).current_dir(&errand.cwd);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let account = geteuid().is_root().then(|| errand.account.clone());
    let groups: Vec<Gid> = errand.account.groups.iter().copied().map(Gid::from_raw).collect();
    // SAFETY: between fork and exec; setgroups, setgid, setuid and prctl are system calls that allocate nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some(account) = &account {
                setgroups(&groups)?;
                setgid(Gid::from_raw(account.gid))?;
                setuid(Uid::from_raw(account.uid))?;
            }
            nix::sys::prctl::set_no_new_privs()?;
            Ok(())
        });
    }
    command.spawn()
}

async fn listen(pipe: impl AsyncRead + Unpin, lines: mpsc::Sender<String>) {
    let mut pipe = BufReader::with_capacity(LINE_BYTES, pipe);
    let mut line = Vec::new();
    while let Ok(piece) = pipe.fill_buf().await {
        let (bytes, ends) = match piece.iter().position(|byte| *byte == b'\n' || *byte == b'\r') {
            _ if piece.is_empty() => (0, true),
            Some(at) => (at + 1, true),
            None => (piece.len(), false),
        };
        line.extend_from_slice(&piece[..bytes.min(LINE_BYTES.saturating_sub(line.len()))]);
        pipe.consume(bytes);
        if ends {
            let said = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if !said.is_empty() && lines.send(said).await.is_err() {
                return;
            }
        }
        if bytes == 0 {
            return;
        }
    }
}

/// The process group of an errand; on drop, whatever is left of it is killed.
struct Everything(Option<Identity>);

impl Everything {
    fn of(child: &Child) -> Everything {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Everything(pid.and_then(|pid| Identity::of(pid).ok().flatten()))
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        let Some(leader) = self.0 else { return };
        let killed = ProcessGroup::led_by(&leader).and_then(|group| group.map_or(Ok(false), |g| g.signal(Signal::SIGKILL)));
        if let Err(e) = killed {
            tracing::warn!(pid = leader.pid, error = %e, "what an installer left behind could not be ended");
        }
    }
}
