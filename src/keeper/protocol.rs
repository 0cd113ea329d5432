//! Keeper protocol, version 1: what agent and keeper say to each other over one Unix stream socket. Frozen.
//!
//! A frame is `kind u8, 0 u8, 0 u16, length u32` and that many bytes of payload, all little-endian. A payload is a
//! list of `tag u16, length u32, bytes`; unknown tags are skipped and unknown kinds answered with `Refused`, which is
//! how later versions may grow: kinds and tags are only ever added. Each keeper serves one agent at a time: a newer
//! connection replaces the older one. The console's bytes do not travel here: see [`super::layout`].

use std::fmt;

pub const VERSION: u16 = 1;
pub const HEADER_BYTES: usize = 8;
/// Largest payload either side accepts.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Who a signal is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// The main process alone; SIGCONT follows, so that a stopped process hears it.
    Leader = 0,
    /// Its process group.
    Group = 1,
    /// SIGKILL for every descendant, until none is left (the signal number is ignored).
    Tree = 2,
}

/// Everything the keeper needs for one run. It knows no defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    pub run: u64,
    /// Absolute path of the program.
    pub program: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    /// `KEY=value` each.
    pub env: Vec<Vec<u8>>,
    pub cwd: Vec<u8>,
    /// `None`: keep the keeper's own (an agent that is not root).
    pub identity: Option<Identity>,
    pub columns: u16,
    pub rows: u16,
    /// ICANON, ECHO, ISIG, IXON and ONLCR off (games); else the terminal's usual ways (shells).
    pub raw: bool,
    pub umask: u32,
    pub max_files: u64,
    /// `cgroup.procs`/`tasks` files of the groups the child must be in before it runs the program.
    pub cgroup_procs: Vec<Vec<u8>>,
    /// `cgroup.kill` (v2) of the workload's cgroup, if there is one.
    pub cgroup_kill: Option<Vec<u8>>,
    /// File that holds an `oom_kill N` line (v2 memory.events, v1 memory.oom_control).
    pub oom_counter: Option<Vec<u8>>,
    /// Folder of console segments, and how many bytes they may hold in all.
    pub log_dir: Vec<u8>,
    pub log_bytes: u64,
    /// What outlives the main process is let live, and the next run is launched beside it. Absent in older orders.
    pub leave_rest: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Agent → keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Hello {
        version: u16,
        build: String,
    },
    /// Only while no run is alive. Answered by `Launched` or `LaunchFailed`.
    Launch(Box<Launch>),
    /// Bytes for the PTY; answered by `InputTaken` once all are written or the run has ended.
    Input {
        seq: u64,
        bytes: Vec<u8>,
    },
    Resize {
        columns: u16,
        rows: u16,
    },
    Signal {
        run: u64,
        signal: i32,
        scope: Scope,
    },
    /// Answered by `Fds` with a duplicate of the PTY master and the child's pidfd as SCM_RIGHTS.
    GiveFds,
    /// Take over a run whose keeper died: PTY master and pidfd come with it as SCM_RIGHTS.
    Adopt {
        run: u64,
        pid: i32,
        start_ticks: u64,
    },
    /// Leave if no run is alive.
    Retire,
    /// An eventfd(2) comes with it as SCM_RIGHTS. From now on it is rung where a `Head` would be sent: for each line that
    /// is cheaper by half, and nobody has to read it.
    Bell,
}

/// Keeper → agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// First frame after `Order::Hello`: who the keeper is, and the run it holds or the last one that ended. An empty
    /// record if there is neither, also where a lost keeper left a run that was not given to this one.
    Hello {
        version: u16,
        build: String,
        pid: i32,
        record: Vec<u8>,
    },
    Launched {
        run: u64,
        pid: i32,
        start_ticks: u64,
        boot_ns: u64,
        wall_ms: i64,
    },
    /// The program never ran. `step` is one of [`LaunchStep`]'s numbers.
    LaunchFailed {
        run: u64,
        step: u8,
        errno: i32,
    },
    InputTaken {
        seq: u64,
        accepted: u64,
    },
    /// The console has grown since the doorbell was set.
    Head,
    /// The main process ended; an encoded [`super::layout::RunRecord`]. `alone`: nothing outlived it, so a launch order
    /// finds the keeper free; the `TreeEmpty` that says so too follows. `next`: the run that follows it by the agent's permit
    /// (see [`super::layout::AT_PERMIT`]); the answer to its launch follows, too.
    Exited {
        record: Vec<u8>,
        alone: bool,
        next: Option<u64>,
    },
    /// No descendant is left; `killed` of them had outlived the main process.
    TreeEmpty {
        run: u64,
        killed: u32,
    },
    Fds {
        run: u64,
    },
    Refused {
        kind: u8,
        reason: String,
    },
}

