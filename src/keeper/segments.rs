//! The console on disk: segment files named by the absolute offset of their first byte, so a gap shows in the names.
//!
//! Fed from the ring in batches. A write that fails loses nothing as long as the ring still holds the bytes; what the
//! ring overwrites meanwhile is counted, and the next good write begins a new segment at its true offset.
use super::{
    ring::{oldest, pieces},
    state_file::{self, StateFile},
    sys,
};
use std::{
    collections::VecDeque,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// This much is written without waiting for more.
const BATCH: u64 = 64 << 10;
/// The first byte of a batch waits at most this long.
const LINGER: Duration = Duration::from_millis(100);
/// After a failed write, the next try comes no sooner.
const RETRY: Duration = Duration::from_secs(1);
/// However small the pieces are: no more files than this.
const MOST_FILES: usize = 256;
const SUFFIX: &str = ".log";

struct Segment {
    start: u64,
    len: u64,
}

pub struct Segments {
    dir: PathBuf,
    cap: u64,
    each: u64,
    kept: VecDeque<Segment>,
    /// `kept` says what is in the folder.
    listed: bool,
    /// The newest segment, while it may grow.
    open: Option<File>,
    /// Everything below is on disk or given up.
    done: u64,
    /// When the oldest byte that is not on disk came, if one is pending.
    pending_since: Option<Duration>,
    retry_at: Option<Duration>,
}

impl Segments {
    /// Takes up the log in `dir`. What an earlier keeper left in the ring is pending. A folder that cannot be used keeps
    /// nobody from running: its bytes count as dropped until it can.
    pub fn open(state: StateFile, dir: &Path, cap: u64) -> Segments {
        let mut log = Segments {
            dir: dir.to_path_buf(),
            cap,
            each: (cap / 8).max(64 << 10).min((cap / 2).max(1)),
            kept: VecDeque::new(),
            listed: false,
            open: None,
            done: state.on_disk().min(state.head()),
            pending_since: None,
            retry_at: None,
        };
        if log.take_up(state).is_err() {
            log.retry_at = Some(sys::boot_time() + RETRY);
        }
        log.notice(state);
        log
    }

    /// Learns what is in the folder. A console that is behind the log moves to where the log ends: no offset is given
    /// out twice.
    fn take_up(&mut self, state: StateFile) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        self.kept = list(&self.dir)?;
        self.listed = true;
        let end = self.kept.back().map_or(0, |s| s.start + s.len);
        if end > state.head() {
            state.begin_at(end);
        }
        self.done = self.done.max(end);
        if end > state.on_disk() {
            state.reached_disk(end);
        }
        if let Some(newest) = self.kept.back().filter(|s| s.start + s.len == self.done && s.len < self.each) {
            self.open = OpenOptions::new().append(true).open(self.dir.join(name(newest.start))).ok();
        }
        Ok(())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn cap(&self) -> u64 {
        self.cap
    }

    /// Looks at the head after new output; writes if a whole batch is pending.
    pub fn notice(&mut self, state: StateFile) {
        let pending = state.head() - self.done;
        if pending == 0 {
            self.pending_since = None;
        } else if self.pending_since.is_none() {
            self.pending_since = Some(sys::boot_time());
        }
        if pending >= BATCH || self.retry_at.is_some() {
            self.flush(state);
        }
    }

    /// Until when [`Segments::flush`] can wait; `None` while nothing is pending or the disk refuses: then there is no
    /// reason to wake up before the next output.
    pub fn due(&self) -> Option<Duration> {
        if self.retry_at.is_some() { None } else { self.pending_since.map(|since| since + LINGER) }
    }

    /// Writes everything pending, unless the disk refused a moment ago.
    pub fn flush(&mut self, state: StateFile) {
        if self.retry_at.is_some_and(|at| sys::boot_time() < at) {
            self.give_up_lost(state);
            return;
        }
        self.flush_now(state);
    }

    /// Writes everything pending, also to a disk that just refused: the last chance.
    pub fn flush_now(&mut self, state: StateFile) {
        self.give_up_lost(state);
        self.retry_at = None;
        if !self.listed && self.take_up(state).is_err() {
            self.retry_at = Some(sys::boot_time() + RETRY);
            return;
        }
        while self.done < state.head() {
            if self.write_some(state).is_err() {
                // What is there is looked at again before the next try: the folder may be another one by then.
                (self.open, self.listed) = (None, false);
                self.retry_at = Some(sys::boot_time() + RETRY);
                return;
            }
        }
        self.pending_since = None;
    }

    /// Counts what the ring has overwritten.
    fn give_up_lost(&mut self, state: StateFile) {
        let lost = oldest(state).saturating_sub(self.done);
        if lost > 0 {
            state.count_dropped(lost);
            self.done += lost;
            self.open = None;
        }
    }

    fn write_some(&mut self, state: StateFile) -> io::Result<()> {
        if self.kept.back().is_some_and(|s| s.len >= self.each) {
            self.open = None;
        }
        let room = match (&self.open, self.kept.back()) {
            (Some(_), Some(newest)) => self.each - newest.len,
            _ => self.each,
        };
        let to = state.head().min(self.done + room);
        self.make_room(to - self.done)?;
        if self.open.is_none() {
            self.open = Some(begin(&self.dir, self.done)?);
            self.kept.push_back(Segment { start: self.done, len: 0 });
        }
        let (Some(file), Some(newest)) = (&mut self.open, self.kept.back_mut()) else { return Ok(()) };
        let n = file.write_vectored(&pieces(&state, self.done, to))? as u64;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        newest.len += n;
        self.done += n;
        state.reached_disk(self.done);
        Ok(())
    }

    /// Deletes the oldest segments until `more` bytes fit under the cap.
    fn make_room(&mut self, more: u64) -> io::Result<()> {
        let mut held: u64 = self.kept.iter().map(|s| s.len).sum();
        let spare = usize::from(self.open.is_some());
        while self.kept.len() > spare && (held + more > self.cap || self.kept.len() >= MOST_FILES) {
            let Some(oldest) = self.kept.front() else { break };
            match std::fs::remove_file(self.dir.join(name(oldest.start))) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => held -= oldest.len,
            }
            self.kept.pop_front();
        }
        Ok(())
    }
}

