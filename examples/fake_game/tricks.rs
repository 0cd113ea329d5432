//! The bad ends and bad habits of the fake game. Everything that needs `unsafe` or raw system calls is here.
use crate::{
    console::{Flood, Style},
    flags::Close,
};
use std::{
    fs,
    io::{self, Write},
    os::fd::IntoRawFd,
    thread,
    time::{Duration, Instant},
};

/// What a Java server prints when a mod breaks it.
pub const STACK_TRACE: &str = "\
[Server thread/ERROR]: Encountered an unexpected exception
java.lang.NullPointerException: Cannot invoke \"net.minecraft.world.World.tick()\" because \"this.world\" is null
\tat com.example.fakemod.FakeMod.onTick(FakeMod.java:42) ~[fakemod-1.2.3.jar:?]
\tat net.minecraft.server.MinecraftServer.run(MinecraftServer.java:699) ~[server.jar:?]
\tat java.base/java.lang.Thread.run(Thread.java:1583) [?:?]
";

/// Ends this process by a signal, as if it had happened to it.
pub fn die_by(signal: i32) -> ! {
    // SAFETY: plain system calls without memory; the default action first, because the runtime catches SIGSEGV.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::process::abort() // raise of a fatal signal with its default action does not return
}

pub fn ignore_stop_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: sets a disposition, no handler runs.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Blocks SIGTERM in this thread and all it starts later; [`wait_for_term`] takes it instead.
pub fn hold_term() {
    term_set(|set| {
        // SAFETY: `set` is an initialised signal set.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, std::ptr::null_mut()) };
    });
}

/// Returns when SIGTERM has come.
pub fn wait_for_term() {
    term_set(|set| {
        let mut got = 0;
        // SAFETY: `set` is an initialised signal set and `got` outlives the call.
        while unsafe { libc::sigwait(set, &mut got) } != 0 {}
    });
}

fn term_set(with: impl FnOnce(&libc::sigset_t)) {
    // SAFETY: a signal set is plain data, and sigemptyset initialises it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writing.
    unsafe {
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
    }
    with(&set);
}

/// Sleeps for ever, in a process that has nothing left to do.
fn pause_for_ever() -> ! {
    loop {
        // SAFETY: no memory involved; safe after fork.
        unsafe { libc::pause() };
    }
}

/// Runs `child` in a forked process and returns its pid. `child` may only make async-signal-safe calls.
fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the child only makes system calls and leaves by _exit: no lock of another thread is touched.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: see above.
        0 => unsafe { libc::_exit(child()) },
        pid => Ok(pid),
    }
}

/// Starts `count` children that live until they are killed.
pub fn fork_children(count: u32) -> io::Result<()> {
    for _ in 0..count {
        fork(|| pause_for_ever())?;
    }
    Ok(())
}

/// A daemon: own session, no terminal, no parent.
pub fn daemonize_child() -> io::Result<()> {
    let null = null()?;
    orphan(move || {
        // SAFETY: system calls on descriptors that are open.
        unsafe {
            libc::setsid();
            for fd in 0..3 {
                libc::dup2(null, fd);
            }
        }
    })
}

