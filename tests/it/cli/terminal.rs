//! A program on a pseudo-terminal of its own: what a person would see and type.
use crate::support::eventually_now;
use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::{
        signal::Signal,
        termios::{LocalFlags, tcgetattr},
    },
};
use std::{
    fmt,
    fs::{self, File},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

pub struct Terminal {
    master: OwnedFd,
    keyboard: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts the program as leader of the terminal's session.
    pub fn start(mut command: Command) -> Terminal {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let ends = [slave.try_clone().unwrap(), slave.try_clone().unwrap(), slave].map(Stdio::from);
        let [stdin, stdout, stderr] = ends;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        // SAFETY: both calls are async-signal-safe and touch nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(command); // our copies of the terminal's other end
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, seen) = (File::from(master.try_clone().unwrap()), shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut buffer) {
                seen.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Terminal { keyboard: File::from(master.try_clone().unwrap()), master, child, shown }
    }

    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until the screen has shown this.
    pub fn until(&self, text: &str) {
        let seen = eventually_now(super::PATIENCE, || self.shown().contains(text).then_some(()));
        assert!(seen.is_some(), "{text:?} was never shown in:\n{}", self.shown());
    }

    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.master)
            .unwrap()
            .local_flags
            .intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    pub fn until_raw(&self) {
        let raw = eventually_now(super::PATIENCE, || self.is_raw().then_some(()));
        assert!(raw.is_some(), "never in raw mode:\n{}", self.shown());
    }

    /// As a window manager would; the kernel tells the program by SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, Winsize);
        use std::os::fd::AsRawFd;
        // SAFETY: an open terminal and a whole Winsize.
        unsafe { set_size(self.master.as_raw_fd(), &size) }.unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        assert!(pid > 1);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits for the program's end; the terminal must be as it was before.
    pub fn ended(&mut self) -> ExitStatus {
        let status = eventually_now(super::PATIENCE, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("still running:\n{}", self.shown()));
        let flags = tcgetattr(&self.master).unwrap().local_flags;
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(flags.contains(cooked), "the terminal is left raw: {flags:?}");
        status
    }
}

/// For the failure of a test: does it still run, and what has it shown?
impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_else(|e| e.to_string());
        write!(f, "the program is {stat:?}, its screen:\n{}", self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
