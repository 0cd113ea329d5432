//! The keeper's `state` file, layout 1: one page of records, then the console ring. Frozen.
//!
//! ```text
//! 0     magic "ZLHKEEP1"            8   layout u32, ring offset u32
//! 16    boot id (16 bytes)          32  keeper pid i32, pad, keeper start ticks u64
//! 48    epoch u64                   56  ring size u64
//! 64    head u64   (atomic)         72  doorbell u32 (atomic)   80  on disk up to u64 (atomic)
//! 88    bytes that never reached the disk u64 (atomic)      96  ring start u64 (atomic)
//! 104   permit: a run that the keeper may begin by itself, 0 for none, u64 (atomic)
//! 1024  run record slot 0           2048  run record slot 1
//! 3072  notes for a successor keeper (its own business)
//! 4096  the ring: byte at absolute offset o lives at 4096 + o % ring size
//! ```
//! The file is mapped MAP_SHARED by the keeper (writer) and the agent (reader; it writes doorbell and permit alone).
//! All of it is allocated before the first launch, so a full disk cannot take the exit record, and it outlives a
//! `kill -9` of both. It means nothing after a reboot: that is what the boot id is for, and why no fsync is needed.
//!
//! Reading output: load `head` (acquire), copy `from..head`, load `head` again; bytes below
//! `head + WRITE_AHEAD - ring size` of the second load may be overwritten and are dropped: the keeper reads the terminal
//! straight into the ring, up to [`WRITE_AHEAD`] bytes past the head it has published. Bytes below `ring start` were
//! never in this ring (they may be on disk). Waiting for output: store 1 to the doorbell, re-read `head`, and if
//! it has not moved wait for a [`super::protocol::Report::Head`] frame; the keeper swaps the doorbell to 0 when it sends one.

/// First eight bytes of a state file.
pub const MAGIC: [u8; 8] = *b"ZLHKEEP1";
pub const LAYOUT: u32 = 1;
pub const PAGE: usize = 4096;
pub const RING_BYTES: usize = 256 << 10;
pub const FILE_BYTES: usize = PAGE + RING_BYTES;

pub const AT_LAYOUT: usize = 8;
pub const AT_RING: usize = 12;
pub const AT_BOOT_ID: usize = 16;
pub const AT_KEEPER_PID: usize = 32;
pub const AT_KEEPER_START: usize = 40;
pub const AT_EPOCH: usize = 48;
pub const AT_RING_SIZE: usize = 56;
pub const AT_HEAD: usize = 64;
pub const AT_DOORBELL: usize = 72;
pub const AT_ON_DISK: usize = 80;
pub const AT_DROPPED: usize = 88;
/// First absolute offset that was ever written to this ring: greater than 0 where the console began on disk.
pub const AT_RING_START: usize = 96;
/// Number of the run that may follow a crash of the present one without the agent being asked. The agent stores it, and 0 to
/// take it back; the keeper swaps it for 0 when it makes use of it. So one of them has it, and both know who.
pub const AT_PERMIT: usize = 104;
pub const AT_NOTES: usize = 3072;
pub const NOTES_BYTES: usize = PAGE - AT_NOTES;
/// How far past the published head the keeper may be writing at any moment.
pub const WRITE_AHEAD: usize = 16 << 10;
const AT_SLOTS: [usize; 2] = [1024, 2048];

/// Names of the files in a keeper's folder.
pub const STATE_FILE: &str = "state";
pub const SOCKET_FILE: &str = "sock";
/// Locked (flock) by the keeper as long as it lives: at most one keeper a workload.
pub const LOCK_FILE: &str = "lock";