/// Where a launch failed, for the sentence a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LaunchStep {
    Terminal = 1,
    Fork = 2,
    Cgroup = 3,
    Session = 4,
    Limits = 5,
    Workdir = 6,
    User = 7,
    Exec = 8,
    Busy = 9,
}

impl LaunchStep {
    pub fn from_u8(v: u8) -> Option<LaunchStep> {
        use LaunchStep::*;
        [Terminal, Fork, Cgroup, Session, Limits, Workdir, User, Exec, Busy].into_iter().find(|s| *s as u8 == v)
    }
}

impl fmt::Display for LaunchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LaunchStep::Terminal => "open a terminal",
            LaunchStep::Fork => "create a process",
            LaunchStep::Cgroup => "enter the workload's cgroup",
            LaunchStep::Session => "start a session",
            LaunchStep::Limits => "set resource limits",
            LaunchStep::Workdir => "enter the working directory",
            LaunchStep::User => "change to the workload's user",
            LaunchStep::Exec => "execute the program",
            LaunchStep::Busy => "start while the last run still lives",
        })
    }
}

/// A frame that cannot be understood; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    TooLong(usize),
    Truncated,
    UnknownKind(u8),
    MissingField(u16),
    BadField(u16),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::TooLong(n) => write!(f, "frame of {n} bytes, more than {MAX_PAYLOAD}"),
            Malformed::Truncated => f.write_str("frame ends inside a field"),
            Malformed::UnknownKind(k) => write!(f, "unknown frame kind {k}"),
            Malformed::MissingField(t) => write!(f, "field {t} is missing"),
            Malformed::BadField(t) => write!(f, "field {t} has the wrong length or value"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Kind, payload, and how many bytes the frame took in all.
pub type Frame<'a> = (u8, &'a [u8], usize);

/// Takes one whole frame off the front of `bytes`: its kind, its payload and the bytes it took. `None`: not all there yet.
pub fn split(bytes: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if len > MAX_PAYLOAD {
        return Err(Malformed::TooLong(len));
    }
    Ok(bytes.get(HEADER_BYTES..HEADER_BYTES + len).map(|payload| (head[0], payload, HEADER_BYTES + len)))
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8) -> Writer {
        Writer(vec![kind, 0, 0, 0, 0, 0, 0, 0])
    }

    fn put(mut self, tag: u16, bytes: &[u8]) -> Writer {
        self.0.extend_from_slice(&tag.to_le_bytes());
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    fn int(self, tag: u16, v: i64) -> Writer {
        self.put(tag, &v.to_le_bytes())
    }

    fn each(self, tag: u16, list: &[Vec<u8>]) -> Writer {
        list.iter().fold(self, |w, b| w.put(tag, b))
    }

    fn maybe(self, tag: u16, v: &Option<Vec<u8>>) -> Writer {
        match v {
            Some(b) => self.put(tag, b),
            None => self,
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let len = (self.0.len() - HEADER_BYTES) as u32;
        self.0[4..8].copy_from_slice(&len.to_le_bytes());
        self.0
    }
}

struct Fields<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Fields<'a> {
    fn parse(mut payload: &'a [u8]) -> Result<Fields<'a>, Malformed> {
        let mut out = Vec::new();
        while !payload.is_empty() {
            let head = payload.first_chunk::<6>().ok_or(Malformed::Truncated)?;
            let tag = u16::from_le_bytes([head[0], head[1]]);
            let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
            let body = payload.get(6..6 + len).ok_or(Malformed::Truncated)?;
            out.push((tag, body));
            payload = &payload[6 + len..];
        }
        Ok(Fields(out))
    }

    fn find(&self, tag: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(t, _)| *t == tag).map(|(_, b)| *b)
    }

    fn bytes(&self, tag: u16) -> Result<Vec<u8>, Malformed> {
        self.find(tag).map(<[u8]>::to_vec).ok_or(Malformed::MissingField(tag))
    }

    fn text(&self, tag: u16) -> Result<String, Malformed> {
        String::from_utf8(self.bytes(tag)?).map_err(|_| Malformed::BadField(tag))
    }

    fn int<T: TryFrom<i64>>(&self, tag: u16) -> Result<T, Malformed> {
        let b = self.find(tag).ok_or(Malformed::MissingField(tag))?;
        let v = i64::from_le_bytes(b.try_into().map_err(|_| Malformed::BadField(tag))?);
        T::try_from(v).map_err(|_| Malformed::BadField(tag))
    }

    /// All 64 bits: counters that may exceed i64.
    fn bits(&self, tag: u16) -> Result<u64, Malformed> {
        self.int::<i64>(tag).map(|v| v as u64)
    }

    fn all(&self, tag: u16) -> Vec<Vec<u8>> {
        self.0.iter().filter(|(t, _)| *t == tag).map(|(_, b)| b.to_vec()).collect()
    }
}

