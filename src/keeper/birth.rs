//! clone3(2) with a function to run in the child: glibc offers no wrapper, and the system call returns twice.
use std::{
    ffi::{c_int, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `struct clone_args`, version 2 (Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What parent and child have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// It shares our memory, and we sleep until it has executed a program or ended.
    Shared,
    /// It has a copy of our memory, and both go on. An ordinary wait(2) does not know it before it has executed a program:
    /// then the kernel gives it back the signal (SIGCHLD) that it is born without.
    Apart,
}

impl Bond {
    fn flags_and_signal(self) -> (i32, i32) {
        match self {
            Bond::Shared => (libc::CLONE_VM | libc::CLONE_VFORK, libc::SIGCHLD),
            Bond::Apart => (0, 0),
        }
    }
}

/// Runs `entry` in a child that is born in `cgroup`; the child's pid. `Unsupported` where this cannot be done.
///
/// # Safety
/// `stack` must be unused and aligned to 16, `entry` and `argument` fit for a child with this bond.
#[cfg(target_arch = "x86_64")]
pub unsafe fn clone_into(
    cgroup: BorrowedFd<'_>,
    bond: Bond,
    entry: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
    stack: &mut [std::mem::MaybeUninit<u128>],
    pidfd: &mut c_int,
) -> io::Result<i32> {
    let (flags, exit_signal) = bond.flags_and_signal();
    let args = CloneArgs {
        flags: (flags | libc::CLONE_PIDFD) as u64 | CLONE_INTO_CGROUP,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        exit_signal: exit_signal as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: size_of_val(stack) as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    let result: isize;
    // SAFETY: the child begins at the instruction after the first `syscall` on its own stack and never leaves the block;
    // the parent sees a system call that changes rax, rcx, r11 and the memory the caller vouches for.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") &raw const args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") entry,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(result as i32) }
}

/// Other processors: nobody has needed it yet; the child enters its group by writing.
///
/// # Safety
/// None needed.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn clone_into(
    _: BorrowedFd<'_>,
    _: Bond,
    _: extern "C" fn(*mut c_void) -> c_int,
    _: *mut c_void,
    _: &mut [std::mem::MaybeUninit<u128>],
    _: &mut c_int,
) -> io::Result<i32> {
    Err(io::ErrorKind::Unsupported.into())
}
