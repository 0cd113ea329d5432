//! The first run of what was just unpacked (`bin/node --version`), before it takes the old version's place.
use crate::{host::accounts::Account, model::settings::Install};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// The end of the output that is kept.
const TAIL: usize = 4096;
/// How often a cancellation is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// One program to be run.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    /// Absolute, or relative to `folder`.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// The working folder: the tree.
    pub folder: PathBuf,
    /// All of the environment besides `PATH`, `HOME`, `LANG`.
    pub env: BTreeMap<String, String>,
    /// Whom to run it as; only root can choose.
    pub account: Option<&'a Account>,
    pub within: Duration,
}

impl Check<'_> {
    /// As whoever runs this, with an empty environment, for as long as `install.check_within` says.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str], folder: &Path, install: &Install) -> Self {
        Check {
            program: program.into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            folder: folder.to_owned(),
            env: BTreeMap::new(),
            account: None,
            within: install.check_within,
        }
    }
}

/// What it said; the end of stdout and stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub output: String,
}

/// How long the end of its output is waited for where something that got away still holds it open.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("{command} {why}{}", said(output))]
pub struct CheckFailed {
    pub command: String,
    pub why: String,
    /// The end of its output.
    pub output: String,
}

fn said(output: &str) -> String {
    if output.is_empty() { "; it printed nothing".into() } else { format!("; its last output: {output}") }
}

/// Runs it to its end. Blocking. It and what it started are killed when time is up.
pub fn check(check: &Check, cancel: &CancellationToken) -> Result<Checked, CheckFailed> {
    let command = [&[check.program.display().to_string()], &check.arguments[..]].concat().join(" ");
    let failed = |why: String, output: String| CheckFailed { command: command.clone(), why, output };
    let home = Home::make(check.account);
    let home = home.map_err(|e| failed(format!("cannot be given a home: {e}"), String::new()))?;
    let spawned = spawn(check, &home.0).map_err(|e| failed(format!("cannot be run: {e}"), String::new()));
    let (mut child, from) = spawned?;
    let tail = read_tail(from);
    let (status, why) = wait(&mut child, check.within, cancel);
    // Also after a good end: nothing it started may stay in a tree that is about to move.
    kill_group(&child);
    let output = tail.recv_timeout(LAST_WORDS).unwrap_or_default();
    match (status, why) {
        (Ok(Some(status)), _) if status.success() => Ok(Checked { output }),
        (Ok(Some(status)), _) => Err(failed(format!("failed ({status})"), output)),
        (Ok(None), why) => Err(failed(why, output)),
        (Err(e), _) => Err(failed(format!("cannot be waited for: {e}"), output)),
    }
}

/// A home of its own for one check: some programs (code-server) write to theirs before they say their version.
struct Home(PathBuf);

impl Home {
    fn make(account: Option<&Account>) -> io::Result<Home> {
        let home = Home(PathBuf::from("/tmp").join(format!("zlh-check-{}", uuid::Uuid::new_v4().simple())));
        fs::DirBuilder::new().mode(0o700).create(&home.0)?;
        if let Some(account) = account.filter(|_| nix::unistd::geteuid().is_root()) {
            std::os::unix::fs::lchown(&home.0, Some(account.uid), Some(account.gid))?;
        }
        Ok(home)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, home = %self.0.display(), "the home of a check is left behind");
        }
    }
}

fn spawn(check: &Check, home: &Path) -> io::Result<(Child, io::PipeReader)> {
    let (from, to) = io::pipe()?;
    let program = if check.program.is_absolute() { check.program.clone() } else { check.folder.join(&check.program) };
    let mut command = Command::new(program);
    command.args(&check.arguments).current_dir(&check.folder).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home).env("LANG", "C.UTF-8");
    // A tree that was just hashed must not grow files by being looked at.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("DOTNET_CLI_TELEMETRY_OPTOUT", "1").envs(&check.env);
    command.stdin(Stdio::null()).stdout(to.try_clone()?).stderr(to).process_group(0);
    if let Some(account) = check.account.filter(|_| nix::unistd::geteuid().is_root()) {
        // The groups of root go with it: std drops them when a user is set.
        command.uid(account.uid).gid(account.gid);
    }
    Ok((command.spawn()?, from))
}

/// The end of what comes, when it has all come.
fn read_tail(mut from: io::PipeReader) -> std::sync::mpsc::Receiver<String> {
    let (done, tail) = channel();
    thread::spawn(move || {
        let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = from.read(&mut piece) {
            kept.extend_from_slice(&piece[..read]);
            kept.drain(..kept.len().saturating_sub(TAIL));
        }
        // Nobody listens any more if it took too long.
        _ = done.send(String::from_utf8_lossy(&kept).trim().to_owned());
    });
    tail
}

/// `None` and the reason: it did not end by itself.
fn wait(child: &mut Child, within: Duration, cancel: &CancellationToken) -> (io::Result<Option<ExitStatus>>, String) {
    let until = Instant::now() + within;
    let (_never, pause) = channel::<()>();
    let mut look = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(None) => {}
            other => return (other, String::new()),
        }
        let why = match () {
            () if cancel.is_cancelled() => "was cancelled".to_owned(),
            () if Instant::now() >= until => format!("did not end within {within:?} (install.check_within)"),
            () => {
                if pause.recv_timeout(look) != Err(RecvTimeoutError::Timeout) {
                    return (Err(io::Error::other("the pause was cut short")), String::new());
                }
                look = (look * 2).min(LOOK);
                continue;
            }
        };
        kill_group(child);
        return (child.wait().map(|_| None), why);
    }
}

/// The child leads its group; before it is reaped nobody else can have its number, and after it nobody joins the group.
fn kill_group(child: &Child) {
    if let Ok(pid @ 2..) = i32::try_from(child.id()) {
        // ESRCH: nobody is left.
        _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
