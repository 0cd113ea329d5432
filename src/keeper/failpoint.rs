//! Named points at which a test can end, stop or fail the keeper. Nothing is left of them without the feature.
//!
//! `ZLH_FAIL=<point>:<action>` with the action `kill9` (default), `stop` or `errno`.
use std::io;

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_point: &std::ffi::CStr) -> io::Result<()> {
    Ok(())
}

/// Reached by a child that shares its parent's memory, on behalf of the parent.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach_for_parent(_point: &std::ffi::CStr) {}

#[cfg(feature = "failpoints")]
pub fn reach(point: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: getpid cannot fail.
    act(point, unsafe { libc::getpid() })
}

#[cfg(feature = "failpoints")]
pub fn reach_for_parent(point: &std::ffi::CStr) {
    // SAFETY: getppid cannot fail. An errno would have no one to go to here.
    let _ = act(point, unsafe { libc::getppid() });
}

/// No heap: also called between fork and exec.
#[cfg(feature = "failpoints")]
fn act(point: &std::ffi::CStr, victim: libc::pid_t) -> io::Result<()> {
    // SAFETY: the keeper never changes its environment; the string lives as long as the process.
    let wanted = unsafe {
        let value = libc::getenv(c"ZLH_FAIL".as_ptr());
        if value.is_null() {
            return Ok(());
        }
        std::ffi::CStr::from_ptr(value).to_bytes()
    };
    let Some(rest) = wanted.strip_prefix(point.to_bytes()) else { return Ok(()) };
    let signal = match rest {
        b"" | b":kill9" => libc::SIGKILL,
        b":stop" => libc::SIGSTOP,
        b":errno" => return Err(io::Error::from_raw_os_error(libc::EIO)),
        _ => return Ok(()),
    };
    if victim > 1 {
        // SAFETY: a positive pid: this process or its parent.
        unsafe { libc::kill(victim, signal) };
    }
    Ok(())
}
