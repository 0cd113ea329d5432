//! A keeper under test: spawned as the agent does it, spoken to in frames, cleaned up whatever happens.
use crate::support::eventually_now;
use memmap2::MmapMut;
use nix::{
    cmsg_space,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};
use std::{
    fs::{File, OpenOptions},
    io::{IoSlice, IoSliceMut},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};
use zlh::keeper::{
    layout::{self, Progress, RunRecord},
    protocol::{self, Launch, Order, Report, Scope},
};

/// Nothing here takes longer, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One connection to a keeper.
pub struct Link {
    socket: UnixStream,
    inbox: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

impl Link {
    pub fn new(socket: UnixStream) -> Link {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Link { socket, inbox: Vec::new(), fds: Vec::new() }
    }

    pub fn connect(dir: &Path) -> Link {
        let here = File::open(dir).unwrap();
        let path = format!("/proc/self/fd/{}/{}", here.as_raw_fd(), layout::SOCKET_FILE);
        Link::new(eventually("the keeper listens", || UnixStream::connect(&path).ok()))
    }

    pub fn send(&self, order: &Order) {
        self.send_with(order, &[]);
    }

    pub fn send_with(&self, order: &Order, fds: &[RawFd]) {
        let bytes = order.encode();
        let rights = [ControlMessage::ScmRights(fds)];
        let along = if fds.is_empty() { &[][..] } else { &rights[..] };
        let mut sent =
            sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&bytes)], along, MsgFlags::MSG_NOSIGNAL, None)
                .unwrap();
        while sent < bytes.len() {
            sent += std::io::Write::write(&mut &self.socket, &bytes[sent..]).unwrap();
        }
    }

    pub fn send_raw(&self, bytes: &[u8]) {
        std::io::Write::write_all(&mut &self.socket, bytes).unwrap();
    }

    pub fn into_socket(self) -> UnixStream {
        self.socket
    }

    /// The next report that is none of a launch; `None` once the connection is closed.
    pub fn next_but_launch(&mut self) -> Option<Report> {
        loop {
            match self.next() {
                Some(Report::Launched { .. }) => {}
                other => return other,
            }
        }
    }

    /// The next report; `None` once the keeper has closed the connection.
    pub fn next(&mut self) -> Option<Report> {
        loop {
            if let Some((kind, payload, length)) = protocol::split(&self.inbox).unwrap() {
                let report = Report::decode(kind, payload).unwrap();
                self.inbox.drain(..length);
                return Some(report);
            }
            let mut chunk = [0u8; 65536];
            let mut space = cmsg_space!([RawFd; 2]);
            let mut into = [IoSliceMut::new(&mut chunk)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            // Other tests in this process have children too, and SIGCHLD ends a timed wait.
            let message = match recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut space), flags) {
                Err(nix::errno::Errno::EINTR) => continue,
                Err(nix::errno::Errno::ECONNRESET) => return None,
                other => other.expect("a report in time"),
            };
            for item in message.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(raw) = item {
                    // SAFETY: just received, so nobody else's.
                    self.fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            let n = message.bytes;
            if n == 0 {
                return None;
            }
            self.inbox.extend_from_slice(&chunk[..n]);
        }
    }

    /// Skips reports until `pick` takes one.
    pub fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Report) -> Option<T>) -> T {
        loop {
            let report = self.next().unwrap_or_else(|| panic!("the keeper hung up before: {what}"));
            if let Some(found) = pick(&report) {
                return found;
            }
            assert!(
                !matches!(report, Report::LaunchFailed { .. } | Report::Refused { .. }),
                "waiting for {what}: {report:?}"
            );
        }
    }

    pub fn hello(&mut self) -> RunRecord {
        self.send(&Order::Hello { version: protocol::VERSION, build: "test".into() });
        self.until("hello", |r| match r {
            Report::Hello { version: 1, record, .. } => Some(RunRecord::decode(record).unwrap()),
            _ => None,
        })
    }

    /// Launches and returns the pid.
    pub fn launch(&mut self, order: Launch) -> i32 {
        let number = order.run;
        self.send(&Order::Launch(Box::new(order)));
        self.until("launched", |r| match r {
            Report::Launched { run, pid, .. } if *run == number => Some(*pid),
            _ => None,
        })
    }

    pub fn launch_fails(&mut self, order: Launch) -> (protocol::LaunchStep, i32) {
        self.send(&Order::Launch(Box::new(order)));
        self.until("launch failed", |r| match r {
            Report::LaunchFailed { step, errno, .. } => Some((protocol::LaunchStep::from_u8(*step).unwrap(), *errno)),
            _ => None,
        })
    }

    pub fn exited(&mut self) -> RunRecord {
        self.until("exited", |r| match r {
            Report::Exited { record, .. } => Some(RunRecord::decode(record).unwrap()),
            _ => None,
        })
    }

    pub fn tree_empty(&mut self, number: u64) -> u32 {
        self.until("tree empty", |r| match r {
            Report::TreeEmpty { run, killed } if *run == number => Some(*killed),
            _ => None,
        })
    }

    pub fn input(&mut self, bytes: &[u8]) -> u64 {
        self.send(&Order::Input { seq: 77, bytes: bytes.to_vec() });
        self.until("input taken", |r| match r {
            Report::InputTaken { seq: 77, accepted } => Some(*accepted),
            _ => None,
        })
    }

    pub fn signal(&self, run: u64, signal: i32, scope: Scope) {
        self.send(&Order::Signal { run, signal, scope });
    }

    pub fn refused(&mut self) -> String {
        loop {
            match self.next().expect("a refusal") {
                Report::Refused { reason, .. } => return reason,
                _ => continue,
            }
        }
    }
}

