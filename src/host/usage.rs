//! What the workload uses now: memory, CPU, disk and network. Called every few seconds, so buffers are kept.
mod counters;
mod tree;

use crate::model::{snapshot::Usage, time::BootTime};
use counters::Counters;
use std::{path::PathBuf, time::Duration};

/// Where a workload's memory and CPU time can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Files of its cgroup: v2 `memory.current`, `memory.stat`, `cpu.stat`, or v1 `memory.usage_in_bytes`,
    /// `memory.stat`, `cpuacct.usage`.
    Cgroup { memory: PathBuf, stat: Option<PathBuf>, cpu: PathBuf },
    /// This process and all its descendants.
    Tree { pid: i32 },
    /// Nothing runs.
    Nothing,
}

/// Takes one sample after the other.
#[derive(Debug)]
pub struct UsageReader {
    disk: PathBuf,
    counters: Counters,
    /// Whose CPU time was last seen, when, and how much.
    before: Option<(Measured, BootTime, Duration)>,
}

impl UsageReader {
    /// `disk`: any path on the file system whose space is told, e.g. the server root.
    pub fn new(disk: PathBuf) -> UsageReader {
        UsageReader { disk, counters: Counters::default(), before: None }
    }

    /// What cannot be read is 0. `cpuPercent` is over the time since the last sample of the same workload; 100 is one
    /// core. Blocking, but reads nothing except /proc, /sys and one statvfs.
    pub fn sample(&mut self, now: BootTime, measured: &Measured, memory_limit_bytes: u64) -> Usage {
        let (memory_bytes, cpu) = match measured {
            Measured::Cgroup { memory, stat, cpu } => self.counters.cgroup(memory, stat.as_deref(), cpu),
            Measured::Tree { pid } => self.counters.tree(*pid),
            Measured::Nothing => (0, Duration::ZERO),
        };
        let cpu_percent = self.cpu_percent(now, measured, cpu);
        let (disk_used_bytes, disk_free_bytes) = counters::disk(&self.disk);
        let (rx_bytes, tx_bytes) = self.counters.network();
        Usage { cpu_percent, memory_bytes, memory_limit_bytes, disk_used_bytes, disk_free_bytes, rx_bytes, tx_bytes }
    }

    fn cpu_percent(&mut self, now: BootTime, measured: &Measured, cpu: Duration) -> f64 {
        let before = self.before.replace((measured.clone(), now, cpu));
        let Some((_, then, used)) = before.filter(|(same, ..)| same == measured) else { return 0.0 };
        let (spent, passed) = (cpu.saturating_sub(used), now.since(then));
        if passed.is_zero() { 0.0 } else { (spent.as_secs_f64() / passed.as_secs_f64() * 1000.0).round() / 10.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command, time::Instant};

    fn at(ms: u64) -> BootTime {
        BootTime(Duration::from_millis(ms))
    }

    #[test]
    fn both_dialects_of_cgroup_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let v2 = Measured::Cgroup {
            memory: put("memory.current", "1000000\n"),
            stat: Some(put("memory.stat", "anon 5\ninactive_file 400000\n")),
            cpu: put("cpu.stat", "usage_usec 1000000\nuser_usec 1\n"),
        };
        let mut reader = UsageReader::new(folder.path().into());
        let first = reader.sample(at(0), &v2, 7);
        assert_eq!((first.memory_bytes, first.cpu_percent, first.memory_limit_bytes), (600_000, 0.0, 7));
        put("cpu.stat", "usage_usec 3500000\n");
        assert_eq!(reader.sample(at(5000), &v2, 7).cpu_percent, 50.0);
        assert!(first.disk_free_bytes > 0 && first.disk_used_bytes > 0);

        let v1 = Measured::Cgroup { memory: put("usage", "9\n"), stat: None, cpu: put("cpuacct", "2000000000\n") };
        assert_eq!(reader.sample(at(6000), &v1, 0).cpu_percent, 0.0, "another workload begins anew");
        put("cpuacct", "4000000000\n");
        assert_eq!(reader.sample(at(7000), &v1, 0).cpu_percent, 200.0);
        put("cpuacct", "1\n");
        assert_eq!(reader.sample(at(8000), &v1, 0).cpu_percent, 0.0, "a counter that fell is no negative use");
        assert_eq!(reader.sample(at(9000), &Measured::Nothing, 0).memory_bytes, 0);
    }

    #[test]
    fn a_tree_is_measured_with_its_grandchildren_and_quickly() {
        // The shell's child is a busy loop; `wait` keeps the shell itself idle.
        let mut shell = Command::new("sh").args(["-c", "(while :; do :; done) & wait"]).spawn().unwrap();
        let pid = shell.id() as i32;
        let mut reader = UsageReader::new("/".into());
        let tree = Measured::Tree { pid };
        let begun = Instant::now();
        let now = || BootTime(begun.elapsed());
        reader.sample(now(), &tree, 0);
        let busy = loop {
            let usage = reader.sample(now(), &tree, 0);
            if usage.cpu_percent > 5.0 && usage.memory_bytes > 0 || begun.elapsed() > Duration::from_secs(20) {
                break usage;
            }
            std::thread::yield_now();
        };
        let child = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        for pid in child.split_whitespace().map(|pid| pid.parse().unwrap()) {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        shell.wait().unwrap();
        assert!(busy.cpu_percent > 5.0 && busy.memory_bytes > 0, "{busy:?}");
        assert_eq!(reader.sample(now(), &tree, 0).memory_bytes, 0, "gone");
    }
}
