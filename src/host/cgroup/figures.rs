//! Numbers out of cgroup files, in both dialects.
use std::{fs, path::PathBuf, time::Duration};

/// What a workload's cgroup says now. `None`: this machine cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub memory_bytes: Option<u64>,
    /// `None` also where no limit is set.
    pub memory_limit_bytes: Option<u64>,
    /// Highest use since the group was made.
    pub memory_peak_bytes: Option<u64>,
    pub processes: Option<u64>,
    /// Processes the kernel killed for want of memory since the group was made.
    pub oom_kills: Option<u64>,
    /// CPU time used since the group was made.
    pub cpu: Option<Duration>,
}

/// v1 writes "no limit" as the largest page-aligned number; no machine has half of it.
const V1_NO_LIMIT: u64 = 1 << 62;

pub(super) fn number(folder: Option<&PathBuf>, file: &str) -> Option<u64> {
    fs::read_to_string(folder?.join(file)).ok()?.trim().parse().ok()
}

/// A limit, where `max` or v1's huge number mean none.
pub(super) fn limit(folder: Option<&PathBuf>, file: &str) -> Option<u64> {
    number(folder, file).filter(|n| *n < V1_NO_LIMIT)
}

/// The value of `key` in a file of `key value` lines.
pub(super) fn entry(folder: Option<&PathBuf>, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(folder?.join(file)).ok()?;
    text.lines().filter_map(|line| line.split_once(' ')).find(|(k, _)| *k == key)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_are_read_and_nonsense_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        put("memory.max", "max\n");
        put("memory.limit_in_bytes", "9223372036854771712\n");
        put("memory.high", "1048576\n");
        put("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n");
        put("cpu.stat", "usage_usec x\n");
        let dir = Some(dir.path().to_owned());
        assert_eq!(limit(dir.as_ref(), "memory.max"), None);
        assert_eq!(limit(dir.as_ref(), "memory.limit_in_bytes"), None);
        assert_eq!(limit(dir.as_ref(), "memory.high"), Some(1 << 20));
        assert_eq!(entry(dir.as_ref(), "memory.events", "oom_kill"), Some(2));
        assert_eq!(entry(dir.as_ref(), "cpu.stat", "usage_usec"), None);
        assert_eq!((number(dir.as_ref(), "absent"), number(None, "memory.max")), (None, None));
    }
}
