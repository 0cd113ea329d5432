//! A program that is run to its end for us, such as a game's own installer: as the right account, with its output told
//! line by line, and gone with everything it started when it is done, stuck or no longer wanted.
use super::{
    accounts::Account,
    process::{Identity, PidFd, ProcessGroup},
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
    let lost = |source| ErrandError::Lost { program: program.clone(), source };
    let everything = Everything::of(&child).map_err(lost)?;
    let (lines, mut heard) = mpsc::channel(64);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(listen(out, lines.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(listen(err, lines.clone()));
    }
    drop(lines);
    let mut tail = VecDeque::new();
    let mut hear = |line: String| {
        told(&line);
        tail.push_back(line);
        tail.drain(..tail.len().saturating_sub(TAIL_LINES));
    };
    let stuck = loop {
        tokio::select! {
            biased;
            Some(line) = heard.recv() => hear(line),
            ended = everything.led() => break ended.map(|()| false),
            () = tokio::time::sleep(errand.patience) => break Ok(true),
        }
    };
    // Before it is reaped, nobody else can have its number; and without it the pipes come to their end.
    drop(everything);
    while let Some(line) = heard.recv().await {
        hear(line);
    }
    let tail = || Vec::from(tail.clone()).join("\n");
    let status = child.wait().await.map_err(lost)?;
    match stuck.map_err(lost)? {
        true => Err(ErrandError::Stuck { program: program.clone(), patience: errand.patience, tail: tail() }),
        false if status.success() => Ok(()),
        false => Err(ErrandError::Failed { program: program.clone(), status, tail: tail() }),
    }
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

/// An errand and all it started; on drop, whatever is left of it is killed.
struct Everything {
    leader: Identity,
    handle: PidFd,
}

impl Everything {
    /// `child` has not been reaped yet.
    fn of(child: &Child) -> io::Result<Everything> {
        let gone = || io::Error::other("it is gone already");
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(gone)?;
        let leader = Identity::of(pid)?.ok_or_else(gone)?;
        let handle = PidFd::open(&leader)?.ok_or_else(gone)?;
        Ok(Everything { leader, handle })
    }

    /// Resolves when the leader has ended; it is not reaped by this.
    async fn led(&self) -> io::Result<()> {
        self.handle.gone().await
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        let group = ProcessGroup::led_by(&self.leader);
        if let Err(e) = group.and_then(|group| group.map_or(Ok(false), |group| group.signal(Signal::SIGKILL))) {
            tracing::warn!(pid = self.leader.pid, error = %e, "what an installer started could not be ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::accounts;
    use std::sync::Mutex;

    fn errand(script: &str) -> Errand {
        Errand {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            cwd: "/".into(),
            account: accounts::look_up("nobody").unwrap().unwrap(),
            patience: Duration::from_secs(20),
        }
    }

    async fn told(errand: &Errand) -> (Result<(), ErrandError>, Vec<String>) {
        let lines = Mutex::new(Vec::new());
        let result = run(errand, |line| lines.lock().unwrap().push(line.to_owned())).await;
        (result, lines.into_inner().unwrap())
    }

    #[tokio::test]
    async fn it_runs_as_its_account_and_every_line_is_told() {
        let (result, lines) = told(&errand("id -un; echo two >&2; printf three; umask")).await;
        result.unwrap();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.contains(&"two".to_owned()), "{lines:?}");
        if geteuid().is_root() {
            assert!(lines.contains(&"nobody".to_owned()), "{lines:?}");
        }
    }

    #[tokio::test]
    async fn a_failure_shows_its_last_words() {
        let (result, _) = told(&errand("for i in $(seq 100); do echo line $i; done; exit 3")).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains("line 100") && text.contains("line 71") && !text.contains("line 70\n"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        let missing = Errand { argv: vec!["/no/such/program".into()], ..errand("") };
        assert!(matches!(run(&missing, |_| {}).await, Err(ErrandError::Start { .. })));
    }

    #[tokio::test]
    async fn nothing_it_started_outlives_it() {
        let (result, lines) = told(&errand("sleep 1000 & echo $!; exit 0")).await;
        result.unwrap();
        assert_gone(&lines[0]).await;
        let silent = Errand { patience: Duration::from_millis(300), ..errand("sleep 1000 & echo $!; wait") };
        let (result, lines) = told(&silent).await;
        assert!(matches!(result, Err(ErrandError::Stuck { .. })), "{result:?}");
        assert_gone(&lines[0]).await;
    }

    async fn assert_gone(pid: &str) {
        let (pid, until) = (pid.parse().unwrap(), tokio::time::Instant::now() + Duration::from_secs(20));
        while Identity::of(pid).unwrap().is_some_and(|who| who.lives()) {
            assert!(tokio::time::Instant::now() < until, "{pid} lives on");
            tokio::task::yield_now().await;
        }
    }
}