/// Keeper process, its folder and the connection it was born with.
pub struct Bench {
    pub home: tempfile::TempDir,
    pub keeper: Child,
    pub link: Link,
    last_run: u64,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::in_folder(tempfile::tempdir().unwrap())
    }

    pub fn in_folder(home: tempfile::TempDir) -> Bench {
        std::fs::create_dir_all(home.path().join("k")).unwrap();
        let (keeper, link) = spawn(&home.path().join("k"), &[]);
        Bench { home, keeper, link, last_run: 0 }
    }

    pub fn dir(&self) -> PathBuf {
        self.home.path().join("k")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.home.path().join("log")
    }

    /// A launch of `sh -c script` with everything else as usual.
    pub fn shell(&mut self, script: &str) -> Launch {
        self.last_run += 1;
        Launch {
            run: self.last_run,
            program: b"/bin/sh".to_vec(),
            argv: vec![b"sh".to_vec(), b"-c".to_vec(), script.as_bytes().to_vec()],
            env: vec![b"PATH=/usr/bin:/bin".to_vec(), b"LANG=C.UTF-8".to_vec()],
            cwd: b"/".to_vec(),
            columns: 200,
            rows: 50,
            raw: true,
            umask: 0o027,
            max_files: 4096,
            log_dir: self.log_dir().as_os_str().as_bytes().to_vec(),
            log_bytes: 1 << 20,
            ..Launch::default()
        }
    }

    pub fn python(&mut self, script: &str) -> Launch {
        let mut order = self.shell("");
        order.program = b"/usr/bin/python3".to_vec();
        order.argv = vec![b"python3".to_vec(), b"-c".to_vec(), script.as_bytes().to_vec()];
        order
    }

    /// Runs a script to its end; its record and all it wrote.
    pub fn run(&mut self, order: Launch) -> (RunRecord, String) {
        let number = order.run;
        self.link.launch(order);
        let record = self.link.exited();
        self.link.tree_empty(number);
        (record, self.written(&record))
    }

    pub fn console(&self) -> Console {
        Console::open(&self.dir())
    }

    pub fn written(&self, record: &RunRecord) -> String {
        String::from_utf8_lossy(&self.console().read(record.log_start, record.log_end)).into_owned()
    }

    /// Waits until the current run has written `text`.
    pub fn wait_for(&self, text: &str) {
        let console = self.console();
        eventually(text, || console.text().contains(text).then_some(()));
    }

    /// Ends the keeper as a bug or the OOM killer would.
    pub fn kill_keeper(&mut self) {
        self.keeper.kill().unwrap();
        self.keeper.wait().unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.keeper.try_wait().ok().flatten().is_none() {
            let _ = self.link.socket.set_read_timeout(Some(Duration::from_secs(5)));
            // A connection of its own: the test may have broken the first one.
            if let Some(run) =
                self.console().record().filter(|r| r.progress == Progress::Launched && alive(r.pid)).map(|r| r.run)
                && !std::thread::panicking()
            {
                let mut link = Link::connect(&self.dir());
                link.signal(run, 9, Scope::Tree);
                link.tree_empty(run);
            }
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
    }
}

/// Starts a keeper with one end of a socketpair as descriptor 3.
pub fn spawn(dir: &Path, env: &[(&str, &str)]) -> (Child, Link) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = command(dir, Some(theirs.as_raw_fd())).envs(env.iter().copied()).spawn().unwrap();
    (child, Link::new(ours))
}