/// A grandchild without a living parent that keeps the terminal open.
pub fn leave_grandchild_on_tty() -> io::Result<()> {
    orphan(|| {
        // SAFETY: sets a disposition.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    })
}

/// Forks twice; the grandchild prepares itself and stays, the child in between is reaped at once.
fn orphan(prepare: impl FnOnce()) -> io::Result<()> {
    let between = fork(|| {
        prepare();
        i32::from(fork(|| pause_for_ever()).is_err())
    })?;
    let mut status = 0;
    // SAFETY: `between` is our own child, `status` outlives the call.
    match unsafe { libc::waitpid(between, &mut status, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ if status != 0 => Err(io::Error::other("the second fork failed")),
        _ => Ok(()),
    }
}

fn null() -> io::Result<i32> {
    Ok(fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into_raw_fd())
}

/// Gives up standard streams. They become /dev/null rather than closed, so no later file gets their number.
pub fn give_up(close: Close) -> io::Result<()> {
    let fds = match close {
        Close::Nothing => return Ok(()),
        Close::Output => 1..3,
        Close::Terminal => 0..3,
    };
    let null = null()?;
    for fd in fds {
        // SAFETY: both descriptors are open.
        if unsafe { libc::dup2(null, fd) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Takes and touches memory at this rate, for ever.
pub fn eat_memory(megabytes_per_second: u64) -> ! {
    let (started, mut eaten) = (Instant::now(), Vec::new());
    loop {
        let due = started.elapsed().as_millis() as u64 * megabytes_per_second / 1000;
        while (eaten.len() as u64) <= due {
            eaten.push(vec![1u8; 1_000_000]);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Writes the flood to `out`; ends early, and without a word, when nobody can read it any more.
pub fn flood(flood: Flood, out: &mut impl Write) -> io::Result<()> {
    let (started, mut written, mut number) = (Instant::now(), 0, 0u64);
    while written < flood.bytes {
        let mut block = Vec::with_capacity(8192);
        while block.len() < 8000 {
            number += 1;
            piece(flood.style, number, &mut block);
        }
        block.truncate((flood.bytes - written) as usize);
        out.write_all(&block)?;
        written += block.len() as u64;
        if let Some(rate) = flood.rate {
            let due = Duration::from_secs_f64(written as f64 / rate as f64);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    out.flush()
}

/// 100 bytes of this style.
fn piece(style: Style, number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    match style {
        Style::Lines => out.extend_from_slice(format!("[Server thread/INFO]: flood {number:012} ").as_bytes()),
        Style::OneLine => out.extend_from_slice(format!("{number:012} ").as_bytes()),
        Style::Binary => out.extend_from_slice(&[0, 0xFF, 0xC3, 0x28, 0xED, 0xA0, 0x80, 0x1A, 0x03, 0x13]),
        Style::Ansi => out.extend_from_slice(b"\x1b[9999999C\x1b[31;1m\x1b[2J\x1b]0;title without an end "),
    }
    out.resize(start + 99, b'.');
    out.push(if style == Style::OneLine { b'.' } else { b'\n' });
}

/// uid, gid, working directory and terminal size: what a supervisor must have set right.
pub fn info() -> String {
    // SAFETY: no memory involved.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` outlives the call.
    let tty = unsafe { libc::ioctl(0, libc::TIOCGWINSZ, &mut size) } == 0;
    let cwd = std::env::current_dir().map_or_else(|e| e.to_string(), |d| d.display().to_string());
    let terminal = if tty { format!("{}x{}", size.ws_col, size.ws_row) } else { "none".into() };
    format!("pid={} uid={uid} gid={gid} cwd={cwd} terminal={terminal}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, style: Style) -> Vec<u8> {
        let mut out = Vec::new();
        flood(Flood { style, ..crate::console::parse_flood(text).unwrap() }, &mut out).unwrap();
        out
    }

    #[test]
    fn a_flood_is_exactly_as_long_as_asked_and_always_the_same() {
        for style in [Style::Lines, Style::OneLine, Style::Binary, Style::Ansi] {
            let bytes = written("0.123456", style);
            assert_eq!(bytes.len(), 123_456);
            assert_eq!(bytes, written("0.123456", style));
        }
    }

    #[test]
    fn flood_lines_are_numbered_and_a_hundred_bytes_long() {
        let bytes = written("0.02", Style::Lines);
        let lines: Vec<_> = bytes.chunks(100).collect();
        assert!(lines.iter().all(|l| l.ends_with(b"\n") && l.iter().filter(|b| **b == b'\n').count() == 1));
        assert!(lines[199].starts_with(b"[Server thread/INFO]: flood 000000000200 "));
        assert!(!written("0.02", Style::OneLine).contains(&b'\n'));
    }
}
