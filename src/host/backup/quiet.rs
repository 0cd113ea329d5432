//! A thread that gets out of the way of the workload: low priority for processor and disk, the rights of another account.
use crate::host::accounts::{Account, as_account};
use std::{io, thread};

/// As `nice -n 10`: the workload goes first, and it still gets on.
const NICE: libc::c_int = 10;
/// The lowest of the ordinary classes (ioprio_set(2)): the idle class may starve for ever on a busy disk.
const LOWEST_OF_BEST_EFFORT: libc::c_int = (2 << 13) | 7;
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// Runs `work` to its end in such a thread: files are read and made with the rights of `account`, so the kernel itself
/// refuses what that account may not do.
pub(super) fn quietly<T: Send>(account: &Account, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let quiet = move || {
            step_back();
            as_account(account, work)
        };
        let thread = thread::Builder::new().name("backup".into()).spawn_scoped(scope, quiet)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the work on the backup broke off; the agent's log has more")))
    })
}

/// For this thread and those that it starts. Being refused costs a little politeness, nothing else.
fn step_back() {
    // SAFETY: both calls take numbers only; 0 means this thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, LOWEST_OF_BEST_EFFORT);
    }
}
