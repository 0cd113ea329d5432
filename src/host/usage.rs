//! What the workload uses now: memory, CPU, disk and network. Called every few seconds, so buffers are kept.
mod counters;
mod tree;

use crate::model::{snapshot::Usage, time::BootTime};
use counters::Counters;
use std::{path::PathBuf, time::Duration};

/// Where a workload's memory and CPU time can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// As its cgroup counts.
    Counted { memory_bytes: u64, cpu: Duration },
    /// This process and all its descendants, by a pass over all of /proc.
    Tree { pid: i32 },
    /// Nothing runs.
    Nothing,
}

/// Times of one source can be subtracted from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Cgroup,
    Tree(i32),
    Nothing,
}

impl Source {
    fn of(measured: &Measured) -> Source {
        match measured {
            Measured::Counted { .. } => Source::Cgroup,
            Measured::Tree { pid } => Source::Tree(*pid),
            Measured::Nothing => Source::Nothing,
        }
    }
}

/// Takes one sample after the other.
#[derive(Debug)]
pub struct UsageReader {
    disk: PathBuf,
    counters: Counters,
    /// Whose CPU time was last seen, when, and how much.
    before: Option<(Source, BootTime, Duration)>,
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
            Measured::Counted { memory_bytes, cpu } => (*memory_bytes, *cpu),
            Measured::Tree { pid } => self.counters.tree(*pid),
            Measured::Nothing => (0, Duration::ZERO),
        };
        let cpu_percent = self.cpu_percent(now, measured, cpu);
        let (disk_used_bytes, disk_free_bytes) = counters::disk(&self.disk);
        let (rx_bytes, tx_bytes) = self.counters.network();
        Usage { cpu_percent, memory_bytes, memory_limit_bytes, disk_used_bytes, disk_free_bytes, rx_bytes, tx_bytes }
    }

    fn cpu_percent(&mut self, now: BootTime, measured: &Measured, cpu: Duration) -> f64 {
        let source = Source::of(measured);
        let before = self.before.replace((source, now, cpu));
        let Some((_, then, used)) = before.filter(|(same, ..)| *same == source) else { return 0.0 };
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
    fn what_the_cgroup_counts_becomes_a_share_of_a_core() {
        let mut reader = UsageReader::new(std::env::temp_dir());
        let counted = |cpu_ms| Measured::Counted { memory_bytes: 600_000, cpu: Duration::from_millis(cpu_ms) };
        let first = reader.sample(at(0), &counted(1000), 7);
        assert_eq!((first.memory_bytes, first.cpu_percent, first.memory_limit_bytes), (600_000, 0.0, 7));
        assert_eq!(reader.sample(at(5000), &counted(3500), 7).cpu_percent, 50.0);
        assert_eq!(reader.sample(at(6000), &counted(1), 7).cpu_percent, 0.0, "a counter that fell is no negative use");
        assert!(first.disk_free_bytes > 0 && first.disk_used_bytes > 0);
        assert_eq!(reader.sample(at(9000), &Measured::Nothing, 0).memory_bytes, 0);
        assert_eq!(reader.sample(at(9500), &counted(900), 0).cpu_percent, 0.0, "another source begins anew");
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