impl Order {
    /// One whole frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Order::Hello { version, build } => {
                Writer::new(1).int(1, i64::from(*version)).put(2, build.as_bytes()).finish()
            }
            Order::Launch(l) => l.encode(),
            Order::Input { seq, bytes } => Writer::new(3).int(1, *seq as i64).put(2, bytes).finish(),
            Order::Resize { columns, rows } => {
                Writer::new(4).int(1, i64::from(*columns)).int(2, i64::from(*rows)).finish()
            }
            Order::Signal { run, signal, scope } => {
                Writer::new(5).int(1, *run as i64).int(2, i64::from(*signal)).int(3, *scope as i64).finish()
            }
            Order::GiveFds => Writer::new(6).finish(),
            Order::Adopt { run, pid, start_ticks } => {
                Writer::new(7).int(1, *run as i64).int(2, i64::from(*pid)).int(3, *start_ticks as i64).finish()
            }
            Order::Retire => Writer::new(8).finish(),
            Order::Bell => Writer::new(9).finish(),
        }
    }

    pub fn decode(kind: u8, payload: &[u8]) -> Result<Order, Malformed> {
        let f = Fields::parse(payload)?;
        Ok(match kind {
            1 => Order::Hello { version: f.int(1)?, build: f.text(2)? },
            2 => Order::Launch(Box::new(Launch::decode(&f)?)),
            3 => Order::Input { seq: f.bits(1)?, bytes: f.bytes(2)? },
            4 => Order::Resize { columns: f.int(1)?, rows: f.int(2)? },
            5 => Order::Signal { run: f.bits(1)?, signal: f.int(2)?, scope: scope(f.int(3)?)? },
            6 => Order::GiveFds,
            7 => Order::Adopt { run: f.bits(1)?, pid: f.int(2)?, start_ticks: f.bits(3)? },
            8 => Order::Retire,
            9 => Order::Bell,
            other => return Err(Malformed::UnknownKind(other)),
        })
    }
}

fn scope(v: u8) -> Result<Scope, Malformed> {
    [Scope::Leader, Scope::Group, Scope::Tree].into_iter().find(|s| *s as u8 == v).ok_or(Malformed::BadField(3))
}

impl Launch {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(2)
            .int(1, self.run as i64)
            .put(2, &self.program)
            .each(3, &self.argv)
            .each(4, &self.env)
            .put(5, &self.cwd)
            .int(6, i64::from(self.columns))
            .int(7, i64::from(self.rows))
            .int(8, i64::from(self.raw))
            .int(9, i64::from(self.umask))
            .int(10, self.max_files as i64)
            .each(11, &self.cgroup_procs)
            .maybe(12, &self.cgroup_kill)
            .maybe(13, &self.oom_counter)
            .put(14, &self.log_dir)
            .int(15, self.log_bytes as i64);
        if let Some(id) = &self.identity {
            let groups: Vec<u8> = id.groups.iter().flat_map(|g| g.to_le_bytes()).collect();
            w = w.int(16, i64::from(id.uid)).int(17, i64::from(id.gid)).put(18, &groups);
        }
        if self.leave_rest {
            w = w.int(19, 1);
        }
        w.finish()
    }

    fn decode(f: &Fields<'_>) -> Result<Launch, Malformed> {
        let identity = match f.find(16) {
            Some(_) => Some(Identity {
                uid: f.int(16)?,
                gid: f.int(17)?,
                groups: f.bytes(18)?.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect(),
            }),
            None => None,
        };
        Ok(Launch {
            run: f.bits(1)?,
            program: f.bytes(2)?,
            argv: f.all(3),
            env: f.all(4),
            cwd: f.bytes(5)?,
            identity,
            columns: f.int(6)?,
            rows: f.int(7)?,
            raw: f.int::<i64>(8)? != 0,
            umask: f.int(9)?,
            max_files: f.bits(10)?,
            cgroup_procs: f.all(11),
            cgroup_kill: f.find(12).map(<[u8]>::to_vec),
            oom_counter: f.find(13).map(<[u8]>::to_vec),
            log_dir: f.bytes(14)?,
            log_bytes: f.bits(15)?,
            leave_rest: f.find(19).is_some(),
        })
    }
}

