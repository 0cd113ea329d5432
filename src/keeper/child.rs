//! What the child does between clone and exec. It shares the keeper's memory: async-signal-safe calls only, no heap,
//! no panic, and raw system calls where the C library would keep book for all threads.
use super::{
    failpoint,
    layout::RunRecord,
    protocol::{Identity, LaunchStep},
    state_file::StateFile,
    sys,
};
use std::{
    convert::Infallible,
    ffi::{CStr, CString, c_char, c_int},
};

/// Everything it needs, prepared by the parent.
pub struct Errand<'a> {
    pub program: *const c_char,
    pub argv: *const *const c_char,
    pub env: *const *const c_char,
    pub cwd: *const c_char,
    pub cgroups: &'a [CString],
    pub identity: Option<&'a Identity>,
    pub slave: c_int,
    pub umask: u32,
    pub max_files: u64,
    pub call: Call<'a>,
    /// Read by a parent whose memory is the same.
    pub failure: Option<(LaunchStep, i32)>,
}

/// When the program is to be executed.
pub enum Call<'a> {
    /// At once; the child writes the record that names it.
    Now(StateFile, &'a mut RunRecord),
    /// When a byte comes from this socket. The parent has written the record by then; it is told of a failure here, and
    /// when it is gone so is the child.
    Later(c_int),
}

/// A failure on its way through the socket: step, then errno.
pub type Word = [u8; 8];

type Step<T = ()> = Result<T, (LaunchStep, i32)>;

/// Returns only if the program could not be executed.
pub fn run(errand: &mut Errand<'_>) -> c_int {
    let Err(failure) = steps(errand);
    errand.failure = Some(failure);
    if let Call::Later(gate) = errand.call {
        tell(gate, failure);
    }
    127
}

fn tell(gate: c_int, (step, errno): (LaunchStep, i32)) {
    let mut word = Word::default();
    word[0] = step as u8;
    word[4..].copy_from_slice(&errno.to_le_bytes());
    // SAFETY: eight bytes of ours. If nobody listens, nobody needs to know.
    unsafe { libc::send(gate, word.as_ptr().cast(), word.len(), libc::MSG_NOSIGNAL) };
}

/// The order matters: the cgroup first, so that nothing is charged elsewhere; before the wait all that can be done by one
/// whom the workload must not be able to touch, so as root; the folder while we may still enter it; then the user, for
/// good; the signal mask last.
fn steps(errand: &mut Errand<'_>) -> Step<Infallible> {
    enter_cgroups(errand.cgroups)?;
    start_session(errand.slave)?;
    set_limits(errand.max_files, errand.umask)?;
    clear_signals();
    if let Some(identity) = errand.identity {
        join_groups(identity)?;
    }
    // SAFETY: no pointers.
    check(LaunchStep::User, unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    match &mut errand.call {
        Call::Now(..) => leave_descriptors()?,
        Call::Later(gate) => wait_at(*gate)?,
    }
    // SAFETY: a C string of the parent.
    check(LaunchStep::Workdir, unsafe { libc::chdir(errand.cwd) })?;
    if let Call::Now(state, record) = &mut errand.call {
        sign_record(*state, record);
    }
    if let Some(identity) = errand.identity {
        become_user(identity.uid)?;
    }
    unblock_signals();
    failpoint::reach_for_parent(c"keeper.after_fork_before_exec");
    failpoint::reach(c"child.before_exec").map_err(|e| (LaunchStep::Exec, e.raw_os_error().unwrap_or(libc::EIO)))?;
    // SAFETY: null-terminated arrays of C strings of the parent.
    unsafe { libc::execve(errand.program, errand.argv, errand.env) };
    Err((LaunchStep::Exec, sys::last_errno()))
}

/// Marked and not closed: the C library, whose memory is the parent's, may hold one of them until exec.
fn leave_descriptors() -> Step {
    // SAFETY: no pointers.
    check(LaunchStep::Exec, unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as c_int) })
}

