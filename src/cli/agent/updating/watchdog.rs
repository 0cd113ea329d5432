//! What an agent leaves behind when it executes a version on trial: the previous version, which waits for the proof and
//! otherwise takes the new one back. What it knows the process by is its standard input, a pidfd.
use super::{Files, FilesError, handing::execute_as};
use crate::{
    cli::args::WatchUpdateArgs,
    host::{clock, process::PidFd},
    policy::{
        operations::Outcome,
        updater::{orders, take_back},
    },
};
use nix::sys::signal::Signal;
use std::{
    io,
    os::fd::AsFd,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::{runtime, time::timeout};

const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Beyond the time in which the version itself sees that it is not healthy.
const SLACK: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum Unable {
    #[error("{0}")]
    Files(#[from] FilesError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

enum Seen {
    /// The trial is over, whichever way.
    Judged,
    Ended,
    Hangs,
}

/// The whole life of a watchdog.
pub fn watch(args: &WatchUpdateArgs) -> ExitCode {
    match watched(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: watching the update to {}: {e}", args.trial);
            ExitCode::FAILURE
        }
    }
}

fn watched(args: &WatchUpdateArgs) -> Result<(), Unable> {
    let files = Files::open(&args.root)?;
    let agent = PidFd::from_fd(io::stdin().as_fd().try_clone_to_owned()?);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let within = Duration::from_millis(args.within_ms);
    let why = match runtime.block_on(seen(args, &files, &agent, within))? {
        Seen::Judged => return Ok(()),
        // Whoever starts it again counts: several chances are better than one.
        Seen::Ended if args.supervised => return Ok(()),
        Seen::Ended => "it ended before it had proved itself".to_owned(),
        Seen::Hangs => format!("it was silent for {} s", (within + SLACK).as_secs()),
    };
    // From here on it writes nothing any more.
    agent.signal(Signal::SIGSTOP)?;
    if !is_on_trial(args, &files)? {
        agent.signal(Signal::SIGCONT)?;
        return Ok(());
    }
    let mut record = files.load()?;
    let previous = take_back(&mut record, &why);
    orders::end(&mut record, &Outcome::Failed(why), clock::wall_time());
    files.save(&record)?;
    let Some(previous) = previous else { return Ok(()) };
    files.releases.switch(&previous).map_err(FilesError::from)?;
    agent.signal(Signal::SIGKILL)?;
    runtime.block_on(agent.gone())?;
    if args.supervised {
        return Ok(());
    }
    let program = files.releases.program(&previous).map_err(FilesError::from)?;
    Err(execute_as(&program, &args.command).into())
}

async fn seen(args: &WatchUpdateArgs, files: &Files, agent: &PidFd, within: Duration) -> Result<Seen, Unable> {
    let deadline = Instant::now() + within + SLACK;
    loop {
        let ended = timeout(LOOK_AGAIN, agent.gone()).await;
        if !is_on_trial(args, files)? {
            return Ok(Seen::Judged);
        }
        match ended {
            Ok(gone) => return gone.map(|()| Seen::Ended).map_err(Unable::from),
            Err(_) if Instant::now() > deadline => return Ok(Seen::Hangs),
            Err(_) => {}
        }
    }
}

fn is_on_trial(args: &WatchUpdateArgs, files: &Files) -> Result<bool, FilesError> {
    Ok(files.load()?.trial.is_some_and(|trial| trial.version == args.trial))
}
