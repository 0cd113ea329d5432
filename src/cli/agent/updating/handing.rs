//! From one program to the next in the same process, and the first life of a program on trial.
use super::{Files, FilesError, blocking, running};
use crate::{
    actors::{status::Status, updater::Updater},
    cli::{agent::VERSION, args::WatchUpdateArgs},
    host::{
        canary, clock, failpoint,
        process::{Identity, PidFd},
    },
    keeper::init,
    model::settings::Settings,
    policy::{
        operations::Outcome,
        updater::{Start, gives_way, on_start, orders, proven, take_back},
    },
};
use nix::sys::signal::Signal;
use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time};

/// Names the watchdog of this trial to the program on trial, whose child it is.
const WATCHDOG: &str = "ZLH_UPDATE_WATCHDOG";
/// Between two looks of an agent at itself.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Which program comes next.
#[derive(Clone, Debug)]
pub struct Handover {
    pub program: PathBuf,
    /// The version that has to prove itself.
    pub trial: Option<String>,
}

/// What this life is.
#[derive(Debug, Default)]
pub struct Life {
    pub on_trial: bool,
    watchdog: Option<PidFd>,
}

impl Life {
    /// A trial that is ended by an order is no failure: nobody is to be started again.
    pub async fn ends_by_order(&self) {
        let Some(watchdog) = self.watchdog.as_ref().filter(|_| self.on_trial) else { return };
        match watchdog.signal(Signal::SIGTERM) {
            Ok(true) => _ = time::timeout(LOOK_AGAIN * 10, reap(watchdog)).await,
            Ok(false) => {}
            Err(e) => tracing::warn!(error = %e, "the watchdog of this trial could not be ended"),
        }
    }

    /// Takes the status of the watchdog when it ends.
    pub fn expect_watchdog(&self) {
        if let Some(Ok(watchdog)) = self.watchdog.as_ref().map(PidFd::try_clone) {
            tokio::spawn(async move { reap(&watchdog).await });
        }
    }
}

async fn reap(child: &PidFd) {
    if let Err(e) = child.gone().await {
        tracing::warn!(error = %e, "a watchdog cannot be waited for");
    }
    _ = child.reap(); // by whoever comes first
}

/// First thing in a life: is this the program that shall run? Executes another if not, and returns if it is.
pub fn at_start(settings: &Settings) -> Life {
    let watchdog = own_watchdog();
    match judged(settings) {
        Ok(on_trial) => {
            if on_trial {
                failpoint::reach("update.on_trial");
            }
            Life { on_trial, watchdog }
        }
        Err(e) => {
            tracing::error!(error = %e, "what is remembered of updates cannot be used; going on with this program");
            Life { on_trial: false, watchdog }
        }
    }
}

fn judged(settings: &Settings) -> Result<bool, FilesError> {
    let files = Files::open(&settings.root)?;
    let mut record = files.load()?;
    let before = record.clone();
    if !files.runs_release() {
        if let Some(current) = files.releases.current()?.filter(|current| gives_way(&record, running(), current)) {
            let why = execute(&files.releases.program(&current)?);
            tracing::error!(version = current, error = %why, "the current release could not be executed");
        }
        record.stands_for = record.stands_for.filter(|version| version == running());
    }
    let start = on_start(&mut record, running(), settings.agent.update_starts);
    if let (Start::GoBack { .. }, Some(why)) = (&start, &record.last_error) {
        let failed = Outcome::Failed(why.clone());
        orders::end(&mut record, &failed, clock::wall_time());
    }
    if record != before {
        files.save(&record)?;
    }
    if let Start::GoBack { to } = &start {
        files.releases.switch(to)?;
        let why = execute(&files.releases.program(to)?);
        tracing::error!(version = to, error = %why, "the previous release could not be executed");
    }
    Ok(start == Start::OnTrial)
}

/// In the same process, with the same command line. Returns only if that fails.
pub fn execute(program: &Path) -> io::Error {
    tracing::info!(program = %program.display(), "executing another version of the agent");
    Command::new(program).args(own_arguments()).exec()
}