/// Until the word comes. Nothing of the parent's is held meanwhile but the gate: its lock, its connections and the
/// terminal of the run that lives are to go when it goes.
fn wait_at(gate: c_int) -> Step {
    let below = gate as u32 - 1;
    let mut word = 0u8;
    // SAFETY: no pointers but one to a byte of ours. The gate is above the first three descriptors.
    unsafe {
        if below >= 3 {
            check(LaunchStep::Exec, libc::close_range(3, below, 0))?;
        }
        check(LaunchStep::Exec, libc::close_range(gate as u32 + 1, u32::MAX, 0))?;
        loop {
            match libc::read(gate, (&raw mut word).cast(), 1) {
                1 => return Ok(()),
                -1 if sys::last_errno() == libc::EINTR => {}
                _ => libc::_exit(0),
            }
        }
    }
}

fn check(step: LaunchStep, result: c_int) -> Step {
    if result < 0 { Err((step, sys::last_errno())) } else { Ok(()) }
}

fn enter_cgroups(files: &[CString]) -> Step {
    files.iter().try_for_each(|file| check(LaunchStep::Cgroup, write_zero(file)))
}

/// `0` means "me" to `cgroup.procs` and `tasks`, and "as usual" to `oom_score_adj`.
fn write_zero(file: &CStr) -> c_int {
    // SAFETY: a C string, one byte, a descriptor of our own.
    unsafe {
        let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return -1;
        }
        let written = libc::write(fd, c"0".as_ptr().cast(), 1);
        let errno = sys::last_errno();
        libc::close(fd);
        if written < 0 {
            *libc::__errno_location() = errno;
        }
        written as c_int
    }
}

fn start_session(slave: c_int) -> Step {
    // SAFETY: no pointers.
    unsafe {
        check(LaunchStep::Session, libc::setsid())?;
        check(LaunchStep::Session, libc::ioctl(slave, libc::TIOCSCTTY, 0))?;
        (0..3).try_for_each(|fd| check(LaunchStep::Session, libc::dup2(slave, fd)))
    }
}

fn set_limits(max_files: u64, umask: u32) -> Step {
    // SAFETY: reads one rlimit.
    let set = |what, limit: &libc::rlimit| unsafe { libc::setrlimit(what, limit) };
    let core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    check(LaunchStep::Limits, set(libc::RLIMIT_CORE, &core))?;
    if set(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: max_files, rlim_max: max_files }) < 0 {
        // More than we may give: then as much as we may.
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes one rlimit.
        check(LaunchStep::Limits, unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut now) })?;
        now.rlim_cur = now.rlim_max.min(max_files);
        check(LaunchStep::Limits, set(libc::RLIMIT_NOFILE, &now))?;
    }
    // SAFETY: cannot fail.
    unsafe { libc::umask(umask as libc::mode_t) };
    // The keeper's protection from the OOM killer is not for the program; without the right to undo it there was none.
    write_zero(c"/proc/self/oom_score_adj");
    Ok(())
}

/// From here on the state file names this process.
fn sign_record(state: StateFile, record: &mut RunRecord) {
    // SAFETY: cannot fail.
    record.pid = unsafe { libc::getpid() };
    record.start_ticks = sys::stat_at(c"/proc/self/stat").map_or(0, |s| s.start_ticks);
    state.write_record(record);
}

fn join_groups(Identity { gid, groups, .. }: &Identity) -> Step {
    // SAFETY: the group list is valid for its length.
    unsafe {
        check(LaunchStep::User, libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) as c_int)?;
        check(LaunchStep::User, libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) as c_int)
    }
}

/// Afterwards it is tried whether root comes back.
fn become_user(uid: u32) -> Step {
    // SAFETY: no pointers.
    unsafe {
        check(LaunchStep::User, libc::syscall(libc::SYS_setresuid, uid, uid, uid) as c_int)?;
        if uid != 0 && libc::syscall(libc::SYS_setuid, 0) == 0 {
            return Err((LaunchStep::User, libc::EPERM));
        }
    }
    Ok(())
}

/// An ignored SIGTERM survives exec, and a JVM that inherits one never stops when asked.
fn clear_signals() {
    // All zero is SIG_DFL without flags in every architecture's struct. The raw call, since the C library refuses to
    // reset the two signals it keeps to itself; the two that cannot be caught are refused by the kernel, which is fine.
    let default = [0u64; 8];
    let set_bytes = size_of::<u64>();
    // SAFETY: the kernel reads one struct; dispositions are the child's own (no CLONE_SIGHAND).
    unsafe {
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), set_bytes);
        }
    }
}

/// The parent blocked all of them before the birth.
fn unblock_signals() {
    let none = 0u64;
    let old = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel reads one set.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, old, size_of::<u64>()) };
}