impl Report {
    /// One whole frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Report::Hello { version, build, pid, record } => Writer::new(65)
                .int(1, i64::from(*version))
                .put(2, build.as_bytes())
                .int(3, i64::from(*pid))
                .put(4, record)
                .finish(),
            Report::Launched { run, pid, start_ticks, boot_ns, wall_ms } => Writer::new(66)
                .int(1, *run as i64)
                .int(2, i64::from(*pid))
                .int(3, *start_ticks as i64)
                .int(4, *boot_ns as i64)
                .int(5, *wall_ms)
                .finish(),
            Report::LaunchFailed { run, step, errno } => {
                Writer::new(67).int(1, *run as i64).int(2, i64::from(*step)).int(3, i64::from(*errno)).finish()
            }
            Report::InputTaken { seq, accepted } => {
                Writer::new(68).int(1, *seq as i64).int(2, *accepted as i64).finish()
            }
            Report::Head => Writer::new(69).finish(),
            Report::Exited { record, alone, next } => {
                let report = Writer::new(70).put(1, record);
                let report = if *alone { report.int(2, 1) } else { report };
                next.iter().fold(report, |report, run| report.int(3, *run as i64)).finish()
            }
            Report::TreeEmpty { run, killed } => {
                Writer::new(71).int(1, *run as i64).int(2, i64::from(*killed)).finish()
            }
            Report::Fds { run } => Writer::new(72).int(1, *run as i64).finish(),
            Report::Refused { kind, reason } => {
                Writer::new(73).int(1, i64::from(*kind)).put(2, reason.as_bytes()).finish()
            }
        }
    }

    pub fn decode(kind: u8, payload: &[u8]) -> Result<Report, Malformed> {
        let f = Fields::parse(payload)?;
        Ok(match kind {
            65 => Report::Hello { version: f.int(1)?, build: f.text(2)?, pid: f.int(3)?, record: f.bytes(4)? },
            66 => Report::Launched {
                run: f.bits(1)?,
                pid: f.int(2)?,
                start_ticks: f.bits(3)?,
                boot_ns: f.bits(4)?,
                wall_ms: f.int(5)?,
            },
            67 => Report::LaunchFailed { run: f.bits(1)?, step: f.int(2)?, errno: f.int(3)? },
            68 => Report::InputTaken { seq: f.bits(1)?, accepted: f.bits(2)? },
            69 => Report::Head,
            70 => Report::Exited {
                record: f.bytes(1)?,
                alone: f.find(2).is_some(),
                next: f.find(3).map(|_| f.bits(3)).transpose()?,
            },
            71 => Report::TreeEmpty { run: f.bits(1)?, killed: f.int(2)? },
            72 => Report::Fds { run: f.bits(1)? },
            73 => Report::Refused { kind: f.int(1)?, reason: f.text(2)? },
            other => return Err(Malformed::UnknownKind(other)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_the_rest_is_left_alone_is_a_field_which_an_older_side_neither_sends_nor_reads() {
        let plain = Launch { program: b"/p".to_vec(), ..Launch::default() };
        let sparing = Launch { leave_rest: true, ..plain.clone() };
        for launch in [&plain, &sparing] {
            let bytes = launch.encode();
            let (kind, payload, _) = split(&bytes).unwrap().unwrap();
            assert_eq!(Order::decode(kind, payload), Ok(Order::Launch(Box::new(launch.clone()))));
        }
        assert_eq!(sparing.encode().len(), plain.encode().len() + 14, "one field more, at the end");
    }

    #[test]
    fn what_else_is_said_of_an_end_is_in_fields_that_an_older_side_neither_sends_nor_reads() {
        let record = b"record".to_vec();
        for (alone, next) in [(false, None), (true, None), (true, Some(u64::MAX))] {
            let report = Report::Exited { record: record.clone(), alone, next };
            let bytes = report.encode();
            let (kind, payload, _) = split(&bytes).unwrap().unwrap();
            assert_eq!(Report::decode(kind, payload), Ok(report));
            assert_eq!(Fields::parse(payload).unwrap().bytes(1), Ok(record.clone()), "where version 1 has it");
        }
        let older = Writer::new(70).put(1, &record).finish();
        assert_eq!(Report::Exited { record, alone: false, next: None }.encode(), older);
    }
}
