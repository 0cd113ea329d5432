//! From a launch order to a running program.
//!
//! The child shares our memory until it has executed the program (`CLONE_VM | CLONE_VFORK`, as posix_spawn does): no
//! page table is copied, a failure is simply written where we read it, and the child itself writes its record before
//! exec, so at no instant does a program run that no record names. It makes only async-signal-safe calls and takes
//! nothing from the heap. We are suspended meanwhile. Once it has changed its user the kernel lets nobody but root trace
//! or read this memory (PR_SET_DUMPABLE falls with the credentials), so a workload never sees into its keeper.
use super::{
    birth::{self, Bond},
    cgroups::Entrance,
    child::{self, Call, Errand},
    failpoint,
    layout::RunRecord,
    protocol::{Identity, Launch, LaunchStep},
    signals::Leader,
    state_file::StateFile,
    sys,
    terminal::{Terminal, errno_of},
};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::{
    ffi::{CString, c_char, c_void},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

/// Enough for the child's few frames and exec's own.
const STACK_BYTES: usize = 64 << 10;

/// Why the program never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub step: LaunchStep,
    pub errno: i32,
}

impl Failure {
    pub fn at(step: LaunchStep) -> impl Fn(io::Error) -> Failure {
        move |e| Failure { step, errno: errno_of(&e) }
    }
}

/// Sets up the run's terminal, on `spare` if one is open already.
pub fn open_terminal(order: &Launch, spare: Option<Terminal>) -> Result<Terminal, Failure> {
    let set_up = || -> io::Result<Terminal> {
        let terminal = spare.map_or_else(Terminal::open, Ok)?;
        terminal.set_mode(order.raw)?;
        terminal.resize(order.columns, order.rows)?;
        if let Some(Identity { uid, gid, .. }) = order.identity {
            terminal.give_to(uid, gid)?;
        }
        failpoint::reach(c"keeper.after_pty")?;
        Ok(terminal)
    };
    set_up().map_err(Failure::at(LaunchStep::Terminal))
}

/// Starts the program; `record` then names it, in memory and in the state file.
pub fn launch(
    order: &Launch,
    entrance: &Entrance,
    terminal: &Terminal,
    state: StateFile,
    record: &mut RunRecord,
) -> Result<Leader, Failure> {
    let words = Words::of(order).ok_or(Failure { step: LaunchStep::Exec, errno: libc::EINVAL })?;
    let mut errand = words.errand(order, terminal, Call::Now(state, record));
    let (pid, pidfd) = run(&mut errand, entrance).map_err(Failure::at(LaunchStep::Fork))?;
    if let Some((step, errno)) = errand.failure {
        sys::reap(pid);
        return Err(Failure { step, errno });
    }
    Leader::new(pid, pidfd).ok_or(Failure { step: LaunchStep::Fork, errno: libc::ESRCH })
}

/// A child with a copy of our memory, born where the run will be, that goes up to the point where the program is to be
/// executed and waits there for a byte from `gate`. `None` where no child is born in its cgroup: moving it would cost more
/// than is gained.
pub fn make_ahead(order: &Launch, entrance: &Entrance, terminal: &Terminal, gate: &OwnedFd) -> Option<(i32, OwnedFd)> {
    let words = Words::of(order)?;
    let mut errand = words.errand(order, terminal, Call::Later(gate.as_raw_fd()));
    let born = clone(|stack, pidfd| {
        be_born_inside(&mut errand, entrance, Bond::Apart, stack, pidfd).ok_or(io::ErrorKind::Unsupported.into())
    });
    born.ok()
}

/// Clones the child and returns once it has executed its program or given up.
fn run<'a>(errand: &mut Errand<'a>, entrance: &'a Entrance) -> io::Result<(i32, OwnedFd)> {
    clone(|stack, pidfd| match be_born_inside(errand, entrance, Bond::Shared, stack, pidfd) {
        Some(pid) => Ok(pid),
        None => {
            errand.cgroups = &entrance.doors;
            be_born(errand, stack, pidfd)
        }
    })
}

/// With a stack for the child and all signals blocked: none may run a handler of ours in it.
fn clone(birth: impl FnOnce(&mut Stack, &mut i32) -> io::Result<i32>) -> io::Result<(i32, OwnedFd)> {
    // Room only: zeroing it would touch pages that nobody needs.
    let mut stack: Vec<u128> = Vec::with_capacity(STACK_BYTES / size_of::<u128>());
    let mut pidfd: libc::c_int = -1;
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let outcome = birth(stack.spare_capacity_mut(), &mut pidfd);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    // SAFETY: the kernel stored a descriptor that only we own; only used when the clone succeeded.
    outcome.map(|pid| (pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

extern "C" fn entry(errand: *mut c_void) -> libc::c_int {
    // SAFETY: the errand outlives the child's use of our memory: we are suspended until then, or it has its own.
    child::run(unsafe { &mut *errand.cast::<Errand<'_>>() })
}

type Stack = [MaybeUninit<u128>];

/// `None`: there is no such place, or this kernel has no such birth; then nothing has happened.
fn be_born_inside(
    errand: &mut Errand<'_>,
    way: &Entrance,
    bond: Bond,
    stack: &mut Stack,
    pidfd: &mut i32,
) -> Option<i32> {
    let place = way.birthplace.as_ref()?;
    // SAFETY: the stack is ours alone and aligned, and `entry` is made for a child that shares or copies our memory.
    unsafe { birth::clone_into(place.as_fd(), bond, entry, ptr::from_mut(errand).cast(), stack, pidfd) }.ok()
}

fn be_born(errand: &mut Errand<'_>, stack: &mut Stack, pidfd: &mut i32) -> io::Result<i32> {
    // SAFETY: as above; this stack grows down from one past its end.
    let pid = unsafe {
        libc::clone(
            entry,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD,
            ptr::from_mut(errand).cast(),
            ptr::from_mut(pidfd),
        )
    };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// All strings of a launch as C wants them.
struct Words {
    program: CString,
    cwd: CString,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// What `argv` and `env` point into.
    _owned: Vec<CString>,
}

impl Words {
    /// `None` if a string holds a NUL.
    fn of(order: &Launch) -> Option<Words> {
        let c = |bytes: &Vec<u8>| CString::new(bytes.as_slice()).ok();
        let list = |items: &[Vec<u8>]| items.iter().map(c).collect::<Option<Vec<CString>>>();
        let argv = if order.argv.is_empty() { vec![c(&order.program)?] } else { list(&order.argv)? };
        let env = list(&order.env)?;
        let pointers = |items: &[CString]| items.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Some(Words {
            program: c(&order.program)?,
            cwd: c(&order.cwd)?,
            argv: pointers(&argv),
            env: pointers(&env),
            _owned: argv.into_iter().chain(env).collect(),
        })
    }

    fn errand<'a>(&'a self, order: &'a Launch, terminal: &Terminal, call: Call<'a>) -> Errand<'a> {
        Errand {
            program: self.program.as_ptr(),
            argv: self.argv.as_ptr(),
            env: self.env.as_ptr(),
            cwd: self.cwd.as_ptr(),
            cgroups: &[],
            identity: order.identity.as_ref(),
            slave: terminal.slave().as_raw_fd(),
            umask: order.umask,
            max_files: order.max_files,
            call,
            failure: None,
        }
    }
}