pub fn command(dir: &Path, fd3: Option<RawFd>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zlh"));
    command.arg("keeper").arg("--dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: async-signal-safe calls only.
    unsafe {
        command.pre_exec(move || {
            if let Some(fd) = fd3
                && libc::dup2(fd, 3) < 0
            {
                return Err(std::io::Error::last_os_error());
            }
            // The worst that an agent may hand down: ignored and blocked signals, a stray descriptor.
            libc::signal(libc::SIGTERM, libc::SIG_IGN);
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            libc::dup2(0, 77);
            Ok(())
        });
    }
    command
}

/// The state file as the agent reads it.
pub struct Console {
    map: MmapMut,
}

impl Console {
    pub fn open(dir: &Path) -> Console {
        let file = eventually("a state file", || {
            let file = OpenOptions::new().read(true).write(true).open(dir.join(layout::STATE_FILE)).ok()?;
            (file.metadata().ok()?.len() == layout::FILE_BYTES as u64).then_some(file)
        });
        // SAFETY: shared on purpose; all that changes is read as atomics or checked by a sum.
        Console { map: unsafe { MmapMut::map_mut(&file).unwrap() } }
    }

    pub fn word(&self, at: usize) -> u64 {
        // SAFETY: aligned by the layout and inside the mapping.
        unsafe { AtomicU64::from_ptr(self.map.as_ptr().add(at).cast_mut().cast()) }.load(Ordering::SeqCst)
    }

    pub fn head(&self) -> u64 {
        self.word(layout::AT_HEAD)
    }

    pub fn ring_doorbell(&self) {
        // SAFETY: aligned by the layout and inside the mapping.
        unsafe { AtomicU32::from_ptr(self.map.as_ptr().add(layout::AT_DOORBELL).cast_mut().cast()) }
            .store(1, Ordering::SeqCst);
    }

    /// What the agent writes there: this run may follow, or none.
    pub fn permit(&self, run: u64) {
        // SAFETY: aligned by the layout and inside the mapping.
        unsafe { AtomicU64::from_ptr(self.map.as_ptr().add(layout::AT_PERMIT).cast_mut().cast()) }
            .store(run, Ordering::SeqCst);
    }

    /// Bytes `from..to` of the ring, without asking whether they are still whole.
    pub fn read(&self, from: u64, to: u64) -> Vec<u8> {
        (from..to).map(|o| self.map[layout::PAGE + (o % layout::RING_BYTES as u64) as usize]).collect()
    }

    /// As the layout says it must be done: (offset of the first byte, bytes).
    pub fn read_checked(&self, from: u64) -> (u64, Vec<u8>) {
        let head = self.head();
        let start = from.max(head.saturating_sub(layout::RING_BYTES as u64)).max(self.word(layout::AT_RING_START));
        let mut bytes = vec![0u8; (head - start) as usize];
        let at = (start % layout::RING_BYTES as u64) as usize;
        let first = bytes.len().min(layout::RING_BYTES - at);
        bytes[..first].copy_from_slice(&self.map[layout::PAGE + at..layout::PAGE + at + first]);
        let rest = bytes.len() - first;
        bytes[first..].copy_from_slice(&self.map[layout::PAGE..layout::PAGE + rest]);
        let safe = (self.head() + layout::WRITE_AHEAD as u64).saturating_sub(layout::RING_BYTES as u64).max(start);
        let cut = ((safe - start) as usize).min(bytes.len());
        (start + cut as u64, bytes.split_off(cut))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.read_checked(0).1).into_owned()
    }

    /// The newest record.
    pub fn record(&self) -> Option<RunRecord> {
        (0..2)
            .filter_map(|parity| RunRecord::decode(&self.map[layout::slot(parity)..]))
            .filter(|r| r.progress != Progress::Empty)
            .max_by_key(|r| r.run)
    }
}

/// Polls until there is something, without a fixed wait.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_now(PATIENCE, look).unwrap_or_else(|| panic!("never: {what}"))
}

/// Sends `signal` to exactly this process.
pub fn send(pid: i32, signal: i32) {
    assert!(pid > 1, "{pid} means more than one process");
    let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// A field of `/proc/<pid>/status`, trimmed.
pub fn status_field(pid: i32, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).map(|v| v.trim().to_string())
}

/// Alive, that is: there and not a zombie.
pub fn alive(pid: i32) -> bool {
    status_field(pid, "State").is_some_and(|s| !s.starts_with(['Z', 'X']))
}

/// Processes whose command line contains `mark`, zombies excluded.
pub fn marked(mark: &str) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| String::from_utf8_lossy(&env).contains(mark))
        })
        .collect()
}

/// Segments of a log folder, oldest first.
pub fn segments(dir: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut found: Vec<(u64, Vec<u8>)> = std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|e| {
            let name = e.file_name().into_string().unwrap();
            (name.strip_suffix(".log").unwrap().parse().unwrap(), std::fs::read(e.path()).unwrap())
        })
        .collect();
    found.sort();
    found
}
