//! The few system calls that std and nix do not offer, each behind one small safe function.
use std::{
    io::{self, Read},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// What the kernel says about a child that has been reaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    pub pid: i32,
    pub status: WaitStatus,
    pub max_rss_kib: u64,
    pub user_us: u64,
    pub system_us: u64,
}

/// `si_code` and `si_status` of waitid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitStatus {
    pub code: i32,
    pub status: i32,
}

impl WaitStatus {
    fn from_raw(raw: i32) -> WaitStatus {
        if libc::WIFEXITED(raw) {
            return WaitStatus { code: libc::CLD_EXITED, status: libc::WEXITSTATUS(raw) };
        }
        let code = if libc::WCOREDUMP(raw) { libc::CLD_DUMPED } else { libc::CLD_KILLED };
        WaitStatus { code, status: libc::WTERMSIG(raw) }
    }
}

/// Answer of [`reap_one`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Reaped(Reaped),
    /// Children exist and all of them live.
    AllAlive,
    /// There is no child at all.
    NoChildren,
}

/// Reaps any one child that has ended, without waiting.
pub fn reap_one() -> Wait {
    let mut raw = 0;
    // SAFETY: rusage is plain data.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let pid = unsafe { libc::wait4(-1, &mut raw, libc::WNOHANG, &mut usage) };
    match pid {
        0 => Wait::AllAlive,
        1.. => Wait::Reaped(Reaped {
            pid,
            status: WaitStatus::from_raw(raw),
            max_rss_kib: usage.ru_maxrss as u64,
            user_us: micros(usage.ru_utime),
            system_us: micros(usage.ru_stime),
        }),
        _ => Wait::NoChildren,
    }
}

/// Is there any child, alive or not yet reaped?
pub fn has_children() -> bool {
    // SAFETY: siginfo is plain data; WNOWAIT leaves the child as it is.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) == 0
    }
}

fn micros(t: libc::timeval) -> u64 {
    t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64
}

/// Waits for one child that is known to be on its way out, whether it has executed a program or not.
pub fn reap(pid: i32) {
    // SAFETY: no pointers besides a null status.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } < 0 && last_errno() == libc::EINTR {}
}

/// Has this child, born without a signal for its end, not executed a program yet (and maybe ended instead, which is then
/// dealt with)? Exec gives it the usual signal, and those who have that are not looked at here (wait(2), `__WCLONE`).
pub fn is_before_exec(pid: i32) -> bool {
    // SAFETY: no pointers besides a null status.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG | libc::__WCLONE) >= 0 }
}

/// Exit status of a process that need not be our child, once its parent has reaped it (Linux 6.15 and later).
pub fn exit_info(pidfd: BorrowedFd<'_>) -> Option<WaitStatus> {
    // SAFETY: pidfd_info is plain data.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: writes one pidfd_info: its size is part of the ioctl's number.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO as _, &mut info) };
    (done == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0).then(|| WaitStatus::from_raw(info.exit_code))
}

pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Which process a pidfd stands for: -1 once that has been reaped, `None` if it is no pidfd.
pub fn pid_of(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|l| l.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Signals exactly the process the descriptor was opened for, whoever has its number by now.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no siginfo is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null_mut::<libc::siginfo_t>(),
            0,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `poll(2)`; negative descriptors are skipped by the kernel. An interrupted call counts as "nothing yet".
pub fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) {
    let ts = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: t.subsec_nanos().into(),
    });
    // SAFETY: the slice is valid for its length; the timespec outlives the call.
    let ready = unsafe {
        libc::ppoll(
            fds.as_mut_ptr(),
            fds.len() as libc::nfds_t,
            ts.as_ref().map_or(std::ptr::null(), |t| t),
            std::ptr::null(),
        )
    };
    if ready < 0 {
        fds.iter_mut().for_each(|f| f.revents = 0);
    }
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(id, &mut ts) };
    Duration::new(ts.tv_sec as u64, ts.tv_nsec as u32)
}

/// Time since boot, suspend included: the clock of all deadlines here.
pub fn boot_time() -> Duration {
    clock(libc::CLOCK_BOOTTIME)
}

/// Milliseconds since 1970, for people only.
pub fn wall_ms() -> i64 {
    clock(libc::CLOCK_REALTIME).as_millis() as i64
}

pub fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// What the keeper asks of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub zombie: bool,
    pub parent: i32,
    pub start_ticks: u64,
}

/// Reads a stat file without touching the heap (a child between fork and exec asks for its own).
pub fn stat_at(path: &std::ffi::CStr) -> Option<Stat> {
    let mut text = [0u8; 1024];
    // SAFETY: path is a C string; the buffer is ours; the descriptor is closed on every way out.
    let n = unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return None;
        }
        let n = libc::read(fd, text.as_mut_ptr().cast(), text.len());
        libc::close(fd);
        n
    };
    parse_stat(text.get(..usize::try_from(n).ok()?)?)
}

/// The command name may hold spaces and parentheses, so fields count from the last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let close = text.iter().rposition(|b| *b == b')')?;
    let mut fields = text.get(close + 2..)?.split(|b| *b == b' ');
    let zombie = matches!(fields.next()?, b"Z" | b"X");
    let parent = number(fields.next()?)? as i32;
    let start_ticks = number(fields.nth(17)?)?;
    Some(Stat { zombie, parent, start_ticks })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Field 22 of `/proc/<pid>/stat`.
pub fn start_ticks(pid: i32) -> Option<u64> {
    stat_of(pid).map(|s| s.start_ticks)
}

pub fn stat_of(pid: i32) -> Option<Stat> {
    let path = std::ffi::CString::new(format!("/proc/{pid}/stat")).ok()?;
    stat_at(&path)
}

/// This boot's identity.
pub fn boot_id() -> io::Result<[u8; 16]> {
    let mut text = [0u8; 64];
    let n = std::fs::File::open("/proc/sys/kernel/random/boot_id")?.read(&mut text)?;
    let mut id = [0u8; 16];
    let mut digits = text[..n].iter().filter_map(|b| (*b as char).to_digit(16));
    for byte in &mut id {
        let (Some(high), Some(low)) = (digits.next(), digits.next()) else {
            return Err(io::Error::other("/proc/sys/kernel/random/boot_id holds no boot id"));
        };
        *byte = (high << 4 | low) as u8;
    }
    Ok(id)
}

/// A number nobody can guess or repeat.
pub fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: fills at most the eight bytes given.
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if n == 8 { Ok(u64::from_le_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = b"12 (a) b) (c) Z 7 12 12 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99887 1 2\n";
        assert_eq!(parse_stat(line), Some(Stat { zombie: true, parent: 7, start_ticks: 99887 }));
        assert_eq!(parse_stat(b"12 (a"), None);
    }

    #[test]
    fn own_stat_and_boot_id_are_readable() {
        let me = stat_at(c"/proc/self/stat");
        assert_eq!(me, stat_of(std::process::id() as i32));
        assert!(me.is_some_and(|s| !s.zombie && s.start_ticks > 0));
        assert!(boot_id().is_ok_and(|id| id != [0; 16]));
    }

    #[test]
    fn a_raw_status_becomes_code_and_number() {
        assert_eq!(WaitStatus::from_raw(3 << 8), WaitStatus { code: libc::CLD_EXITED, status: 3 });
        assert_eq!(WaitStatus::from_raw(9), WaitStatus { code: libc::CLD_KILLED, status: 9 });
        assert_eq!(WaitStatus::from_raw(11 | 0x80), WaitStatus { code: libc::CLD_DUMPED, status: 11 });
    }
}