fn begin(dir: &Path, start: u64) -> io::Result<File> {
    let path = dir.join(name(start));
    // Truncates: a segment of that name that is not in our list is empty or a leftover of a failed first write.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// File name of the segment whose first byte has this offset.
pub fn name(start: u64) -> String {
    format!("{start:020}{SUFFIX}")
}

fn start_of(name: &str) -> Option<u64> {
    let start = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?.parse().ok()?;
    (start < state_file::MOST_BYTES).then_some(start)
}

/// What is there, oldest first; no more than the newest [`MOST_FILES`], so a foreign crowd cannot grow us.
fn list(dir: &Path) -> io::Result<VecDeque<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(start) = entry.file_name().to_str().and_then(start_of) {
            let len = entry.metadata()?.len();
            found.push(Segment { start, len });
        }
        if found.len() > 4 * MOST_FILES {
            found.sort_by_key(|s| s.start);
            found.drain(..2 * MOST_FILES);
        }
    }
    found.sort_by_key(|s| s.start);
    let surplus = found.len().saturating_sub(MOST_FILES);
    found.drain(..surplus);
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use super::{super::ring, *};
    use std::os::fd::AsFd;

    fn bench() -> (tempfile::TempDir, StateFile, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFile::open(&dir.path().join("state")).unwrap();
        let log = dir.path().join("log");
        (dir, state, log)
    }

    fn feed(state: StateFile, bytes: &[u8]) {
        for part in bytes.chunks(4096) {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(part).unwrap();
            drop(writer);
            while let ring::Filled::Bytes(_) = ring::fill(state, reader.as_fd()) {}
        }
    }

    fn pattern(from: u64, len: u64) -> Vec<u8> {
        (from..from + len).map(|o| (o % 251) as u8).collect()
    }

    /// All segments in order: (start, bytes).
    fn on_disk(log: &Path) -> Vec<(u64, Vec<u8>)> {
        list(log).unwrap().iter().map(|s| (s.start, std::fs::read(log.join(name(s.start))).unwrap())).collect()
    }

    #[test]
    fn the_last_bytes_stay_within_the_cap_and_lie_where_the_names_say() {
        let (_dir, state, log) = bench();
        let cap = 1 << 20;
        let mut segments = Segments::open(state, &log, cap);
        let total = 3_000_000u64;
        for from in (0..total).step_by(50_000) {
            feed(state, &pattern(from, 50_000));
            segments.notice(state);
        }
        segments.flush(state);
        let found = on_disk(&log);
        let held: u64 = found.iter().map(|(_, b)| b.len() as u64).sum();
        assert!(held <= cap && held > cap - cap / 8 - BATCH, "{held}");
        let mut at = found[0].0;
        for (start, bytes) in &found {
            assert_eq!(*start, at);
            assert!(bytes.len() as u64 <= cap / 8);
            assert_eq!(*bytes, pattern(at, bytes.len() as u64));
            at += bytes.len() as u64;
        }
        assert_eq!((at, state.on_disk(), state.dropped()), (total, total, 0));
        let mode = std::fs::metadata(log.join(name(found[0].0))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_successor_flushes_the_ring_and_goes_on_in_the_same_segment() {
        let (_dir, state, log) = bench();
        let mut segments = Segments::open(state, &log, 1 << 20);
        feed(state, b"first ");
        segments.flush(state);
        feed(state, b"second ");
        drop(segments);
        let mut segments = Segments::open(state, &log, 1 << 20);
        assert!(segments.due().is_some(), "the ring holds bytes that are not on disk");
        segments.flush(state);
        assert!(segments.due().is_none());
        assert_eq!(on_disk(&log), [(0, b"first second ".to_vec())]);
    }

    #[test]
    fn an_empty_console_begins_where_the_log_ends() {
        let (_dir, state, log) = bench();
        std::fs::create_dir(&log).unwrap();
        std::fs::write(log.join(name(4000)), [b'x'; 500]).unwrap();
        let mut segments = Segments::open(state, &log, 1 << 20);
        assert_eq!((state.head(), state.ring_start(), ring::oldest(state)), (4500, 4500, 4500));
        feed(state, b"more");
        segments.flush(state);
        assert_eq!(on_disk(&log), [(4000, [vec![b'x'; 500], b"more".to_vec()].concat())]);
    }

    #[test]
    fn a_disk_that_refuses_leaves_a_gap_that_is_counted_and_named() {
        let (_dir, state, log) = bench();
        let mut segments = Segments::open(state, &log, 1 << 20);
        feed(state, b"good");
        segments.flush(state);
        // A file in place of the folder: every new segment fails, whoever asks (root too).
        let aside = log.with_extension("aside");
        std::fs::rename(&log, &aside).unwrap();
        std::fs::write(&log, "").unwrap();
        segments.open = None;
        feed(state, &pattern(4, 1 << 20));
        segments.flush(state);
        assert!(segments.due().is_none(), "no reason to wake up for a disk that refuses");
        assert_eq!(state.on_disk(), 4);
        std::fs::remove_file(&log).unwrap();
        std::fs::rename(&aside, &log).unwrap();
        segments.flush_now(state);
        let found = on_disk(&log);
        assert_eq!(found.len(), 3, "the old one, and what the ring still held in two segments");
        assert_eq!(found[1].0, 4 + state.dropped());
        assert_eq!(found[1].1, pattern(found[1].0, found[1].1.len() as u64));
        assert_eq!(state.on_disk(), state.head());
        assert!(state.dropped() >= (1 << 20) - super::super::layout::RING_BYTES as u64);
    }

    #[test]
    fn only_our_names_count() {
        assert_eq!(start_of("00000000000000262144.log"), Some(262144));
        for foreign in
            ["262144.log", "00000000000000262144.txt", "0000000000000026214x.log", ".log", "18446744073709551615.log"]
        {
            assert_eq!(start_of(foreign), None, "{foreign}");
        }
    }
}