/// The same with the command line of another process, and without its standard input.
pub fn execute_as(program: &Path, arguments: &[OsString]) -> io::Error {
    Command::new(program).args(arguments).stdin(Stdio::null()).exec()
}

fn own_arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1)
}

/// Last thing in a life: the next program takes over this process. Returns only if that fails.
pub fn hand_over(settings: &Settings, next: &Handover) -> io::Error {
    let mut command = Command::new(&next.program);
    command.args(own_arguments());
    if let Some(version) = &next.trial {
        match leave_watchdog(settings, version) {
            Ok(pid) => _ = command.env(WATCHDOG, pid.to_string()),
            Err(e) => return io::Error::new(e.kind(), format!("cannot leave a watchdog: {e}")),
        }
    }
    command.exec()
}

/// It knows this process by a descriptor, so that no pid can mean another.
fn leave_watchdog(settings: &Settings, version: &str) -> io::Result<u32> {
    let files = Files::open(&settings.root).map_err(io::Error::other)?;
    let me = Identity::of(std::process::id() as i32)?.ok_or(io::ErrorKind::NotFound)?;
    let handle = PidFd::open(&me)?.ok_or(io::ErrorKind::NotFound)?;
    let program = files.releases.program(running()).map_err(io::Error::other)?;
    let mut command = Command::new(program);
    command.arg(WatchUpdateArgs::VERB).arg("--root").arg(std::path::absolute(&settings.root)?);
    command.arg("--trial").arg(version);
    command.arg("--within-ms").arg(settings.agent.update_within.as_millis().to_string());
    if is_supervised() {
        command.arg("--supervised");
    }
    command.arg("--").args(own_arguments()).stdin(Stdio::from(handle.into_fd())).process_group(0);
    Ok(command.spawn()?.id())
}

/// Does somebody start an agent again that has ended?
fn is_supervised() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() || init::is_above(std::env::var_os(init::MARKER).as_deref())
}

/// The process that the previous program left, if it is our child and lives.
fn own_watchdog() -> Option<PidFd> {
    let pid = std::env::var(WATCHDOG).ok()?.parse().ok()?;
    let handle = PidFd::open(&Identity::of(pid).ok()??).ok()??;
    // Fails for anyone else's child, and takes the status of one that has ended.
    handle.reap().ok()?.is_none().then_some(handle)
}

/// The trial of this program: proven, or the previous one is handed over to.
pub async fn stand_trial(
    settings: Arc<Settings>,
    status: Status,
    address: SocketAddr,
    updater: Updater,
    told: watch::Sender<Option<Handover>>,
) {
    let within = settings.agent.update_within;
    let healthy = time::timeout(within, healthy(&status, address)).await.is_ok();
    let judged = blocking(move || judge(&settings, healthy, within)).await;
    match judged {
        Ok(None) => tracing::info!(version = VERSION, "this version has proved itself"),
        Ok(previous) => _ = told.send_replace(previous),
        Err(why) => tracing::error!(why, "how the trial of this version ended cannot be recorded"),
    }
    updater.record_changed();
}

/// What survived is taken up again, and the API answers on its own listener.
async fn healthy(status: &Status, address: SocketAddr) {
    status.recovered().await;
    while canary::version_at(address).await.ok().as_deref() != Some(VERSION) {
        time::sleep(LOOK_AGAIN).await;
    }
}

fn judge(settings: &Settings, healthy: bool, within: Duration) -> Result<Option<Handover>, FilesError> {
    let files = Files::open(&settings.root)?;
    let mut record = files.load()?;
    if healthy {
        let trial = record.clone();
        proven(&mut record, running());
        orders::end(&mut record, &Outcome::Done, clock::wall_time());
        files.save(&record)?;
        files.prune(&trial)?;
        return Ok(None);
    }
    let why = format!("it was not healthy within {} s", within.as_secs());
    let Some(previous) = take_back(&mut record, &why) else { return Ok(None) };
    orders::end(&mut record, &Outcome::Failed(why), clock::wall_time());
    files.save(&record)?;
    files.releases.switch(&previous)?;
    Ok(Some(Handover { program: files.releases.program(&previous)?, trial: None }))
}
