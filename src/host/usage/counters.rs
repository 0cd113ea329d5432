//! Single numbers out of /proc and cgroup files, read into one buffer that is kept.
use super::tree;
use nix::sys::statvfs::statvfs;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

/// Files of the kernel that are read here are small; whatever pretends to be larger is cut.
const LARGEST: u64 = 256 << 10;

#[derive(Debug, Default)]
pub struct Counters {
    buffer: Vec<u8>,
    tree: tree::Tree,
}

impl Counters {
    /// Memory without the page cache that the kernel would give back, and CPU time.
    pub fn cgroup(&mut self, memory: &Path, stat: Option<&Path>, cpu: &Path) -> (u64, Duration) {
        let used = self.text(memory).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
        let cache = stat.and_then(|stat| value(self.text(stat)?, "inactive_file")).unwrap_or(0);
        (used.saturating_sub(cache), self.cpu(cpu).unwrap_or_default())
    }

    /// v2 has a line in microseconds, v1 one number in nanoseconds.
    fn cpu(&mut self, file: &Path) -> Option<Duration> {
        let text = self.text(file)?;
        let v2 = value(text, "usage_usec").map(Duration::from_micros);
        v2.or_else(|| text.trim().parse().ok().map(Duration::from_nanos))
    }

    pub fn tree(&mut self, pid: i32) -> (u64, Duration) {
        self.tree.measure(pid)
    }

    /// Bytes received and sent by all interfaces but loopback.
    pub fn network(&mut self) -> (u64, u64) {
        self.text(Path::new("/proc/net/dev")).map(traffic).unwrap_or_default()
    }

    fn text(&mut self, file: &Path) -> Option<&str> {
        read_into(file, &mut self.buffer).ok()?;
        std::str::from_utf8(&self.buffer).ok()
    }
}

fn read_into(file: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    File::open(file)?.take(LARGEST).read_to_end(buffer).map(|_| ())
}

/// Bytes used and bytes free to ordinary accounts.
pub fn disk(path: &Path) -> (u64, u64) {
    let Ok(about) = statvfs(path) else { return (0, 0) };
    let size = about.fragment_size();
    let used = about.blocks().saturating_sub(about.blocks_free());
    (used * size, about.blocks_available() * size)
}

fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn traffic(text: &str) -> (u64, u64) {
    let interfaces = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    interfaces.fold((0, 0), |(rx, tx), (_, numbers)| {
        let mut columns = numbers.split_whitespace().map(|n| n.parse().unwrap_or(0));
        let received: u64 = columns.next().unwrap_or(0);
        (rx + received, tx + columns.nth(7).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_summed_without_loopback() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n  \
                    eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth1:5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (15, 27));
        assert_eq!(traffic("nonsense: x"), (0, 0));
    }

    #[test]
    fn a_key_is_matched_whole() {
        let text = "total_inactive_file 7\ninactive_file_x 8\ninactive_file 9\n";
        assert_eq!(value(text, "inactive_file"), Some(9));
        assert_eq!(value(text, "absent"), None);
    }
}