/// Where the record of `run` lives in the file. Two slots by parity: the record of the run before stays readable
/// while the next one is written.
pub fn slot(run: u64) -> usize {
    AT_SLOTS[(run % 2) as usize]
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Progress {
    #[default]
    Empty = 0,
    /// The child exists; `pid` and `start_ticks` name it.
    Launched = 1,
    /// `wait_*` and `ended_*` hold.
    Exited = 2,
    /// exec never happened; `wait_status` is the errno.
    Failed = 3,
    /// It ended, but nobody who could ask was its parent.
    Vanished = 4,
}

impl Progress {
    fn from_u32(v: u32) -> Option<Progress> {
        [Progress::Empty, Progress::Launched, Progress::Exited, Progress::Failed, Progress::Vanished]
            .into_iter()
            .find(|p| *p as u32 == v)
    }
}

/// One run as the keeper knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunRecord {
    pub run: u64,
    pub progress: Progress,
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: with the boot id, the process's true name.
    pub start_ticks: u64,
    pub started_boot_ns: u64,
    pub started_wall_ms: i64,
    pub ended_boot_ns: u64,
    pub ended_wall_ms: i64,
    /// `si_code` of waitid: CLD_EXITED, CLD_KILLED or CLD_DUMPED; the launch step of a failed launch.
    pub wait_code: i32,
    /// Exit code, signal number, or errno of a failed launch.
    pub wait_status: i32,
    pub max_rss_kib: u64,
    pub user_us: u64,
    pub system_us: u64,
    /// oom_kill counter of the workload's cgroup at launch and at exit; `u64::MAX` = could not be read.
    pub oom_before: u64,
    pub oom_after: u64,
    /// Console offsets right before the first and after the last byte of this run.
    pub log_start: u64,
    pub log_end: u64,
    /// Descendants still alive when the main process ended.
    pub leftovers: u32,
}

/// Bytes of an encoded record, crc32 included.
pub const RECORD_BYTES: usize = 136;

impl RunRecord {
    /// Fixed little-endian form, closed by a crc32 of all before it.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut out = [0u8; RECORD_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&self.run.to_le_bytes());
        put(&(self.progress as u32).to_le_bytes());
        put(&self.pid.to_le_bytes());
        for v in [
            self.start_ticks,
            self.started_boot_ns,
            self.started_wall_ms as u64,
            self.ended_boot_ns,
            self.ended_wall_ms as u64,
        ] {
            put(&v.to_le_bytes());
        }
        put(&self.wait_code.to_le_bytes());
        put(&self.wait_status.to_le_bytes());
        for v in [
            self.max_rss_kib,
            self.user_us,
            self.system_us,
            self.oom_before,
            self.oom_after,
            self.log_start,
            self.log_end,
        ] {
            put(&v.to_le_bytes());
        }
        put(&self.leftovers.to_le_bytes());
        let crc = crc32fast::hash(&out[..RECORD_BYTES - 4]);
        out[RECORD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if the bytes are short, damaged, or of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Option<RunRecord> {
        let bytes: &[u8; RECORD_BYTES] = bytes.get(..RECORD_BYTES)?.try_into().ok()?;
        let crc = u32::from_le_bytes(bytes[RECORD_BYTES - 4..].try_into().ok()?);
        if crc != crc32fast::hash(&bytes[..RECORD_BYTES - 4]) {
            return None;
        }
        let mut at = 0;
        let mut take = |n: usize| {
            at += n;
            &bytes[at - n..at]
        };
        let u64_of = |b: &[u8]| b.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let u32_of = |b: &[u8]| b.try_into().map(u32::from_le_bytes).unwrap_or_default();
        Some(RunRecord {
            run: u64_of(take(8)),
            progress: Progress::from_u32(u32_of(take(4)))?,
            pid: u32_of(take(4)) as i32,
            start_ticks: u64_of(take(8)),
            started_boot_ns: u64_of(take(8)),
            started_wall_ms: u64_of(take(8)) as i64,
            ended_boot_ns: u64_of(take(8)),
            ended_wall_ms: u64_of(take(8)) as i64,
            wait_code: u32_of(take(4)) as i32,
            wait_status: u32_of(take(4)) as i32,
            max_rss_kib: u64_of(take(8)),
            user_us: u64_of(take(8)),
            system_us: u64_of(take(8)),
            oom_before: u64_of(take(8)),
            oom_after: u64_of(take(8)),
            log_start: u64_of(take(8)),
            log_end: u64_of(take(8)),
            leftovers: u32_of(take(4)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_and_damage_is_seen() {
        let r = RunRecord {
            run: 7,
            progress: Progress::Exited,
            pid: 42,
            started_wall_ms: -1,
            wait_status: 9,
            log_end: 1 << 40,
            leftovers: 3,
            ..Default::default()
        };
        let bytes = r.encode();
        assert_eq!(RunRecord::decode(&bytes), Some(r));
        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(RunRecord::decode(&bad), None, "flipped bit in byte {at}");
        }
        assert_eq!(RunRecord::decode(&bytes[..10]), None);
    }
}
