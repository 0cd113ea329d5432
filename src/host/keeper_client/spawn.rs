//! Starting a keeper process: in a session of its own, with our end of a socket pair on its descriptor 3.
use super::{Plan, folder::Folder};
use crate::host::{
    keeping::KeepingError,
    process::{Identity, PidFd},
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    process::{Command, Stdio},
};

/// Where the keeper expects the one who started it.
const FIRST_CLIENT: RawFd = 3;
/// Last words of a keeper that could not start.
const WORDS_FILE: &str = "keeper.err";
const MOST_WORDS: u64 = 2048;

/// A keeper that was just started: our end of the connection, and the process.
pub(super) fn keeper(plan: &Plan, folder: &Folder) -> Result<(OwnedFd, Option<PidFd>), KeepingError> {
    start(plan, folder).map_err(|e| KeepingError::Spawn(format!("{}: {e}", plan.binary.display())))
}

fn start(plan: &Plan, folder: &Folder) -> io::Result<(OwnedFd, Option<PidFd>)> {
    folder.create()?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
    let mut command = Command::new(&plan.binary);
    command.arg("keeper").arg("--dir").arg(folder.path()).current_dir("/");
    // Nothing of the agent's environment: it may hold a token, and a keeper lives for months.
    command.env_clear().envs(plan.keeper_env.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words(folder)?);
    let socket = theirs.as_raw_fd();
    // SAFETY: setsid, dup2 and fcntl are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(move || leave_with(socket)) };
    let child = command.spawn()?;
    // The handle is taken while the child cannot have been reaped: nobody but us waits for it.
    let who = Identity::of(child.id() as i32)?;
    Ok((ours, who.and_then(|who| PidFd::open(&who).ok().flatten())))
}

/// In the new process, before exec: a session of its own, and the socket where it is expected.
fn leave_with(socket: RawFd) -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: plain descriptor numbers; the target belongs to this process alone.
    let moved = unsafe {
        match socket == FIRST_CLIENT {
            true => libc::fcntl(socket, libc::F_SETFD, 0),
            false => libc::dup2(socket, FIRST_CLIENT),
        }
    };
    if moved < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn words(folder: &Folder) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(folder.path().join(WORDS_FILE))
}

/// What a keeper that ended at once had to say; empty if nothing.
pub(super) fn last_words(folder: &Folder) -> String {
    let mut text = String::new();
    let file = File::open(folder.path().join(WORDS_FILE));
    match file.and_then(|f| f.take(MOST_WORDS).read_to_string(&mut text)) {
        Ok(_) => text.trim().to_owned(),
        Err(_) => String::new(),
    }
}
