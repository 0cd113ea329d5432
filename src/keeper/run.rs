//! One run while the keeper holds it: from launch or adoption until nothing of its tree is left.
use super::{
    input::Input,
    layout::{Progress, RunRecord},
    notes::Notes,
    protocol::Order,
    signals::Leader,
    sys::{self, Reaped, WaitStatus},
    terminal::Terminal,
    tree::Clearing,
};
use std::{
    ffi::OsStr,
    fs::File,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    time::Duration,
};

/// After the main process has ended, the terminal is kept this long without output for whoever still holds it.
const QUIET: Duration = Duration::from_millis(500);
/// How long an adopted run's parent has to reap it before its status counts as unknown.
const GRACE: Duration = Duration::from_millis(500);

/// How the main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Our child: status and resource use are known.
    Reaped(Reaped),
    /// Somebody else's child; the kernel still told its status.
    Told(WaitStatus),
    /// Somebody else's child, and nobody tells.
    Unknown,
}

pub struct Run {
    pub record: RunRecord,
    pub leader: Leader,
    /// `None` once closed: the main process has ended and the terminal was quiet.
    pub terminal: Option<Terminal>,
    pub input: Input,
    pub notes: Notes,
    pub oom: OomCounter,
    /// Taken over from a dead keeper: it is not our child.
    pub adopted: bool,
    /// An order had a signal sent to it: its end is no surprise.
    pub signalled: bool,
    pub clearing: Option<Clearing>,
    /// Descendants that came to us and ended after the main process did.
    pub outlived: u32,
    last_output: Duration,
    /// Adopted only: until when its parent may reap it.
    grace_until: Option<Duration>,
}

impl Run {
    /// Its counter is the one that the record's `oom_before` was read from.
    pub fn launched(record: RunRecord, leader: Leader, terminal: Terminal, notes: Notes, oom: OomCounter) -> Run {
        Run {
            record,
            leader,
            terminal: Some(terminal),
            input: Input::default(),
            notes,
            oom,
            adopted: false,
            signalled: false,
            clearing: None,
            outlived: 0,
            last_output: Duration::ZERO,
            grace_until: None,
        }
    }

    pub fn adopted(record: RunRecord, leader: Leader, terminal: Terminal, notes: Notes) -> Run {
        let oom = OomCounter::open(notes.oom_counter.as_deref());
        Run { adopted: true, ..Run::launched(record, leader, terminal, notes, oom) }
    }

    /// The main process lives.
    pub fn alive(&self) -> bool {
        self.record.progress == Progress::Launched
    }

    /// It has ended by itself, and badly.
    pub fn crashed(&self) -> bool {
        let ended = (self.record.wait_code, self.record.wait_status);
        !self.alive() && !self.signalled && ended != (libc::CLD_EXITED, 0)
    }

    /// Starts to end the whole tree, or goes on with it.
    pub fn clear(&mut self) {
        self.clearing.get_or_insert_with(|| Clearing::new(self.notes.cgroup_kill.clone()));
        self.pass();
    }

    pub fn pass(&mut self) {
        let alive = self.alive();
        let Some(clearing) = &mut self.clearing else { return };
        if !self.adopted {
            clearing.pass(std::process::id() as i32, None);
        } else {
            clearing.pass(self.leader.pid(), alive.then_some(&self.leader));
        }
    }

    /// Completes the record of a main process that has ended; the console must be drained before.
    pub fn finish(&mut self, ending: Ending, log_end: u64) {
        let record = &mut self.record;
        record.progress = if ending == Ending::Unknown { Progress::Vanished } else { Progress::Exited };
        record.ended_boot_ns = sys::boot_time().as_nanos() as u64;
        record.ended_wall_ms = sys::wall_ms();
        record.log_end = log_end;
        record.oom_after = self.oom.read();
        match ending {
            Ending::Reaped(r) => {
                (record.wait_code, record.wait_status) = (r.status.code, r.status.status);
                (record.max_rss_kib, record.user_us, record.system_us) = (r.max_rss_kib, r.user_us, r.system_us);
            }
            Ending::Told(status) => (record.wait_code, record.wait_status) = (status.code, status.status),
            Ending::Unknown => {}
        }
    }

    /// Asks how an adopted main process ended; `None`: wait on until [`Run::due`].
    pub fn adopted_ending(&mut self) -> Option<Ending> {
        if let Some(status) = sys::exit_info(self.leader.pidfd()) {
            return Some(Ending::Told(status));
        }
        let now = sys::boot_time();
        let until = *self.grace_until.get_or_insert(now + GRACE);
        (now >= until).then_some(Ending::Unknown)
    }

    /// True while an adopted run that has ended waits for its parent to reap it.
    pub fn in_grace(&self) -> bool {
        self.grace_until.is_some() && self.alive()
    }

    pub fn heard(&mut self) {
        self.last_output = sys::boot_time();
    }

    /// Lets the terminal go once nothing has come for a while after the end.
    pub fn close_if_quiet(&mut self) {
        if !self.alive() && sys::boot_time() >= self.quiet_at() {
            self.terminal = None;
        }
    }

    fn quiet_at(&self) -> Duration {
        self.last_output.max(Duration::from_nanos(self.record.ended_boot_ns)) + QUIET
    }

    /// When this run next needs attention without being asked; `None` for the whole life of a healthy program.
    pub fn due(&self) -> Option<Duration> {
        let pass = self.clearing.as_ref().map(|c| c.next);
        let grace = self.in_grace().then(|| sys::boot_time() + Duration::from_millis(5));
        let quiet = (!self.alive() && self.terminal.is_some()).then(|| self.quiet_at());
        [pass, grace, quiet].into_iter().flatten().min()
    }
}

/// The `oom_kill` counter of a cgroup, kept open for a run: it is read once more when that has ended, in a hurry.
#[derive(Default)]
pub struct OomCounter(Option<File>);

impl OomCounter {
    pub fn open(file: Option<&[u8]>) -> OomCounter {
        OomCounter(file.and_then(|path| File::open(OsStr::from_bytes(path)).ok()))
    }

    /// `u64::MAX` if it cannot be read.
    pub fn read(&self) -> u64 {
        let read = || {
            let mut text = [0u8; 1024];
            let n = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
            let text = std::str::from_utf8(&text[..n]).ok()?;
            text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.trim().parse().ok())
        };
        read().unwrap_or(u64::MAX)
    }
}

/// The kind number of an order, for refusals.
pub fn kind_of(order: &Order) -> u8 {
    match order {
        Order::Hello { .. } => 1,
        Order::Launch(_) => 2,
        Order::Input { .. } => 3,
        Order::Resize { .. } => 4,
        Order::Signal { .. } => 5,
        Order::GiveFds => 6,
        Order::Adopt { .. } => 7,
        Order::Retire => 8,
        Order::Bell => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oom_counter_is_found_in_both_kinds_of_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("events");
        for text in ["low 0\nhigh 0\nmax 5\noom 1\noom_kill 3\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"] {
            std::fs::write(&file, text).unwrap();
            let counter = OomCounter::open(Some(file.as_os_str().as_bytes()));
            assert_eq!((counter.read(), counter.read()), (3, 3), "from its beginning each time");
        }
        assert_eq!(OomCounter::open(Some(b"/nonexistent")).read(), u64::MAX);
        assert_eq!(OomCounter::open(None).read(), u64::MAX);
    }
}
