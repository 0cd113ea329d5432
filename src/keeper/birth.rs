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

/// As `clone(entry, stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, argument)`, but born in `cgroup`. Returns the
/// child's pid once it has executed a program or ended; `Unsupported` where this cannot be done.
///
/// # Safety
/// `stack` must be unused and aligned to 16, `entry` and `argument` fit for a child that shares this memory.
#[cfg(target_arch = "x86_64")]
pub unsafe fn clone_into(
    cgroup: BorrowedFd<'_>,
    entry: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
    stack: &mut [std::mem::MaybeUninit<u128>],
    pidfd: &mut c_int,
) -> io::Result<i32> {
    let args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64 | CLONE_INTO_CGROUP,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
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
    _: extern "C" fn(*mut c_void) -> c_int,
    _: *mut c_void,
    _: &mut [std::mem::MaybeUninit<u128>],
    _: &mut c_int,
) -> io::Result<i32> {
    Err(io::ErrorKind::Unsupported.into())
}
